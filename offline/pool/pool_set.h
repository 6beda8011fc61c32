// The factory's hold on the pools of all players of a roster.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "offline/pool/identity.h"
#include "offline/pool/layout.h"
#include "offline/pool/segment.h"
#include "offline/pool/storage.h"

namespace beaverpond {

struct PoolSetOptions {
  std::vector<std::string> directories;  ///< by player; created if missing
  PoolId pool_id{};
  std::uint64_t epoch = 0;
  Hash256 roster_hash{};
  Storage* storage = nullptr;  ///< outlives the set
  /// Who signs, and to whom segments are sealed, by player. Not needed where nothing is made.
  const DealerKey* dealer_key = nullptr;
  std::vector<PublicKey> pool_keys;
};

/// What one player's pool holds of a lane.
struct PlayerSurvey {
  std::uint64_t available_bundles = 0;  ///< published here, and not leased by this player
  std::uint64_t watermark = 0;          ///< first bundle that this player never leased
};

/// What the pools hold of one lane.
struct LaneSurvey {
  std::uint64_t level_bundles = 0;  ///< published on every player and not leased by any
  std::uint64_t next_number = 0;    ///< above everything ever published or leased
  std::uint64_t watermark = 0;      ///< the largest that any ledger holds or has seen
  std::vector<PlayerSurvey> players;
};

/// Holds the factory's lock of every pool. Engines may run meanwhile. One thread.
class PoolSet {
 public:
  /// Errors: kPoolBusy (another factory), kConfig, kRosterMismatch (a folder is another pool's or
  /// player's), kPoolCorrupt, kIo, kNoSpace.
  static Result<PoolSet> open(const PoolSetOptions& options);

  int players() const { return static_cast<int>(options_.directories.size()); }
  Storage& storage() const { return *options_.storage; }
  const std::string& directory(int player) const;
  PoolIdentity identity(int player) const;
  /// Errors: kConfig where the set was opened without keys.
  Result<SegmentSealing> sealing(int player) const;

  Result<LaneSurvey> survey(const LaneKey& key);
  /// Removes what a factory left behind when it died: temporary files, and ranges that did not
  /// reach every player. The latter only above every watermark, since below it a range is
  /// incomplete because an engine has erased it.
  Result<void> clean(const LaneKey& key);
  /// Bytes of all files of all plans and lanes in all pools.
  Result<std::uint64_t> used_bytes();
  /// The smallest free space under any of the folders.
  Result<std::uint64_t> free_bytes();

 private:
  explicit PoolSet(PoolSetOptions options) : options_(std::move(options)) {}
  /// Adds the largest watermark or witness that any player's ledger holds, and each player's own.
  Result<void> read_watermarks(const LaneKey& key, LaneSurvey& survey);
  Result<std::vector<std::vector<PublishedRange>>> published(const LaneKey& key);

  PoolSetOptions options_;
  std::vector<std::unique_ptr<StorageLock>> locks_;
};

/// Ranges that every player lists under the same set id; each list is sorted.
std::vector<PublishedRange> common_ranges(
    const std::vector<std::vector<PublishedRange>>& by_player);

}  // namespace beaverpond
