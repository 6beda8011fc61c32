#include <algorithm>

#include "offline/pool/segment.h"

namespace beaverpond {

SegmentReader::SegmentReader(std::string path, SegmentFile segment, const SecretKey& file_key)
    : path_(std::move(path)),
      file_(std::move(segment.file)),
      header_(segment.header),
      tags_(std::move(segment.tags)),
      cipher_(ChunkCipher::Direction::kOpen, file_key, header_.context()) {}

Result<SegmentReader> SegmentReader::open(Storage& storage, const std::string& path,
                                          const PoolIdentity& pool, const LaneKey& key,
                                          const PublishedRange& range,
                                          const SegmentAccess& access) {
  BP_ASSIGN(SegmentFile segment, open_segment_file(storage, path, Storage::Mode::kRead, pool, key,
                                                   range, access.dealer));
  BP_ASSIGN(const SecretKey file_key, open_file_key(segment, access, path));
  return SegmentReader(path, std::move(segment), file_key);
}

Result<void> SegmentReader::read_chunks(std::uint64_t first_chunk, std::span<std::uint8_t> bytes) {
  std::size_t done = 0;
  for (std::uint64_t chunk = first_chunk; done < bytes.size(); ++chunk) {
    const std::uint64_t at = chunk * kChunkSizeBytes;
    const std::size_t size = std::min(kChunkSizeBytes, header_.payload_size() - at);
    BP_CHECK(done + size <= bytes.size(), "chunks are read whole");
    // Read and opened one by one, so that the cipher finds the bytes in the cache.
    const std::span<std::uint8_t> part = bytes.subspan(done, size);
    BP_ASSIGN(const std::size_t read, file_->read_at(header_.payload_offset() + at, part));
    const std::span<const std::uint8_t, 16> tag(tags_.data() + chunk * sizeof(CipherTag), 16);
    if (read != size || !cipher_.open(chunk, part, tag)) {
      return corrupt_segment(path_, "chunk " + std::to_string(chunk) + " is damaged");
    }
    done += size;
  }
  return {};
}

Result<void> SegmentReader::verify_blocking() {
  BufferCache scratch(0);  // wipes at once
  BP_ASSIGN(const auto buffer, scratch.take(kChunkSizeBytes));
  for (std::uint64_t chunk = 0; chunk < header_.chunks(); ++chunk) {
    const std::uint64_t left = header_.payload_size() - chunk * kChunkSizeBytes;
    BP_TRY(read_chunks(chunk, buffer.bytes.first(std::min(kChunkSizeBytes, left))));
  }
  return {};
}

Result<void> SegmentReader::read_seeds() {
  const std::uint64_t seed_bytes = header_.range.count * Seed::kSize;
  const std::uint64_t whole =
      (seed_bytes + kChunkSizeBytes - 1) / kChunkSizeBytes * kChunkSizeBytes;
  BufferCache scratch(0);  // wipes at once
  BP_ASSIGN(const auto buffer, scratch.take(std::min(whole, header_.payload_size())));
  BP_TRY(read_chunks(0, buffer.bytes));
  seeds_.reserve(header_.range.count);
  for (std::uint64_t i = 0; i < header_.range.count; ++i) {
    seeds_.emplace_back(buffer.bytes.subspan(i * Seed::kSize).first<Seed::kSize>());
  }
  handed_out_.assign(header_.range.count, false);
  return {};
}

Result<Bundle> SegmentReader::read_bundle_blocking(std::uint64_t number, BufferCache& buffers) {
  BP_CHECK(number >= header_.range.first && number < header_.range.end(),
           "a bundle outside its segment");
  if (seeds_.empty()) BP_TRY(read_seeds());
  const std::uint64_t index = number - header_.range.first;
  BP_CHECK(!handed_out_[index], "a bundle was read twice");
  handed_out_[index] = true;
  const Seed seed = seeds_[index];
  seeds_[index].wipe();
  const int designated = designated_player(number, header_.pool.players, header_.scheme);
  if (designated != header_.pool.player || header_.correction_size.value == 0) {
    return Bundle(number, designated, seed, {}, nullptr);
  }
  const std::uint64_t begin = header_.correction_offset(number);
  const std::uint64_t end = begin + header_.correction_size.value;
  const std::uint64_t from = begin / kChunkSizeBytes * kChunkSizeBytes;
  const std::uint64_t to = std::min((end + kChunkSizeBytes - 1) / kChunkSizeBytes * kChunkSizeBytes,
                                    header_.payload_size());
  BP_ASSIGN(auto buffer, buffers.take(to - from));
  BP_TRY(read_chunks(from / kChunkSizeBytes, buffer.bytes));
  // Chunks are multiples of 64 bytes, so alignment in the file is alignment in memory.
  return Bundle(number, designated, seed,
                buffer.bytes.subspan(begin - from, header_.correction_size.value),
                std::move(buffer.owner));
}

}  // namespace beaverpond
