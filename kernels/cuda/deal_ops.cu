// The dealer's side of comparisons, and lookups.
#include <algorithm>
#include <bit>

#include "kernels/cuda/compare_ops.h"
#include "kernels/cuda/deal_compare.cuh"
#include "kernels/cuda/deal_compare_wide.cuh"
#include "kernels/cuda/launch_elements.cuh"
#include "kernels/cuda/lookup.cuh"
#include "kernels/cuda/streams.h"

namespace beaverpond::cuda {
namespace {

constexpr std::uint64_t kMostTableWords = 4096;

/// A range of every block's record meets the same range of the stream's records.
struct RecordRange {
  std::uint64_t first_block;
  std::uint64_t blocks;
  std::uint64_t record_bytes;  ///< in the stream
  std::uint64_t from;
  std::uint64_t to;
  std::uint8_t* target;  ///< of block first_block's `from`
  std::uint64_t target_record_bytes;
};

void meet(Work& work, const Seed& seed, PrgKind prg, std::uint64_t index, StreamUse use,
          const RecordRange& r, cudaStream_t stream) {
  if (r.to == r.from) return;
  const StreamStart start{&seed, prg, index, r.first_block * r.record_bytes + r.from};
  const std::uint64_t piece = r.to - r.from;
  const StreamPieces pieces{r.target,       (r.blocks - 1) * r.target_record_bytes + piece,
                            r.blocks,       piece,
                            r.record_bytes, r.target_record_bytes};
  run_stream(work, start, use, pieces, stream);
}

/// One chunk of the dealer's blocks.
class DealChunk {
 public:
  DealChunk(Work& work, const Backend::DealCompare& deal, std::uint64_t first, std::uint64_t blocks,
            cudaStream_t stream)
      : work_(work),
        deal_(deal),
        layout_(*deal.layout),
        first_(first),
        blocks_(blocks),
        stream_(stream),
        record_(layout_.correction_record_bytes()),
        packed_(layout_.words_offset() - layout_.packed_offset()) {}

  void run() {
    Carving parts;
    const std::uint64_t at_masks = parts.add(blocks_ * layout_.mask_record_bytes());
    const std::uint64_t at_forward = parts.add(blocks_ * 64);
    const std::uint64_t at_packed = parts.add(blocks_ * packed_);
    std::uint8_t* const memory = work_.scratch(parts.size_bytes(), stream_);
    if (memory == nullptr) return;
    DealJob job;
    job.layout = layout_;
    job.blocks = static_cast<std::uint32_t>(blocks_);
    job.masks = memory + at_masks;
    job.records = deal_.correction.data() + first_ * record_;
    gather_masks(memory + at_masks);
    if (deal_.forward_layout != nullptr) {
      gather_forward(memory + at_forward);
      job.forward_b = memory + at_forward;
    }
    constexpr unsigned kThreads = 64;
    work_.run("deal: planes", layout_.wide ? &deal_wide_planes_kernel : &deal_planes_kernel,
              {dim3(blocks_for(blocks_ * 16, kThreads)), dim3(kThreads),
               kThreads / 32 * kWarpPlanesBytes},
              stream_, job);
    work_.run("deal: words", &deal_words_kernel,
              {dim3(blocks_for(blocks_ * 512, 128)), dim3(128), 0}, stream_, job);
    for (std::size_t player = 0; player < deal_.seeds.size(); ++player) {
      if (static_cast<int>(player) == deal_.designated) continue;
      take_out(deal_.seeds[player], job.records, memory + at_packed);
    }
  }

 private:
  /// The sum of all players' mask records: words add up, planes are XORed.
  void gather_masks(std::uint8_t* masks) {
    const std::uint64_t bytes = layout_.mask_record_bytes();
    const std::uint64_t words = layout_.mask_planes_offset();
    for (std::size_t player = 0; player < deal_.seeds.size(); ++player) {
      const Seed& seed = deal_.seeds[player];
      if (player == 0) {
        meet(work_, seed, deal_.prg, deal_.mask_stream, StreamUse::kFill,
             {first_, blocks_, bytes, 0, bytes, masks, bytes}, stream_);
        continue;
      }
      meet(work_, seed, deal_.prg, deal_.mask_stream, StreamUse::kAdd,
           {first_, blocks_, bytes, 0, words, masks, bytes}, stream_);
      meet(work_, seed, deal_.prg, deal_.mask_stream, StreamUse::kXor,
           {first_, blocks_, bytes, words, bytes, masks + words, bytes}, stream_);
    }
  }
  /// The bit's mask that an earlier entry drew, one plane a block.
  void gather_forward(std::uint8_t* planes) {
    const CompareLayout& forward = *deal_.forward_layout;
    const std::uint64_t from =
        forward.mask_planes_offset() + 64 * static_cast<std::uint64_t>(forward.b_plane);
    for (std::size_t player = 0; player < deal_.seeds.size(); ++player) {
      meet(work_, deal_.seeds[player], deal_.prg, deal_.forward_mask_stream,
           player == 0 ? StreamUse::kFill : StreamUse::kXor,
           {first_, blocks_, forward.mask_record_bytes(), from, from + 64, planes, 64}, stream_);
    }
  }
  /// The clear record minus another player's: XOR for planes, differences for words.
  void take_out(const Seed& seed, std::uint8_t* records, std::uint8_t* packed) {
    const std::uint64_t planes = layout_.packed_offset();
    const std::uint64_t words = layout_.words_offset();
    const std::uint64_t index = deal_.correction_stream;
    meet(work_, seed, deal_.prg, index, StreamUse::kXor,
         {first_, blocks_, record_, 0, planes, records, record_}, stream_);
    meet(work_, seed, deal_.prg, index, StreamUse::kSubtract,
         {first_, blocks_, record_, words, record_, records + words, record_}, stream_);
    if (packed_ == 0) return;
    meet(work_, seed, deal_.prg, index, StreamUse::kFill,
         {first_, blocks_, record_, planes, words, packed, packed_}, stream_);
    const std::uint64_t piece_words = packed_ / static_cast<unsigned>(layout_.packed_bytes);
    for_elements(
        work_,
        SubtractPackedElement{planes, record_, piece_words, layout_.packed_bytes, packed, records},
        blocks_ * piece_words, stream_);
  }

  Work& work_;
  const Backend::DealCompare& deal_;
  const CompareLayout& layout_;
  std::uint64_t first_;
  std::uint64_t blocks_;
  cudaStream_t stream_;
  std::uint64_t record_;
  std::uint64_t packed_;  ///< bytes of packed words in a record
};

}  // namespace

void deal_compare(Work& work, const Backend::DealCompare& deal, cudaStream_t stream) {
  const CompareLayout& layout = *deal.layout;
  const std::uint64_t blocks = layout.blocks(deal.count);
  const std::uint64_t per_chunk =
      std::max<std::uint64_t>(1, work.limits().chunk_bytes / (2 * layout.mask_record_bytes()));
  for (std::uint64_t first = 0; first < blocks; first += per_chunk) {
    DealChunk(work, deal, first, std::min(per_chunk, blocks - first), stream).run();
  }
}

void lookup_open(Work& work, const Material& material, int bits, ConstWords x, Words out,
                 cudaStream_t stream) {
  work.copy(out.data(), x.data(), x.size_bytes(), cudaMemcpyDeviceToDevice, stream);
  run_stream(work, {material.seed, material.prg, material.mask_stream, 0}, StreamUse::kAdd,
             whole(out.data(), out.size_bytes()), stream);
  // The index and its mask are numbers mod 2^bits: what lies above does not leave the player.
  for_elements(work, MaskLowElement{(std::uint64_t{1} << bits) - 1, out.data()}, out.size(),
               stream);
}

void lookup_finish(Work& work, const Material& material, int bits, ConstWords opened, Words out,
                   cudaStream_t stream) {
  const std::uint64_t size = std::uint64_t{1} << bits;
  // A multiple of 64 bytes of tables at a time.
  const std::uint64_t per_chunk =
      std::max<std::uint64_t>(8, work.limits().chunk_bytes / (size * 8) / 8 * 8);
  for (std::uint64_t first = 0; first < out.size(); first += per_chunk) {
    const std::uint64_t count = std::min<std::uint64_t>(per_chunk, out.size() - first);
    std::uint8_t* const tables = work.scratch(count * size * 8, stream);
    if (tables == nullptr) return;
    if (material.correction != nullptr) {
      work.copy(tables, material.correction + first * size * 8, count * size * 8,
                cudaMemcpyHostToDevice, stream);
    } else {
      run_stream(work, {material.seed, material.prg, material.correction_stream, first * size * 8},
                 StreamUse::kFill, whole(tables, count * size * 8), stream);
    }
    for_elements(work,
                 LookupElement{reinterpret_cast<const std::uint64_t*>(tables), opened.data(), size,
                               first, out.data()},
                 count, stream);
  }
}

void deal_lookup(Work& work, const Backend::DealLookup& deal, cudaStream_t stream) {
  const std::uint64_t size = deal.table.size();
  BP_CHECK(std::has_single_bit(size) && size <= kMostTableWords, "a table of 2^1 .. 2^12 words");
  BP_CHECK(deal.correction.size() == deal.count * size, "a table for every element");
  Carving parts;
  const std::uint64_t at_table = parts.add(size * 8);
  const std::uint64_t at_masks = parts.add(deal.count * 8);
  std::uint8_t* const memory = work.scratch(parts.size_bytes(), stream);
  if (memory == nullptr || deal.count == 0) return;
  work.copy(memory + at_table, deal.table.data(), size * 8, cudaMemcpyHostToDevice, stream);
  for (std::size_t player = 0; player < deal.seeds.size(); ++player) {
    run_stream(work, {&deal.seeds[player], deal.prg, deal.mask_stream, 0},
               player == 0 ? StreamUse::kFill : StreamUse::kAdd,
               whole(memory + at_masks, deal.count * 8), stream);
  }
  work.run(
      "rotate tables", &rotate_tables,
      {dim3(static_cast<unsigned>(deal.count)), dim3(256), static_cast<std::uint32_t>(size) * 16},
      stream, reinterpret_cast<const std::uint64_t*>(memory + at_table),
      reinterpret_cast<const std::uint64_t*>(memory + at_masks), static_cast<std::uint32_t>(size),
      deal.correction.data());
  for (std::size_t player = 0; player < deal.seeds.size(); ++player) {
    if (static_cast<int>(player) == deal.designated) continue;
    run_stream(work, {&deal.seeds[player], deal.prg, deal.correction_stream, 0},
               StreamUse::kSubtract, whole(deal.correction.data(), deal.correction.size_bytes()),
               stream);
  }
}

}  // namespace beaverpond::cuda
