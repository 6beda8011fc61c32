// The roster: who takes part, where, and with which certificate. The same file on every player.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "beaverpond/result.h"
#include "offline/plan/hash.h"

namespace beaverpond {

struct RosterPlayer {
  std::string name;
  std::string host;
  std::uint16_t port = 0;  ///< 0: whoever launches the player passes a listening descriptor
  Hash256 certificate{};   ///< SHA-256 of its DER
  std::array<std::uint8_t, 32> pool_key{};  ///< X25519: its segments are sealed to it
  friend bool operator==(const RosterPlayer&, const RosterPlayer&) = default;
};

/// Where players pull their segments from. What enters a pool is for the pool to judge.
struct RosterFactory {
  std::string host;
  std::uint16_t port = 0;
  Hash256 certificate{};  ///< SHA-256 of its DER
  friend bool operator==(const RosterFactory&, const RosterFactory&) = default;
};

struct Roster {
  static constexpr std::size_t kMinPlayers = 2;
  static constexpr std::size_t kMaxPlayers = 64;  ///< sets of players are masks of 64 bits

  std::array<std::uint8_t, 16> pool_id{};
  std::uint64_t epoch = 0;                    ///< of the membership
  std::array<std::uint8_t, 32> dealer_key{};  ///< Ed25519: only what it signed enters a pool
  /// A transport that neither encrypts nor authenticates (NCCL) may carry masked words. All else
  /// goes over TLS, as everything does without it.
  bool trusted_fabric = false;
  std::vector<RosterPlayer> players;  ///< by rank
  std::optional<RosterFactory> factory;
  friend bool operator==(const Roster&, const Roster&) = default;
};

/// Reads TOML. `file` is for messages only. Errors: kConfig with file, line, field and remedy, for
/// bad syntax, unknown, missing or ill-typed fields, and players that share a name, an address, a
/// certificate or a pool key.
Result<Roster> parse_roster(std::string_view text, const std::string& file);

/// The one TOML text of this roster: parse_roster() gives it back.
std::string write_roster(const Roster& roster);

/// Names pool, epoch, dealer, and the players by name, certificate and pool key; not their
/// addresses, so that a player that moves keeps its pool, and not where it is delivered from, which
/// may be replaced. The encoding is in README.md.
Hash256 roster_hash(const Roster& roster);

/// As parse_roster(); kConfig too when the file cannot be read.
Result<Roster> read_roster_file(const std::string& path);

/// Replaces the file at once. Errors: kNoSpace, kIo.
Result<void> write_roster_file(const std::string& path, const Roster& roster);

}  // namespace beaverpond
