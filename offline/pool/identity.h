// Whose pool a folder is. Written once, checked at every opening: a folder given to the wrong
// player, or kept over a change of the roster, is refused before anything in it is used.
#pragma once

#include "beaverpond/result.h"
#include "offline/pool/layout.h"

namespace beaverpond {

struct PoolIdentity {
  PoolId pool_id{};
  std::uint64_t epoch = 0;  ///< membership epoch
  Hash256 roster_hash{};
  int player = 0;
  int players = 0;
  friend bool operator==(const PoolIdentity&, const PoolIdentity&) = default;
};

/// Names the first field in which `found` differs from `expected`; empty if none does.
std::string describe_difference(const PoolIdentity& expected, const PoolIdentity& found);

/// Who opens a pool; each has its own lock.
enum class PoolUser : std::uint8_t { kEngine, kFactory };

/// Whose pool the folder says it is. Errors: kPoolCorrupt, kIo.
Result<PoolIdentity> read_identity(Storage& storage, const std::string& directory);

/// Writes DIR/pool if it is missing, then reads and compares it. Engine and factory may both find
/// it missing: the first to rename its own file wins, and the other reads that one. Errors:
/// kRosterMismatch (another pool, epoch, roster or player), kPoolCorrupt, kIo, kNoSpace.
Result<void> check_identity(Storage& storage, const std::string& directory,
                            const PoolIdentity& identity, PoolUser user);

/// Moves a pool into a later membership epoch, with `identity` from now on: removes all that it
/// holds of earlier ones, segments before ledgers, and replaces DIR/pool last, so that it can be
/// run again after a crash. Nothing happens if the pool is there already. Takes both locks. For
/// when the disks of all players were put back together, so that nobody remembers what was spent.
/// Errors: kPoolBusy, kRosterMismatch (another pool or player, or a later epoch), kConfig,
/// kPoolCorrupt, kIo, kNoSpace.
Result<void> start_epoch_blocking(Storage& storage, const std::string& directory,
                                  const PoolIdentity& identity);

}  // namespace beaverpond
