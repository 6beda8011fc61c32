// A player's home and its identity: keys that never leave it, and a self-signed certificate that
// the others pin.
#pragma once

#include <cstdint>
#include <string>

#include "beaverpond/result.h"
#include "offline/plan/hash.h"
#include "offline/plan/roster.h"

namespace beaverpond {

/// The files of a home.
struct Home {
  std::string directory;

  std::string key_path() const { return directory + "/key.pem"; }  ///< 0400
  std::string certificate_path() const { return directory + "/cert.pem"; }
  std::string roster_path() const { return directory + "/roster.toml"; }
  std::string pool_path() const { return directory + "/pool"; }          ///< 0700
  std::string pool_key_path() const { return directory + "/pool.key"; }  ///< 0400
  /// A file of the user's: an absolute path as it is, any other from the home.
  std::string path_of(const std::string& file) const {
    return file.starts_with('/') ? file : directory + "/" + file;
  }
};

/// What a player's entry in the roster needs from its home.
struct PublicIdentity {
  Hash256 certificate{};  ///< SHA-256 of its DER
  std::array<std::uint8_t, 32> pool_key{};
};

/// Makes the home (0700) where it does not exist, its pool folder, the pool's key file, an Ed25519
/// key and a certificate in the name `name`. Never replaces a key: without its old
/// key a player is a stranger to its peers and its pool.
/// Errors: kConfig (there is a key already), kIo, kNoSpace.
Result<PublicIdentity> generate_identity(const Home& home, const std::string& name);

/// Identities player0, player1... in base/player0, base/player1..., for players of one host, and in
/// each the same roster: host 127.0.0.1, ports from `first_port` (0: all 0, for a launcher that
/// passes descriptors), epoch 1, a random pool id. The dealer's key is base/dealer/dealer.pem.
/// Touches nothing if any of the players' keys exists; a dealer's key that exists is used. Errors:
/// as generate_identity(); kConfig for a number of players that no roster has.
Result<Roster> keygen_all(const std::string& base_directory, int players,
                          std::uint16_t first_port = 7470);

}  // namespace beaverpond
