// The ratchet of one lane: a chain of keys of which the spent ones cannot be computed any more.
#pragma once

#include <memory>
#include <string>

#include "offline/pool/block.h"
#include "offline/pool/pool_key.h"

namespace beaverpond {

/// Key number i + 1 is HKDF(key i, "next"). The file holds the lowest key that an unspent segment
/// still needs, wrapped under the pool's key; stepping overwrites it. One thread at a time, one
/// process at a time (the engine's lock).
class LaneRatchet {
 public:
  static constexpr std::uint64_t kMaxSteps = 1 << 20;  ///< between two live segments

  /// Creates DIR/keys with a random first key if it is missing, and completes a step that a crash
  /// cut short. Errors: kPoolCorrupt (both slots damaged), kRosterMismatch (another pool, lane or
  /// key file), kIo, kNoSpace.
  static Result<LaneRatchet> open(Storage& storage, const std::string& directory,
                                  const PoolIdentity& pool, const LaneKey& lane,
                                  const PoolKey& key);
  /// The same for a reader: writes nothing. kPoolCorrupt also where there is no file.
  static Result<LaneRatchet> peek(Storage& storage, const std::string& directory,
                                  const PoolIdentity& pool, const LaneKey& lane,
                                  const PoolKey& key);

  /// Whether the file says anything at all; its owner and key are not looked at. Errors: kIo.
  static Result<bool> has_valid_slot(Storage& storage, const std::string& directory);

  /// Number of the lowest key that still exists.
  std::uint64_t base() const { return base_; }
  /// Errors: kPoolCorrupt for a number below base() or absurdly far above it.
  Result<SecretKey> key_at(std::uint64_t number) const;

  /// Forgets all keys below `number`, durably: both slots are overwritten when it returns. Any
  /// error poisons the ratchet for this process, since what is on the disk is unknown.
  Result<void> erase_below_blocking(std::uint64_t number);

 private:
  LaneRatchet(std::unique_ptr<StorageFile> file, std::string path, PoolIdentity pool, LaneKey lane,
              SecretKey wrap);
  /// Reads the newer slot.
  Result<void> load();
  Result<void> write_slot(int slot, const Block& block);

  std::unique_ptr<StorageFile> file_;
  std::string path_;
  PoolIdentity pool_;
  LaneKey lane_;
  SecretKey wrap_;
  SecretKey key_;  // number base_
  std::uint64_t base_ = 0;
  std::uint64_t sequence_ = 0;
  Block newest_{};
  int newer_slot_ = 0;
  bool poisoned_ = false;
};

}  // namespace beaverpond
