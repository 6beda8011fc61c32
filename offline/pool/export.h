// Taking segments out of a spool: a pool folder on the factory's host that no engine opens, filled
// for a player elsewhere. The files are sealed to that player and are carried to it by hand.
#pragma once

#include <functional>
#include <string>

#include "offline/pool/layout.h"

namespace beaverpond {

struct ExportedSegment {
  std::string path;  ///< on the medium
  LaneKey key;
  PublishedRange range;
  std::uint64_t bytes = 0;
};

/// Puts an empty file in the place of a segment that has left a spool, durably and at once: its
/// number is never given again. Errors: kNoSpace, kIo.
Result<void> leave_name_blocking(Storage& storage, const std::string& lane_directory,
                                 const PublishedRange& range);

/// Copies every segment of the spool that was not exported before to the folder `medium`, in order,
/// durably; then replaces it in the spool by an empty file of its name, which keeps its number from
/// being given again. A crash in between exports it once more, and the player refuses what it has
/// or has spent. Takes the factory's lock. Errors: kConfig (not a spool: an engine uses it),
/// kPoolCorrupt, kPoolBusy, kNoSpace, kIo.
Result<void> export_segments_blocking(
    Storage& storage, const std::string& spool, const std::string& medium,
    const std::function<void(const ExportedSegment&)>& on_exported);

}  // namespace beaverpond
