#include "online/session/identity.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "offline/plan/certificate.h"
#include "offline/pool/dealer_key.h"
#include "offline/pool/pool_key.h"
#include "offline/pool/random.h"

namespace beaverpond {
namespace {

Result<void> check_no_key(const Home& home) {
  struct stat status {};
  if (::lstat(home.key_path().c_str(), &status) != 0) return {};
  return make_error(
      ErrorCode::kConfig,
      home.key_path() +
          " exists and is not replaced, since without it this player "
          "loses its place in the roster and its pool; choose another home, or move the "
          "key away if both are to be given up");
}

Result<void> make_private_folder(const std::string& path) {
  std::error_code error;
  const bool made = std::filesystem::create_directories(path, error);
  if (!error && made) {
    std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
  }
  if (!error) return {};
  return make_error(ErrorCode::kIo, "cannot make the folder " + path + ": " + error.message() +
                                        "; check its parent and the permissions");
}

}  // namespace

Result<PublicIdentity> generate_identity(const Home& home, const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
           c == '_' || c == '-';
  };
  if (name.empty() || name.size() > 64 || !std::all_of(name.begin(), name.end(), allowed)) {
    return make_error(ErrorCode::kConfig,
                      "a player's name has 1 to 64 of the characters A-Z a-z 0-9 . _ -; choose "
                      "another name");
  }
  BP_TRY(check_no_key(home));
  BP_TRY(make_private_folder(home.directory));
  BP_TRY(make_private_folder(home.pool_path()));
  PublicIdentity identity;
  BP_ASSIGN(identity.pool_key, create_pool_key(home.pool_key_path()));
  BP_ASSIGN(identity.certificate, make_certificate(home.key_path(), home.certificate_path(), name));
  return identity;
}

namespace {

Result<Hash256> dealer_for(const std::string& base_directory) {
  const std::string folder = base_directory + "/dealer";
  const std::string path = folder + "/dealer.pem";
  BP_TRY(make_private_folder(folder));
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    BP_ASSIGN(const DealerKey made, DealerKey::generate());
    BP_TRY(made.write_new(path));
  }
  BP_ASSIGN(const DealerKey key, DealerKey::read(path));
  return key.public_key();
}

}  // namespace

Result<Roster> keygen_all(const std::string& base_directory, int players,
                          std::uint16_t first_port) {
  if (players < static_cast<int>(Roster::kMinPlayers) ||
      players > static_cast<int>(Roster::kMaxPlayers) || first_port + players > 65'536) {
    return make_error(ErrorCode::kConfig, "cannot make " + std::to_string(players) +
                                              " players with ports from " +
                                              std::to_string(first_port) +
                                              "; 2 to 64 players and ports up to 65535 are "
                                              "possible");
  }
  std::vector<Home> homes;
  for (int rank = 0; rank < players; ++rank) {
    homes.push_back({base_directory + "/player" + std::to_string(rank)});
    BP_TRY(check_no_key(homes.back()));
  }
  Roster roster;
  roster.epoch = 1;
  BP_TRY(fill_random_blocking(roster.pool_id));
  BP_ASSIGN(roster.dealer_key, dealer_for(base_directory));
  for (int rank = 0; rank < players; ++rank) {
    RosterPlayer player;
    player.name = "player" + std::to_string(rank);
    player.host = "127.0.0.1";
    player.port = first_port == 0 ? 0 : static_cast<std::uint16_t>(first_port + rank);
    BP_ASSIGN(const PublicIdentity made,
              generate_identity(homes[static_cast<std::size_t>(rank)], player.name));
    player.certificate = made.certificate;
    player.pool_key = made.pool_key;
    roster.players.push_back(std::move(player));
  }
  for (const Home& home : homes) BP_TRY(write_roster_file(home.roster_path(), roster));
  return roster;
}

}  // namespace beaverpond
