#include "offline/factory/incoming.h"

#include <algorithm>

#include "offline/pool/import.h"
#include "offline/pool/ledger.h"
#include "offline/pool/segment.h"

namespace beaverpond {
namespace {

constexpr char kPart[] = ".part";
constexpr char kWhole[] = ".whole";

std::string replace_all(std::string text, char from, char to) {
  std::replace(text.begin(), text.end(), from, to);
  return text;
}

/// The range that the name of a file in DIR/incoming states.
std::optional<LaneRange> parse_incoming(const std::string& name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return std::nullopt;
  return parse_lane_range(replace_all(name.substr(0, name.size() - suffix.size()), '+', '/'));
}

/// What bytes that were lost look like to a check.
bool is_damage(ErrorCode code) {
  return code == ErrorCode::kPoolCorrupt || code == ErrorCode::kRosterMismatch;
}

}  // namespace

Result<void> check_segment(Storage& storage, const PoolIdentity& identity,
                           const SegmentAccess& access, const std::string& file,
                           const LaneRange& what) {
  BP_ASSIGN(SegmentReader reader,
            SegmentReader::open(storage, file, identity, what.key, what.range, access));
  return reader.verify_blocking();
}

Result<void> place_segment(Storage& storage, const std::string& pool_directory,
                           const std::string& file, const LaneRange& what) {
  BP_ASSIGN(const std::string lane, ensure_lane_directory(storage, pool_directory, what.key));
  BP_ASSIGN(const bool waiting, storage.exists(file));
  if (waiting) {
    const std::string target = lane + "/" + segment_name(what.range, kSegmentSuffix);
    BP_ASSIGN(const bool placed, storage.rename_new(file, target));
    if (!placed) BP_TRY(storage.unlink(file));
  }
  return storage.sync_directory(lane);
}

Result<Incoming> Incoming::open(IncomingOptions options) {
  BP_CHECK(options.storage != nullptr && options.check && options.place, "all that a pull needs");
  Storage& storage = *options.storage;
  Incoming incoming(std::move(options));
  const std::string& pool = incoming.options_.pool_directory;
  BP_TRY(ensure_pool_directory(storage, pool));
  BP_ASSIGN(incoming.lock_, storage.lock(pool + "/factory.lock"));
  BP_TRY(check_identity(storage, pool, incoming.options_.identity, PoolUser::kFactory));
  BP_TRY(storage.make_directory(incoming.directory()));
  BP_TRY(storage.sync_directory(pool));
  return incoming;
}

std::string Incoming::path(const LaneRange& what, const char* suffix) const {
  return directory() + "/" + replace_all(lane_range_path(what), '/', '+') + suffix;
}

Result<SyncRequest> Incoming::report(const std::vector<LaneKey>& lanes) {
  SyncRequest request;
  // An earlier process may have died between its rename and its sync: what is reported is durable.
  BP_TRY(options_.storage->sync_directory(directory()));
  for (const LaneKey& key : lanes) {
    BP_ASSIGN(const LedgerState state,
              Ledger::peek(*options_.storage, lane_directory(options_.pool_directory, key),
                           options_.identity, key));
    request.lanes.push_back({key, state.watermark});
  }
  BP_ASSIGN(const auto files, options_.storage->list(directory()));
  for (const StorageEntry& file : files) {
    if (const auto what = parse_incoming(file.name, kWhole)) request.staged.push_back(*what);
  }
  std::sort(request.staged.begin(), request.staged.end());
  return request;
}

Result<void> Incoming::check_new(const SegmentOffer& offer) {
  const std::string lane = lane_directory(options_.pool_directory, offer.what.key);
  BP_ASSIGN(std::vector<PublishedRange> known,
            list_ranges(*options_.storage, lane, kSegmentSuffix));
  BP_ASSIGN(const auto files, options_.storage->list(directory()));
  for (const StorageEntry& file : files) {
    const auto what = parse_incoming(file.name, kWhole);
    if (what.has_value() && what->key == offer.what.key) known.push_back(what->range);
  }
  BP_ASSIGN(const LedgerState ledger,
            Ledger::peek(*options_.storage, lane, options_.identity, offer.what.key));
  const auto why = seen_before(known, offer.what.range, ledger.watermark);
  if (!why.has_value()) return {};
  return make_error(ErrorCode::kPoolCorrupt,
                    "the factory sends the segment " + lane_range_path(offer.what) + ", but " +
                        *why +
                        "; a one-time pad is never taken twice: find out why the factory sends it "
                        "again, it may run on an old copy of its folders");
}

Result<Incoming::Part> Incoming::begin(const SegmentOffer& offer) {
  Part part;
  part.path = path(offer.what, kPart);
  BP_ASSIGN(const bool begun, options_.storage->exists(part.path));
  const auto mode = begun ? Storage::Mode::kReadWrite : Storage::Mode::kCreateNew;
  BP_ASSIGN(part.file, options_.storage->open(part.path, mode));
  BP_ASSIGN(part.size_bytes, part.file->size());
  part.resumed = part.size_bytes != 0;
  return part;
}

Result<void> Incoming::append(Part& part, std::span<const std::uint8_t> bytes) {
  BP_TRY(part.file->write_at(part.size_bytes, bytes));
  part.file->start_writeback(part.size_bytes, bytes.size());
  part.size_bytes += bytes.size();
  return {};
}

Result<void> Incoming::finish(Part part, const SegmentOffer& offer) {
  // Checked first: meanwhile the disk works.
  Result<void> outcome = options_.check(part.path, offer.what);
  const bool damaged =
      part.size_bytes != offer.size_bytes ||
      (!outcome.ok() && part.resumed && is_damage(outcome.error().code));
  if (damaged) {
    outcome = make_error(ErrorCode::kIo, "the download of " + lane_range_path(offer.what) +
                                             " was damaged and is begun again; if this comes "
                                             "back, check the disks of both sides");
  }
  if (outcome.ok()) outcome = part.file->sync();
  part.file.reset();
  if (!outcome.ok()) {
    // Also after a failed sync: nobody knows what is on the disk, and a second one would not tell.
    (void)options_.storage->unlink(part.path);
    return outcome;
  }
  BP_TRY(options_.storage->rename(part.path, path(offer.what, kWhole)));
  return options_.storage->sync_directory(directory());
}

Result<void> Incoming::publish(const LaneRange& what) {
  const std::string whole = path(what, kWhole);
  BP_TRY(options_.place(whole, what));
  BP_ASSIGN(const bool left, options_.storage->exists(whole));
  if (left) BP_TRY(options_.storage->unlink(whole));
  return options_.storage->sync_directory(directory());
}

Result<void> Incoming::drop(const LaneRange& what) {
  const std::string whole = path(what, kWhole);
  BP_ASSIGN(const bool present, options_.storage->exists(whole));
  if (present) BP_TRY(options_.storage->unlink(whole));
  return options_.storage->sync_directory(directory());
}

}  // namespace beaverpond
