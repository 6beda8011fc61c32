// Examining a pool without spending anything, and burning what is damaged.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "offline/pool/pool.h"
#include "offline/pool/segment_header.h"

namespace beaverpond {

/// One file of a pool.
struct PoolFinding {
  std::string path;
  std::string lane_directory;
  std::optional<SegmentHeader> header;  ///< where it could be read
  bool imported = false;                ///< its key is under the pool's own
  bool spent = false;                   ///< below the watermark: waits for its erasure
  bool foreign_keys = false;            ///< the lane's keys are another pool's or key file's
  std::uint64_t chunks = 0;             ///< that were authenticated
  std::optional<Error> error;
};

struct PoolReport {
  std::uint64_t segments = 0;
  std::uint64_t bundles = 0;  ///< unspent, in segments without error
  std::uint64_t bytes = 0;    ///< of payload, authenticated
  std::vector<PoolFinding> damaged;
};

/// Authenticates every unspent segment of every lane, chunk by chunk, and reads ledgers and keys.
/// Writes nothing and takes no lock: an engine may run, and a file that it erases meanwhile is no
/// finding. `on_finding` hears of every file in turn. Errors: those of read_roster_key(),
/// kRosterMismatch (another pool's folder), kPoolCorrupt (the identity), kIo.
Result<PoolReport> verify_pool_blocking(
    const PoolOptions& options, const std::function<void(const PoolFinding&)>& on_finding = {});

struct RepairReport {
  PoolReport before;
  std::vector<std::string> burned;      ///< files that were removed
  std::vector<std::string> unrepaired;  ///< what no tool may guess: ledgers
};

/// Verifies, then burns: removes every damaged segment, and a lane's keys with all its segments
/// where the keys are lost. A range that one player lacks is leased by none, so all players skip
/// it; nothing ever brings it back. Takes the locks of engine and factory. Errors: those of
/// verify_pool_blocking(), kPoolBusy.
Result<RepairReport> repair_pool_blocking(
    const PoolOptions& options, const std::function<void(const PoolFinding&)>& on_finding = {});

}  // namespace beaverpond
