#include "online/player/launch_place.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>
#include <utility>

#include "offline/plan/roster.h"
#include "online/player/player.h"
#include "online/player/slurm_nodes.h"

namespace beaverpond {
namespace {

struct Source {
  const char* rank;
  const char* size;
};
constexpr Source kSources[] = {{"RANK", "WORLD_SIZE"},
                               {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
                               {"PMI_RANK", "PMI_SIZE"},
                               {"SLURM_PROCID", "SLURM_NTASKS"}};

/// Who this is according to one of them.
struct PlaceClaim {
  int rank = 0;
  int size = 0;
  std::string rank_name;
  std::string size_name;
};

Error wrong(std::string text) {
  return make_error(ErrorCode::kConfig, std::move(text));
}

Result<int> number_of(const std::string& name, const std::string& text) {
  int value = -1;
  const char* const end = text.data() + text.size();
  if (std::from_chars(text.data(), end, value).ptr == end && value >= 0 && value <= 65535) {
    return value;
  }
  return wrong(name + " is '" + text +
               "', which is no rank, size or port; set it to a number, or unset it and give "
               "--rank and --size");
}

Result<PlaceClaim> checked(const PlaceClaim& claim) {
  const auto most = static_cast<int>(Roster::kMaxPlayers);
  if (claim.size < static_cast<int>(Roster::kMinPlayers) || claim.size > most) {
    return wrong(claim.size_name + " says " + std::to_string(claim.size) +
                 " players; there are 2 to 64: start one process for each player of the roster, or "
                 "give --rank "
                 "and --size");
  }
  if (claim.rank >= 0 && claim.rank < claim.size) return claim;
  return wrong(claim.rank_name + " is " + std::to_string(claim.rank) + ", but " + claim.size_name +
               " says that there are " + std::to_string(claim.size) +
               " players, whose ranks are 0 to " + std::to_string(claim.size - 1) +
               "; number them from 0");
}

/// What one pair of variables says; nothing if neither is set.
Result<std::optional<PlaceClaim>> claim_of(const Source& source, const Environment& environment) {
  const std::optional<std::string> rank = environment(source.rank);
  const std::optional<std::string> size = environment(source.size);
  if (!rank.has_value() && !size.has_value()) return std::optional<PlaceClaim>();
  if (!rank.has_value() || !size.has_value()) {
    const std::string set = rank.has_value() ? source.rank : source.size;
    const std::string unset = rank.has_value() ? source.size : source.rank;
    return wrong(set + " is set and " + unset +
                 " is not; set both, or neither, or give --rank and --size");
  }
  PlaceClaim claim{0, 0, source.rank, source.size};
  BP_ASSIGN(claim.rank, number_of(source.rank, *rank));
  BP_ASSIGN(claim.size, number_of(source.size, *size));
  BP_ASSIGN(claim, checked(claim));
  return std::optional<PlaceClaim>(claim);
}

Result<std::optional<PlaceClaim>> first_claim(const LaunchFlags& flags,
                                              const Environment& environment, std::string& also) {
  std::optional<PlaceClaim> first;
  if (flags.rank.has_value() != flags.size.has_value()) {
    return wrong(std::string(flags.rank.has_value() ? "--rank is given and --size"
                                                    : "--size is given and --rank") +
                 " is not; give both, or neither");
  }
  if (flags.rank.has_value()) {
    BP_ASSIGN(first, checked({*flags.rank, *flags.size, "--rank", "--size"}));
  }
  for (const Source& source : kSources) {
    if (first.has_value()) {
      // It decides nothing any more, but a person wants to know that it says otherwise.
      const std::optional<std::string> rank = environment(source.rank);
      if (rank.has_value() && *rank != std::to_string(first->rank)) {
        also += ", not " + std::string(source.rank) + "=" + *rank;
      }
      continue;
    }
    BP_ASSIGN(first, claim_of(source, environment));
  }
  return first;
}

/// The first of them that is set; empty if none is.
std::string first_of(const Environment& environment, std::initializer_list<const char*> names) {
  for (const char* const name : names) {
    if (const auto value = environment(name); value.has_value()) return *value;
  }
  return {};
}

/// The players' nodes by rank, where Slurm started them on several; else none.
Result<std::vector<std::string>> slurm_hosts(const Environment& environment,
                                             const std::optional<PlaceClaim>& claim) {
  const std::vector<std::string> none;
  if (!claim.has_value()) return none;
  if (environment("SLURM_PROCID") != std::to_string(claim->rank)) return none;
  if (environment("SLURM_NTASKS") != std::to_string(claim->size)) return none;
  const std::string nodes =
      first_of(environment, {"SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST"});
  const std::string tasks =
      first_of(environment, {"SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"});
  if (nodes.empty() || tasks.empty()) return none;
  BP_ASSIGN(std::vector<std::string> hosts, hosts_of_tasks(nodes, tasks));
  if (hosts.size() != static_cast<std::size_t>(claim->size)) {
    return wrong("SLURM_NTASKS says that there are " + std::to_string(claim->size) +
                 " players, but Slurm lists " + std::to_string(hosts.size()) + " tasks on " +
                 nodes + " (" + tasks + "); give --peers");
  }
  if (std::all_of(hosts.begin(), hosts.end(), [&](const auto& h) { return h == hosts[0]; })) {
    return none;
  }
  const std::string& own = hosts[static_cast<std::size_t>(claim->rank)];
  const std::string here = first_of(environment, {"SLURMD_NODENAME"});
  if (here.empty() || here == own) return hosts;
  return wrong("SLURM_PROCID " + std::to_string(claim->rank) + " would be on " + own +
               " if Slurm numbered the tasks node by node, but it is on " + here +
               "; start them with --distribution=block, or give --peers");
}

struct Addresses {
  std::vector<std::string> peers;
  std::string source;
};

Result<Addresses> addresses_of(const LaunchFlags& flags, const Environment& environment,
                               const std::optional<PlaceClaim>& claim, const Roster& roster,
                               const std::string& roster_path) {
  if (!flags.peers.empty()) return Addresses{flags.peers, "--peers"};
  bool has_ports = true;
  for (const RosterPlayer& player : roster.players) has_ports = has_ports && player.port != 0;
  const std::optional<std::string> host = environment("MASTER_ADDR");
  const std::optional<std::string> port_text = environment("MASTER_PORT");
  if (host.has_value() != port_text.has_value()) {
    return wrong(std::string(host.has_value() ? "MASTER_ADDR is set and MASTER_PORT"
                                              : "MASTER_PORT is set and MASTER_ADDR") +
                 " is not; set both to where player 0 listens, or neither");
  }
  int first_port = kFirstPort;
  Addresses out;
  out.source = has_ports ? roster_path : roster_path + ", which names no ports";
  if (host.has_value()) {
    BP_ASSIGN(first_port, number_of("MASTER_PORT", *port_text));
    out.source = has_ports ? "MASTER_ADDR, the others' from " + roster_path : "MASTER_ADDR";
  }
  std::vector<std::string> nodes;
  if (!has_ports && !host.has_value()) {
    BP_ASSIGN(nodes, slurm_hosts(environment, claim));
  }
  if (!nodes.empty()) out.source = "Slurm's list of nodes";
  const int last_port = first_port + (has_ports ? 0 : static_cast<int>(roster.players.size()) - 1);
  if (first_port == 0 || last_port > 65535) {
    return wrong("MASTER_PORT is " + std::to_string(first_port) +
                 ": the players' ports would not be in 1 to 65535; choose another");
  }
  for (std::size_t rank = 0; rank < roster.players.size(); ++rank) {
    const RosterPlayer& player = roster.players[rank];
    const bool replaced = host.has_value() && (!has_ports || rank == 0);
    const int port = has_ports && !replaced ? player.port : first_port + static_cast<int>(rank);
    const std::string& listed = nodes.empty() ? player.host : nodes[rank];
    out.peers.push_back((replaced ? *host : listed) + ":" + std::to_string(port));
  }
  return out;
}

/// Two at one address would be one player twice, and a rank that never comes.
Result<void> check_addresses(const Addresses& addresses, std::size_t players) {
  if (addresses.peers.size() != players) {
    return wrong(addresses.source + " names " + std::to_string(addresses.peers.size()) +
                 " addresses, the roster has " + std::to_string(players) +
                 " players; give one host:port for each, by rank");
  }
  std::map<std::string, std::size_t> seen;
  for (std::size_t rank = 0; rank < players; ++rank) {
    const std::string& address = addresses.peers[rank];
    if (address.empty() || address.front() == ':') {
      return wrong(addresses.source + " has no host for player " + std::to_string(rank) +
                   "; give one host:port for each, by rank");
    }
    if (const std::size_t colon = address.rfind(':');
        colon == std::string::npos || !number_of("port", address.substr(colon + 1)).ok()) {
      return wrong(addresses.source + " gives player " + std::to_string(rank) + " the address '" +
                   address + "', which is not host:port; give one host:port for each, by rank");
    }
    const auto [other, fresh] = seen.emplace(address, rank);
    if (fresh) continue;
    return wrong(addresses.source + " gives players " + std::to_string(other->second) + " and " +
                 std::to_string(rank) + " the same address, " + address +
                 "; every player listens on a port of its own");
  }
  return {};
}

Result<std::string> home_of(const LaunchFlags& flags, const std::optional<PlaceClaim>& claim) {
  if (flags.home.empty() == flags.homes.empty()) {
    return wrong(
        "give --home DIR, this player's folder, or --homes DIR, the folder of player0, player1 ..");
  }
  if (!flags.home.empty()) return flags.home;
  if (claim.has_value()) return flags.homes + "/player" + std::to_string(claim->rank);
  return wrong(
      "--homes needs to know which player this is: start it by mpirun or srun, or give --rank and "
      "--size, or set RANK and WORLD_SIZE");
}

}  // namespace

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* const value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') return std::nullopt;
    return std::string(value);
  };
}

Result<Launch> resolve_launch(const LaunchFlags& flags, const Environment& environment) {
  std::string also;
  BP_ASSIGN(const std::optional<PlaceClaim> claim, first_claim(flags, environment, also));
  Launch launch;
  BP_ASSIGN(launch.home, home_of(flags, claim));
  const Home home{launch.home};
  BP_ASSIGN(const Roster roster, read_roster_file(home.roster_path()));
  BP_ASSIGN(launch.rank, rank_of_home(home, roster));
  launch.size = static_cast<int>(roster.players.size());
  if (claim.has_value() && claim->size != launch.size) {
    return wrong(claim->size_name + " says that there are " + std::to_string(claim->size) +
                 " players, but " + home.roster_path() + " names " + std::to_string(launch.size) +
                 "; start one process for each player of the roster, or give --rank and --size");
  }
  if (claim.has_value() && claim->rank != launch.rank) {
    return make_error(ErrorCode::kRosterMismatch,
                      claim->rank_name + " says that this is player " +
                          std::to_string(claim->rank) + ", but the certificate in " + launch.home +
                          " is that of player " + std::to_string(launch.rank) +
                          "; give each process the home of its rank (--homes does), or order the "
                          "hosts as the roster does");
  }
  BP_ASSIGN(Addresses addresses,
            addresses_of(flags, environment, claim, roster, home.roster_path()));
  BP_TRY(check_addresses(addresses, roster.players.size()));
  launch.peers = std::move(addresses.peers);
  launch.line = "player " + std::to_string(launch.rank) + " of " + std::to_string(launch.size) +
                ", by " +
                (claim.has_value() ? claim->rank_name + " and " + claim->size_name
                                   : "the certificate in " + launch.home) +
                also + "; addresses from " + addresses.source;
  return launch;
}

}  // namespace beaverpond
