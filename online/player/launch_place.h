// Who this process is, and where the others are: what flags, launchers and the roster say.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

/// The value of an environment variable; unset and empty are the same.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
/// That of this process.
Environment process_environment();

/// What the flags say; unset: nothing.
struct LaunchFlags {
  std::optional<int> rank;
  std::optional<int> size;
  std::string home;                ///< this player's folder, or
  std::string homes;               ///< the folder of player0, player1 ..
  std::vector<std::string> peers;  ///< host:port by rank
};

struct Launch {
  int rank = 0;
  int size = 0;
  std::string home;
  std::vector<std::string> peers;  ///< host:port by rank
  std::string line;                ///< what decided, for the person who waits
};

/// The first port of players on one host whose roster names none; that of player I is I more.
inline constexpr int kFirstPort = 7470;

/// Rank and number of players are those of the first that names them: the flags; RANK and
/// WORLD_SIZE; OMPI_COMM_WORLD_RANK and _SIZE; PMI_RANK and PMI_SIZE; SLURM_PROCID and
/// SLURM_NTASKS; last, the place of the home's certificate in the roster. Addresses: `peers`;
/// MASTER_ADDR and MASTER_PORT, which replace player 0's, and where the roster names no ports
/// everybody's (player I has I more); where it names none and Slurm started the players on several
/// nodes, those nodes; the roster's. Errors: kConfig, kRosterMismatch, for half a
/// pair, numbers out of range, addresses that are missing or shared by two, and whatever differs
/// from roster or certificate.
Result<Launch> resolve_launch(const LaunchFlags& flags, const Environment& environment);

}  // namespace beaverpond
