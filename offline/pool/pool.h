// The pool of one player: bundles that a factory published and that nobody has spent yet.
//
// A bundle is a one-time pad. A number passes made -> published -> claimed -> spent -> erased and
// never goes back: claim_blocking() makes it durable that a range is gone before any bundle of it
// can be read, so a crash loses bundles but never brings one back.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "beaverpond/bundle.h"
#include "offline/pool/identity.h"
#include "offline/pool/layout.h"
#include "offline/pool/secret_key.h"
#include "offline/pool/storage.h"

namespace beaverpond {

struct PoolOptions {
  std::string directory;  ///< mode 0700; created if missing
  PoolIdentity identity;
  Storage* storage = nullptr;  ///< outlives the pool
  PublicKey dealer_key{};      ///< of the roster: nothing that another signed is used
  PublicKey pool_key{};        ///< of this player in the roster: the key file must be its half
  std::string key_path;        ///< empty: pool_key_path(directory)
};

class PoolKey;
/// The key file of `options`, compared with the roster's. Errors: kConfig, kRosterMismatch, kIo.
Result<PoolKey> read_roster_key(const PoolOptions& options);

/// What all players agreed to spend. `segments` cover [first, end) and are pinned by set id.
struct Claim {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  std::vector<PublishedRange> segments;
  std::vector<std::uint64_t> witnesses;  ///< watermark seen of every player, by rank
};

struct LaneClaim {
  LaneKey key;
  Claim claim;
};

/// Threads: all calls may run at once; calls on one lane wait for each other. A failed sync of a
/// ledger, or any other failure of the disk while one is opened, poisons the pool: every later call
/// fails, and only a new process may try again.
class Pool {
 public:
  /// Takes the engine's lock. Errors: kPoolBusy (another engine), kConfig (folder mode, locks that
  /// do not work, a key file that is missing or that others may read), kRosterMismatch (the folder
  /// is another pool's or player's, a copy, or of another key file), kPoolCorrupt, kIo.
  static Result<Pool> open(const PoolOptions& options);
  Pool(Pool&&) noexcept;
  Pool& operator=(Pool&&) noexcept;
  Pool(const Pool&) = delete;             // one owner of the lock
  Pool& operator=(const Pool&) = delete;  // one owner of the lock
  ~Pool();

  const PoolIdentity& identity() const;

  /// Reads the folder again, since a factory publishes while the pool is open. Sorted ranges that
  /// end above the watermark; a file is verified and its key brought under the pool's own when it
  /// is first seen. Errors: kPoolCorrupt and kRosterMismatch name a file that must go; kIo and
  /// kNoSpace poison the pool.
  Result<std::vector<PublishedRange>> ranges(const LaneKey& key);

  /// First bundle that this player never claimed.
  Result<std::uint64_t> watermark(const LaneKey& key);
  /// Watermarks last seen of every player, by rank.
  Result<std::vector<std::uint64_t>> witnesses(const LaneKey& key);

  /// Gives up everything below claim.end for ever, durably, and lets this process read
  /// [claim.first, claim.end). Erases segments that are wholly spent. Aborts if first is below the
  /// watermark or the segments do not cover the range. Errors: kIo, kNoSpace; the pool is poisoned.
  Result<void> claim_blocking(const LaneKey& key, const Claim& claim);

  /// claim_blocking() of several lanes, in the order given. Returns when all are durable. After an
  /// error none may be read, and some are burned.
  Result<void> claim_all_blocking(const std::vector<LaneClaim>& claims);

  /// Remembers watermarks seen of the players; durable with the next claim, or with
  /// keep_witnesses_blocking(). Only ever raises them.
  Result<void> see(const LaneKey& key, const std::vector<std::uint64_t>& watermarks);
  /// Makes durable what was seen since the last claim, if anything was. Errors: kIo, kNoSpace; the
  /// pool is poisoned.
  Result<void> keep_witnesses_blocking(const LaneKey& key);

  /// Hands out bundle `number` of a claim of this process, in rising order within a claim; what is
  /// passed over is burned. Aborts if the number is not claimed or was handed out before.
  /// Errors: kPoolCorrupt (file, chunk, remedy), kRosterMismatch, kIo, kOutOfMemory.
  Result<Bundle> read_bundle_blocking(const LaneKey& key, std::uint64_t number);

  /// Burns what is left of the claim that ends at `end`; no effect if nothing is.
  void release(const LaneKey& key, std::uint64_t end);

 private:
  struct State;
  explicit Pool(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace beaverpond
