// The key file of a player's pool: what opens the segments that a dealer sealed for this player,
// and what keeps the ratchets of the lanes.
#pragma once

#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "offline/pool/identity.h"
#include "offline/pool/secret_key.h"
#include "offline/pool/storage.h"

namespace beaverpond {

/// Where the key of the pool `directory` lies unless said otherwise: beside it, "DIR.key".
std::string pool_key_path(const std::string& directory);

/// One 32-byte secret; everything else is derived. Read once at opening, kept in locked memory.
class PoolKey {
 public:
  /// Errors: kConfig for a missing or damaged file and for a mode other than 0400; kIo.
  static Result<PoolKey> read(Storage& storage, const std::string& path);

  /// Goes into the roster (`pool_key`): segments are sealed to it.
  const PublicKey& public_key() const { return public_key_; }
  const SecretKey& agreement_key() const { return agreement_; }
  /// Wraps the ratchet of a lane; `context` tells lanes apart.
  SecretKey ratchet_key(std::span<const std::uint8_t> context) const;
  /// Seals one checkpoint of this player; `salt` is random and new for every file.
  SecretKey checkpoint_key(std::span<const std::uint8_t> salt) const;
  /// What stands for data of this player in the head of its checkpoints: equal for equal data, and
  /// no help to whoever guesses the data but has not this key.
  Hash256 checkpoint_mark(const Hash256& data) const;

 private:
  explicit PoolKey(SecretKey secret);
  SecretKey secret_;
  SecretKey agreement_;
  PublicKey public_key_{};
};

/// Content of a key file.
std::vector<std::uint8_t> encode_pool_key(std::span<const std::uint8_t, SecretKey::kSize> secret);
PublicKey public_key_of(std::span<const std::uint8_t, SecretKey::kSize> secret);

/// Makes a key file of mode 0400 and returns its public half; where there is one, reads it: a pool
/// without its key is lost. Errors: kConfig (a file of another kind or mode), kIo, kNoSpace.
Result<PublicKey> create_pool_key(const std::string& path);

/// Ties the folder to its key and to itself. Writes DIR/seal if it is missing, then compares it.
/// The caller holds the engine's lock. Errors: kRosterMismatch for a folder that was copied, or
/// filled under another key; kPoolCorrupt, kIo, kNoSpace.
Result<void> check_seal(Storage& storage, const std::string& directory, const PoolKey& key);

}  // namespace beaverpond
