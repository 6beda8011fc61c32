#include <algorithm>

#include "beaverpond/check.h"
#include "kernels/cuda/prg.cuh"
#include "kernels/cuda/streams.h"

namespace beaverpond::cuda {
namespace {

constexpr std::uint64_t kUnit = 64;

template <StreamUse use>
void launch_chacha20(Work& work, const ChaChaStream& start, const StreamTarget& target,
                     cudaStream_t stream) {
  work.run("expand a stream", &chacha20_stream<use>,
           {dim3(blocks_for(target.units, 128)), dim3(128), 0}, stream, start, target);
}
template <StreamUse use>
void launch_aes128(Work& work, const AesStream& start, const StreamTarget& target,
                   cudaStream_t stream) {
  work.run("expand a stream", &aes128_stream<use>,
           {dim3(blocks_for(target.units, 1024)), dim3(128), kAesSharedBytes}, stream, start,
           target);
}

void start_chacha20(Work& work, const std::uint8_t* key, const StreamStart& s, StreamUse use,
                    const StreamTarget& target, cudaStream_t stream) {
  const ChaChaStream start{reinterpret_cast<const ChaChaKey*>(key), s.index,
                           static_cast<std::uint32_t>(s.offset_bytes / kUnit)};
  switch (use) {
    case StreamUse::kFill: launch_chacha20<StreamUse::kFill>(work, start, target, stream); break;
    case StreamUse::kAdd: launch_chacha20<StreamUse::kAdd>(work, start, target, stream); break;
    case StreamUse::kSubtract:
      launch_chacha20<StreamUse::kSubtract>(work, start, target, stream);
      break;
    case StreamUse::kXor: launch_chacha20<StreamUse::kXor>(work, start, target, stream); break;
  }
}

void start_aes128(Work& work, const std::uint8_t* key, const StreamStart& s, StreamUse use,
                  const StreamTarget& target, cudaStream_t stream) {
  const AesStream start{reinterpret_cast<const AesKey*>(key), s.index, s.offset_bytes / 16};
  switch (use) {
    case StreamUse::kFill: launch_aes128<StreamUse::kFill>(work, start, target, stream); break;
    case StreamUse::kAdd: launch_aes128<StreamUse::kAdd>(work, start, target, stream); break;
    case StreamUse::kSubtract:
      launch_aes128<StreamUse::kSubtract>(work, start, target, stream);
      break;
    case StreamUse::kXor: launch_aes128<StreamUse::kXor>(work, start, target, stream); break;
  }
}

}  // namespace

StreamPieces whole(void* data, std::uint64_t size_bytes) {
  StreamPieces pieces;
  pieces.data = static_cast<std::uint8_t*>(data);
  pieces.size_bytes = size_bytes;
  pieces.piece_bytes = (size_bytes + kUnit - 1) / kUnit * kUnit;
  pieces.source_record_bytes = pieces.target_record_bytes = pieces.piece_bytes;
  return pieces;
}

void run_stream(Work& work, const StreamStart& start, StreamUse use, const StreamPieces& pieces,
                cudaStream_t stream) {
  BP_CHECK(start.offset_bytes % kUnit == 0, "offsets into a stream are multiples of 64 bytes");
  BP_CHECK(reinterpret_cast<std::uintptr_t>(pieces.data) % 8 == 0, "streams meet whole words");
  if (pieces.size_bytes == 0 || pieces.pieces == 0) return;
  const std::uint8_t* const key = work.key(*start.seed, start.prg, stream);
  if (key == nullptr) return;
  const std::uint64_t piece = pieces.piece_bytes / kUnit;
  const std::uint64_t last =
      start.offset_bytes + (pieces.pieces - 1) * pieces.source_record_bytes + pieces.piece_bytes;
  BP_CHECK(start.prg != PrgKind::kChaCha20 || last <= kUnit << 32,
           "a chacha20 stream ends after 2^32 blocks");
  // Whole records a launch; a single piece is cut anywhere.
  const bool single = pieces.pieces == 1;
  const std::uint64_t most = work.limits().stream_units;
  const std::uint64_t per_launch = single ? most : std::max<std::uint64_t>(1, most / piece);
  const std::uint64_t count = single ? piece : pieces.pieces;
  for (std::uint64_t first = 0; first < count; first += per_launch) {
    const std::uint64_t part = std::min(per_launch, count - first);
    StreamTarget target;
    StreamStart from = start;
    const std::uint64_t skip = first * (single ? kUnit : pieces.target_record_bytes);
    if (skip >= pieces.size_bytes) break;
    target.data = pieces.data + skip;
    target.odd_word = reinterpret_cast<std::uintptr_t>(target.data) % 16 != 0;
    target.size_bytes = pieces.size_bytes - skip;
    target.units = static_cast<std::uint32_t>(single ? part : part * piece);
    if (!single) {
      target.piece = FastDivide(static_cast<std::uint32_t>(piece));
      target.source_record = static_cast<std::uint32_t>(pieces.source_record_bytes / kUnit);
      target.target_record = static_cast<std::uint32_t>(pieces.target_record_bytes / kUnit);
    }
    from.offset_bytes += first * (single ? kUnit : pieces.source_record_bytes);
    if (start.prg == PrgKind::kChaCha20) {
      start_chacha20(work, key, from, use, target, stream);
    } else {
      start_aes128(work, key, from, use, target, stream);
    }
  }
}

}  // namespace beaverpond::cuda
