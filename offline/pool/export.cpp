#include "offline/pool/export.h"

#include "offline/pool/identity.h"
#include "offline/pool/import.h"

namespace beaverpond {
namespace {

/// Players, plans and lanes share the medium, so the name says which.
std::string name_on_medium(int player, const LaneFolder& lane, const PublishedRange& range,
                           const char* suffix) {
  return "player" + std::to_string(player) + "-" + lane.plan_name + "-" +
         std::to_string(lane.lane) + "-" + segment_name(range, suffix);
}

Result<std::uint64_t> size_of(Storage& storage, const std::string& path) {
  BP_ASSIGN(const auto file, storage.open(path, Storage::Mode::kRead));
  return file->size();
}

Result<ExportedSegment> copy_out(Storage& storage, const std::string& source,
                                 const LaneFolder& lane, const PublishedRange& range,
                                 const std::string& medium) {
  ExportedSegment exported;
  int player = 0;
  {
    BP_ASSIGN(const auto file, storage.open(source, Storage::Mode::kRead));
    BP_ASSIGN(const SegmentHeader header, read_segment_header(*file, source));
    player = header.pool.player;
    exported.key = header.key;
    exported.range = range;
    exported.bytes = header.file_size();
    BP_ASSIGN(const std::uint64_t size, file->size());
    if (size != exported.bytes) return corrupt_segment(source, "it has not the size it states");
  }
  BP_ASSIGN(const auto imported, ratchet_number_of(storage, source));
  if (imported) return corrupt_segment(source, "a player's engine has taken it over already");
  exported.path = medium + "/" + name_on_medium(player, lane, range, kSegmentSuffix);
  const std::string temporary =
      medium + "/" + name_on_medium(player, lane, range, kTemporarySuffix);
  BP_TRY(copy_file_blocking(storage, source, temporary));
  BP_TRY(storage.rename(temporary, exported.path));
  BP_TRY(storage.sync_directory(medium));
  return exported;
}

}  // namespace

Result<void> leave_name_blocking(Storage& storage, const std::string& lane,
                                 const PublishedRange& range) {
  const std::string temporary = lane + "/" + segment_name(range, kTemporarySuffix);
  BP_ASSIGN(const bool left_over, storage.exists(temporary));
  if (left_over) BP_TRY(storage.unlink(temporary));
  {
    BP_ASSIGN(const auto empty, storage.open(temporary, Storage::Mode::kCreateNew));
    BP_TRY(empty->sync());
  }
  BP_TRY(storage.rename(temporary, lane + "/" + segment_name(range, kSegmentSuffix)));
  return storage.sync_directory(lane);
}

Result<void> export_segments_blocking(
    Storage& storage, const std::string& spool, const std::string& medium,
    const std::function<void(const ExportedSegment&)>& on_exported) {
  BP_ASSIGN([[maybe_unused]] const PoolIdentity found, read_identity(storage, spool));
  BP_ASSIGN(const auto lock, storage.lock(spool + "/factory.lock"));
  BP_ASSIGN(const bool engines, storage.exists(spool + "/seal"));
  if (engines) {
    return make_error(ErrorCode::kConfig,
                      spool +
                          " is the pool of an engine, which spends what is in it; export from a "
                          "folder that only `triple-factory make` or `serve` has filled");
  }
  BP_TRY(storage.make_directory(medium));
  BP_ASSIGN(const auto lanes, list_lanes(storage, spool));
  for (const LaneFolder& lane : lanes) {
    BP_ASSIGN(const auto ranges, list_ranges(storage, lane.path, kSegmentSuffix));
    for (const PublishedRange& range : ranges) {
      const std::string source = lane.path + "/" + segment_name(range, kSegmentSuffix);
      BP_ASSIGN(const std::uint64_t size, size_of(storage, source));
      if (size == 0) continue;  // it was exported before
      BP_ASSIGN(const ExportedSegment exported, copy_out(storage, source, lane, range, medium));
      BP_TRY(leave_name_blocking(storage, lane.path, range));
      if (on_exported) on_exported(exported);
    }
  }
  return {};
}

}  // namespace beaverpond
