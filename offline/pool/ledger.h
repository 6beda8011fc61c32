// What a player has promised never to spend again, and what it saw its peers promise.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "offline/pool/block.h"
#include "offline/pool/identity.h"

namespace beaverpond {

/// Content of one slot.
struct LedgerState {
  std::uint64_t sequence = 0;
  std::uint64_t watermark = 0;           ///< first bundle that was never leased
  std::vector<std::uint64_t> witnesses;  ///< last watermark seen of every player, own one ignored
};

/// The ledger of one lane: two alternating checksummed slots. A write goes to the older slot, so a
/// torn write leaves the newer one whole; what was being written was never promised to anyone.
/// One thread at a time, one process at a time (the lock of the pool).
class Ledger {
 public:
  /// Creates the file if it is missing, with both slots valid, so that a ledger without any valid
  /// slot is always damage. `directory` exists. Errors: kPoolCorrupt, kRosterMismatch, kIo,
  /// kNoSpace.
  static Result<Ledger> open(Storage& storage, const std::string& directory,
                             const PoolIdentity& pool, const LaneKey& key);
  /// What the ledger says, without the lock, for the factory; sequence 0 where there is none yet.
  static Result<LedgerState> peek(Storage& storage, const std::string& directory,
                                  const PoolIdentity& pool, const LaneKey& key);

  std::uint64_t watermark() const { return state_.watermark; }
  const std::vector<std::uint64_t>& witnesses() const { return state_.witnesses; }

  /// Durable when it returns. `watermark` never falls; witnesses are raised to the larger values.
  /// Any error poisons the handle: what is on disk is unknown, so every later call fails too.
  Result<void> advance_blocking(std::uint64_t watermark,
                                const std::vector<std::uint64_t>& witnesses);

 private:
  Ledger(std::unique_ptr<StorageFile> file, std::string path, PoolIdentity pool, LaneKey key);

  std::unique_ptr<StorageFile> file_;
  std::string path_;
  PoolIdentity pool_;
  LaneKey key_;
  LedgerState state_;
  int newer_slot_ = 0;
  bool poisoned_ = false;
};

}  // namespace beaverpond
