// The factory's side of delivery: one folder a player, laid out like a pool, from which that player
// pulls. A file of size zero stands for a segment that its player holds durably: the factory keeps
// no copy of what it has delivered.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "offline/factory/delivery_messages.h"
#include "offline/pool/identity.h"

namespace beaverpond {

/// Threads: all calls may run at once, and beside the thread that publishes into the folders.
class Spool {
 public:
  /// `directories` by player, as given to PoolSet; the storage outlives the spool.
  Spool(Storage& storage, std::vector<std::string> directories, const PoolIdentity& identity);

  /// Lanes to tell the players of, beside those given before: a lane that is filled no more is
  /// delivered until it is empty.
  void add_lanes(const std::vector<LaneKey>& lanes);

  /// Takes in what `player` has spent and holds, durably, and says what it is to do next: a segment
  /// is offered once all players' files of it are complete, and published once all hold it.
  /// Errors: kIo, kNoSpace, kPoolCorrupt, kRosterMismatch (a damaged ledger in the spool).
  Result<SyncAnswer> sync_blocking(int player, const SyncRequest& request);

  /// A segment that was offered to `player`, to read from. Errors: kIo (it is there no more).
  Result<std::unique_ptr<StorageFile>> open(int player, const LaneRange& what);

 private:
  struct Entry {
    LaneRange what;
    std::uint64_t size_bytes = 0;  // 0: the player holds it
  };
  std::string lane_of(int player, const LaneKey& key) const;
  PoolIdentity identity_of(int player) const;
  Result<std::vector<Entry>> entries(int player, const LaneKey& key);
  Result<void> take_watermark(int player, const LaneWatermark& lane);
  Result<void> acknowledge(int player, const LaneRange& what);
  Result<void> answer_lane(int player, const LaneKey& key, const SyncRequest& request,
                           SyncAnswer& answer);

  Storage* storage_;
  std::vector<std::string> directories_;
  PoolIdentity identity_;
  std::mutex mutex_;  // of all below, and of changes to the folders
  std::vector<LaneKey> lanes_;
};

}  // namespace beaverpond
