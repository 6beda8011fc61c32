#include "offline/pool/verify.h"

#include <algorithm>

#include "offline/pool/import.h"
#include "offline/pool/ledger.h"
#include "offline/pool/segment.h"

namespace beaverpond {
namespace {

/// Visits one pool and remembers what it finds.
class Visit {
 public:
  Visit(const PoolOptions& options, const PoolKey& key,
        const std::function<void(const PoolFinding&)>& on_finding)
      : options_(options), key_(key), on_finding_(on_finding) {}

  Result<void> visit(const LaneFolder& lane) {
    Storage& storage = *options_.storage;
    BP_ASSIGN(const auto ranges, list_ranges(storage, lane.path, kSegmentSuffix));
    std::optional<LaneRatchet> ratchet;
    std::optional<std::uint64_t> watermark;
    for (const PublishedRange& range : ranges) {
      PoolFinding finding;
      finding.path = lane.path + "/" + segment_name(range, kSegmentSuffix);
      finding.lane_directory = lane.path;
      auto examined = examine(lane, range, finding, ratchet, watermark);
      const auto present = storage.exists(finding.path);
      if (present.ok() && !present.value()) continue;  // an engine has erased it
      if (!examined.ok()) finding.error = std::move(examined).error();
      report_finding(std::move(finding));
    }
    return {};
  }

  PoolReport report;

 private:
  Result<void> examine(const LaneFolder& lane, const PublishedRange& range, PoolFinding& finding,
                       std::optional<LaneRatchet>& ratchet,
                       std::optional<std::uint64_t>& watermark) {
    Storage& storage = *options_.storage;
    LaneKey key;
    {
      BP_ASSIGN(const auto file, storage.open(finding.path, Storage::Mode::kRead));
      BP_ASSIGN(finding.header, read_segment_header(*file, finding.path));
      key = finding.header->key;
    }
    if (lane_directory(options_.directory, key) !=
        options_.directory + "/" + lane.plan_name + "/lane-" + std::to_string(lane.lane)) {
      return make_error(ErrorCode::kRosterMismatch,
                        "segment " + finding.path + " does not belong here: it is of " + key.str() +
                            "; remove it, and check which pool folders the factory "
                            "was given");
    }
    if (!watermark) {
      // One that is damaged is named by the engine; here every segment of the lane then counts.
      const auto state = Ledger::peek(storage, lane.path, options_.identity, key);
      if (!state.ok()) {
        PoolFinding ledger;
        ledger.path = lane.path + "/ledger";
        ledger.lane_directory = lane.path;
        ledger.error = state.error();
        report_finding(std::move(ledger));
      }
      watermark = state.ok() ? state->watermark : 0;
    }
    finding.spent = range.end() <= *watermark;
    if (finding.spent) return {};
    BP_ASSIGN(const auto number, ratchet_number_of(storage, finding.path));
    finding.imported = number.has_value();
    if (finding.imported && !ratchet) {
      auto keys = LaneRatchet::peek(storage, lane.path, options_.identity, key, key_);
      finding.foreign_keys = !keys.ok() && keys.error().code == ErrorCode::kRosterMismatch;
      BP_ASSIGN(ratchet, std::move(keys));
    }
    const SegmentAccess access{options_.dealer_key, &key_, ratchet ? &*ratchet : nullptr};
    BP_ASSIGN(SegmentReader reader,
              SegmentReader::open(storage, finding.path, options_.identity, key, range, access));
    BP_TRY(reader.verify_blocking());
    finding.chunks = reader.header().chunks();
    report.bundles += range.end() - std::max(range.first, *watermark);
    report.bytes += reader.header().payload_size();
    return {};
  }

  void report_finding(PoolFinding finding) {
    if (on_finding_) on_finding_(finding);
    report.segments += finding.path.ends_with(kSegmentSuffix) ? 1 : 0;
    if (finding.error) report.damaged.push_back(std::move(finding));
  }

  const PoolOptions& options_;
  const PoolKey& key_;
  const std::function<void(const PoolFinding&)>& on_finding_;
};

/// Removes a file and makes that durable.
Result<void> burn(Storage& storage, const std::string& directory, const std::string& path,
                  std::vector<std::string>& burned) {
  BP_TRY(storage.unlink(path));
  burned.push_back(path);
  return storage.sync_directory(directory);
}

}  // namespace

Result<PoolReport> verify_pool_blocking(const PoolOptions& options,
                                        const std::function<void(const PoolFinding&)>& on_finding) {
  BP_CHECK(options.storage != nullptr, "a pool needs a storage");
  BP_ASSIGN(const PoolIdentity found, read_identity(*options.storage, options.directory));
  const std::string difference = describe_difference(options.identity, found);
  if (!difference.empty()) {
    return make_error(ErrorCode::kRosterMismatch, "the folder " + options.directory +
                                                      " holds another pool: " + difference +
                                                      "; give the roster that it was made with");
  }
  BP_ASSIGN(const PoolKey key, read_roster_key(options));
  BP_ASSIGN(const auto lanes, list_lanes(*options.storage, options.directory));
  Visit visit(options, key, on_finding);
  for (const LaneFolder& lane : lanes) BP_TRY(visit.visit(lane));
  return std::move(visit.report);
}

Result<RepairReport> repair_pool_blocking(
    const PoolOptions& options, const std::function<void(const PoolFinding&)>& on_finding) {
  BP_CHECK(options.storage != nullptr, "a pool needs a storage");
  Storage& storage = *options.storage;
  BP_ASSIGN(const auto engine, storage.lock(options.directory + "/engine.lock"));
  BP_ASSIGN(const auto factory, storage.lock(options.directory + "/factory.lock"));
  RepairReport report;
  BP_ASSIGN(report.before, verify_pool_blocking(options, on_finding));
  for (const PoolFinding& finding : report.before.damaged) {
    if (!finding.path.ends_with(kSegmentSuffix)) {
      report.unrepaired.push_back(finding.path);
      continue;
    }
    // A disk that cannot be read now may be read later, and keys that were mixed up may be put
    // back: neither tells anything about the file.
    const ErrorCode code = finding.error->code;
    const bool of_the_file = code == ErrorCode::kPoolCorrupt || code == ErrorCode::kRosterMismatch;
    if (!of_the_file || finding.foreign_keys) {
      report.unrepaired.push_back(finding.path);
      continue;
    }
    BP_TRY(burn(storage, finding.lane_directory, finding.path, report.burned));
  }
  BP_ASSIGN(const auto lanes, list_lanes(storage, options.directory));
  for (const LaneFolder& lane : lanes) {
    const std::string keys = lane.path + "/keys";
    BP_ASSIGN(const bool present, storage.exists(keys));
    if (!present) continue;
    BP_ASSIGN(const bool readable, LaneRatchet::has_valid_slot(storage, lane.path));
    // Every segment under them was found damaged above, and is gone.
    if (!readable) BP_TRY(burn(storage, lane.path, keys, report.burned));
  }
  return report;
}

}  // namespace beaverpond
