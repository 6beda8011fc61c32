#include "offline/pool/import.h"

#include <algorithm>

#include "offline/pool/ledger.h"
#include "offline/pool/segment.h"

namespace beaverpond {
namespace {

constexpr Sector kNoEnvelope{};

}  // namespace

std::optional<std::string> seen_before(const std::vector<PublishedRange>& present,
                                       const PublishedRange& range, std::uint64_t watermark) {
  for (const PublishedRange& other : present) {
    if (other.set_id == range.set_id) {
      return "its set id is known: this pool holds it as " + other.str();
    }
    if (range.first < other.end() && other.first < range.end()) {
      return "its bundles " + range.str() + " are numbered like those of " + other.str() +
             ", which this pool holds already";
    }
  }
  if (range.first >= watermark) return std::nullopt;
  return "its bundles " + range.str() + " begin below " + std::to_string(watermark) +
         ", up to where this pool has spent";
}

Result<std::uint64_t> import_segment_blocking(Storage& storage, const std::string& path,
                                              const PoolIdentity& pool, const LaneKey& key,
                                              const PublishedRange& range,
                                              const SegmentAccess& access, std::uint64_t number) {
  BP_CHECK(access.key != nullptr && access.ratchet != nullptr, "an engine has its keys");
  BP_ASSIGN(const SegmentFile segment, open_segment_file(storage, path, Storage::Mode::kReadWrite,
                                                         pool, key, range, access.dealer));
  BP_ASSIGN(const SecretKey file_key, open_file_key(segment, access, path));
  if (!segment.keys.transport) return segment.keys.rest->ratchet_number;
  BP_ASSIGN(const SecretKey ratchet_key, access.ratchet->key_at(number));
  // The new envelope is on the disk before the old one goes: one of them is always whole.
  BP_TRY(segment.file->write_at(kRestOffset,
                                seal_at_rest(file_key, segment.header, number, ratchet_key)));
  BP_TRY(segment.file->sync());
  BP_TRY(segment.file->write_at(kTransportOffset, kNoEnvelope));
  BP_TRY(segment.file->sync());
  return number;
}

Result<std::optional<std::uint64_t>> ratchet_number_of(Storage& storage, const std::string& path) {
  BP_ASSIGN(const auto file, storage.open(path, Storage::Mode::kRead));
  Block block{};
  BP_ASSIGN(const std::size_t read, file->read_at(kBlockSize, block));
  if (read != block.size()) return corrupt_segment(path, "its key block cannot be read");
  BP_ASSIGN(const KeyBlock keys, decode_key_block(block, path));
  std::optional<std::uint64_t> number;
  if (keys.rest) number = keys.rest->ratchet_number;
  return number;
}

Result<void> forget_transport_blocking(Storage& storage, const std::string& path) {
  BP_ASSIGN(const auto file, storage.open(path, Storage::Mode::kReadWrite));
  Sector found{};
  BP_ASSIGN(const std::size_t read, file->read_at(kTransportOffset, found));
  if (read == found.size() && found == kNoEnvelope) return {};
  BP_TRY(file->write_at(kTransportOffset, kNoEnvelope));
  return file->sync();
}

Result<void> copy_file_blocking(Storage& storage, const std::string& source,
                                const std::string& target) {
  BP_ASSIGN(const bool left_over, storage.exists(target));
  if (left_over) BP_TRY(storage.unlink(target));
  BP_ASSIGN(const auto from, storage.open(source, Storage::Mode::kRead));
  BP_ASSIGN(const auto to, storage.open(target, Storage::Mode::kCreateNew));
  std::vector<std::uint8_t> bytes(16 * kChunkSizeBytes);
  for (std::uint64_t at = 0;; at += bytes.size()) {
    BP_ASSIGN(const std::size_t read, from->read_at(at, bytes));
    BP_TRY(to->write_at(at, std::span(bytes).first(read)));
    if (read < bytes.size()) break;
  }
  return to->sync();
}

Result<PublishedRange> deliver_segment_blocking(const DeliveryOptions& options,
                                                const std::string& source) {
  BP_CHECK(options.storage != nullptr && options.key != nullptr, "a delivery has storage and key");
  Storage& storage = *options.storage;
  SegmentHeader header;
  {
    BP_ASSIGN(const auto file, storage.open(source, Storage::Mode::kRead));
    BP_ASSIGN(header, read_segment_header(*file, source));
  }
  const std::string difference = describe_difference(options.identity, header.pool);
  if (!difference.empty()) {
    return make_error(ErrorCode::kRosterMismatch,
                      "segment " + source + " is not for this pool: " + difference);
  }
  const PublishedRange range = header.range;
  const std::string lane = lane_directory(options.pool_directory, header.key);
  BP_ASSIGN(const auto present, list_ranges(storage, lane, kSegmentSuffix));
  if (std::binary_search(present.begin(), present.end(), range)) return range;
  BP_ASSIGN(const LedgerState ledger, Ledger::peek(storage, lane, options.identity, header.key));
  const auto why = seen_before(present, range, ledger.watermark);
  if (why.has_value()) {
    return make_error(ErrorCode::kPoolCorrupt, "segment " + source + ": " + *why +
                                                   "; a one-time pad is never taken twice: it was "
                                                   "not imported, remove the file");
  }
  BP_TRY(ensure_lane_directory(storage, options.pool_directory, header.key));
  const std::string temporary = lane + "/" + segment_name(range, kTemporarySuffix);
  const auto place = [&]() -> Result<void> {
    BP_TRY(copy_file_blocking(storage, source, temporary));
    // What is verified is the copy: the medium may answer differently the second time.
    const SegmentAccess access{options.dealer, options.key, nullptr};
    BP_ASSIGN(SegmentReader reader,
              SegmentReader::open(storage, temporary, options.identity, header.key, range, access));
    BP_TRY(reader.verify_blocking());
    BP_TRY(storage.rename(temporary, lane + "/" + segment_name(range, kSegmentSuffix)));
    return storage.sync_directory(lane);
  };
  auto placed = place();
  if (!placed.ok()) {
    (void)storage.unlink(temporary);
    return std::move(placed).error();
  }
  return range;
}

}  // namespace beaverpond
