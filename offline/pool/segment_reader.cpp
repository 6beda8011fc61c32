#include <algorithm>

#include "offline/pool/segment.h"

namespace beaverpond {
namespace {

Error corrupt(const std::string& path, const std::string& what) {
  return make_error(ErrorCode::kPoolCorrupt,
                    "segment " + path + ": " + what +
                        "; its bundles are lost: remove the file, and start the job again on all "
                        "players, which then skip them");
}

Error foreign(const std::string& path, const std::string& what) {
  return make_error(ErrorCode::kRosterMismatch,
                    "segment " + path + " does not belong here: " + what +
                        "; remove it, and check which pool folders the factory was given");
}

Result<void> check_expected(const SegmentHeader& header, const std::string& path,
                            const PoolIdentity& pool, const LaneKey& key,
                            const PublishedRange& range) {
  const std::string difference = describe_difference(pool, header.pool);
  if (!difference.empty()) return foreign(path, difference);
  if (header.key.plan != key.plan) {
    return foreign(path, "its plan is " + to_hex(std::span(header.key.plan).first(8)) +
                             ", expected " + to_hex(std::span(key.plan).first(8)));
  }
  if (header.key.lane != key.lane) {
    return foreign(path, "its lane is " + std::to_string(header.key.lane) + ", expected " +
                             std::to_string(key.lane));
  }
  if (header.range != range) return corrupt(path, "its header and its name differ");
  return {};
}

}  // namespace

SegmentReader::SegmentReader(std::string path, std::unique_ptr<StorageFile> file,
                             SegmentHeader header)
    : path_(std::move(path)), file_(std::move(file)), header_(header) {}

Result<SegmentReader> SegmentReader::open(Storage& storage, const std::string& path,
                                          const PoolIdentity& pool, const LaneKey& key,
                                          const PublishedRange& range) {
  BP_ASSIGN(auto file, storage.open(path, Storage::Mode::kRead));
  Block block{};
  BP_ASSIGN(const std::size_t read, file->read_at(0, block));
  if (read != block.size()) return corrupt(path, "it is shorter than a header");
  BP_ASSIGN(const SegmentHeader header, decode_segment_header(block, path));
  BP_TRY(check_expected(header, path, pool, key, range));
  BP_ASSIGN(const std::uint64_t size, file->size());
  if (size != header.file_size()) {
    return corrupt(path, "it has " + std::to_string(size) + " bytes instead of " +
                             std::to_string(header.file_size()));
  }
  SegmentReader reader(path, std::move(file), header);
  BP_TRY(reader.read_table());
  return reader;
}

Result<void> SegmentReader::read_table() {
  table_.resize(header_.table_size());
  BP_ASSIGN(const std::size_t read, file_->read_at(kBlockSize, table_));
  if (read != table_.size() || sha256(table_) != header_.root) {
    return corrupt(path_, "its chunk table is damaged");
  }
  return {};
}

Result<void> SegmentReader::read_chunks(std::uint64_t first_chunk, std::span<std::uint8_t> bytes) {
  std::size_t done = 0;
  for (std::uint64_t chunk = first_chunk; done < bytes.size(); ++chunk) {
    const std::uint64_t at = chunk * kChunkSizeBytes;
    const std::size_t size = std::min(kChunkSizeBytes, header_.payload_size() - at);
    BP_CHECK(done + size <= bytes.size(), "chunks are read whole");
    // Read and hashed one by one, so that the hash finds the bytes in the cache.
    const std::span<std::uint8_t> part = bytes.subspan(done, size);
    BP_ASSIGN(const std::size_t read, file_->read_at(header_.payload_offset() + at, part));
    const Hash256 hash = sha256(part);
    if (read != size || !std::equal(hash.begin(), hash.end(),
                                    table_.begin() + static_cast<std::ptrdiff_t>(chunk * 32))) {
      return corrupt(path_, "chunk " + std::to_string(chunk) + " is damaged");
    }
    done += size;
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
  const int designated = designated_player(number, header_.pool.players);
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
