// One player as a process: its home, its connections, its pool.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "kernels/make_backend.h"
#include "offline/plan/roster.h"
#include "offline/pool/pool.h"
#include "offline/pool/posix_storage.h"
#include "online/session/bundle_source.h"
#include "online/session/identity.h"
#include "online/session/network_config.h"
#include "online/session/plan_choice.h"
#include "online/session/session.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// Something that all players must have alike before they start.
struct Agreed {
  Hash256 hash{};
  std::string if_it_differs;  ///< what is wrong then, and what to do
};

/// What is run: the same on all players.
struct Undertaking {
  std::string source;  ///< what fixes the number of players, for messages: "job.toml"
  std::uint32_t players = 0;
  Hash256 plan{};  ///< whose bundles are spent
  /// Not empty: the players choose one of these instead, once they are connected.
  std::vector<PlanOption> plans;
  /// Compared in this order; the first that differs is reported.
  std::vector<Agreed> agreed;
  std::uint64_t lease_bundles = 16;  ///< leased at a time
  /// Rather no lease than one that burns what a pool that was put back may have spent.
  bool refuses_rollback = false;
  NetworkConfig network;
};

struct PlayerOptions {
  std::string home;
  /// A descriptor that already listens for this player, or -1 to bind the roster's port.
  int listen_descriptor = -1;
  /// host:port by rank; empty to use the roster's.
  std::vector<std::string> peers;
  std::uint32_t lane = 0;
  /// The last membership epoch that this player knows of. The roster's, where it is later, is the
  /// first.
  std::uint64_t last_epoch = 0;
  std::string device = "auto";  ///< as make_backend() takes it
  /// That a CPU's products share; 0: the cores of this host, divided by the players on it.
  int threads = 0;
  /// Each of them stays on a CPU that no other player of this host has: the thread that connects
  /// too, from then on.
  bool pin = false;
  /// What carries openings, on all players alike: "tls", or, where the roster trusts the fabric,
  /// "nccl" between GPUs or "mpi" among processes that mpirun started. All else goes over TLS.
  std::string transport = "tls";
  /// How long a connection that broke may come back, instead of the undertaking's. Of TLS alone:
  /// what NCCL and MPI have under way is lost with a connection, and so is the player then.
  std::optional<std::uint32_t> reconnect_seconds;
  /// What this run does, in words, as all players must: "train", "infer for player 1 ..".
  std::string task;
  /// Wraps the TLS transport once it is connected; for tests that watch what is sent.
  std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport>)> decorate;
  /// Lines for the person who waits: what computes, what is waited for, rollbacks.
  std::function<void(const std::string&)> on_notice;
};

/// A connected player with its pool open, for one plan. Owns everything that a run needs.
class Player {
 public:
  /// Reads the home, opens the pool and connects to all others, who must agree on the undertaking.
  /// Errors: kConfig, kRosterMismatch, kPoolBusy, kPoolCorrupt, kPeerLost, kTimeout, kIo,
  /// kDeviceFailed, kOutOfMemory.
  static Result<std::unique_ptr<Player>> connect_blocking(const Undertaking& what,
                                                          const PlayerOptions& options);
  virtual ~Player() = default;

  virtual int rank() const = 0;
  virtual const Roster& roster() const = 0;
  virtual Backend& backend() = 0;
  virtual Transport& transport() = 0;
  virtual const Session& session() const = 0;
  virtual BundleSource& bundles() = 0;
  /// Which of Undertaking::plans was chosen, by all alike; 0 where there was no choice.
  virtual std::size_t plan_index() const = 0;

  /// A last meeting of all players, so that nobody leaves while another still needs it.
  virtual Result<void> finish_blocking() = 0;
};

/// Whether it is "tls", "nccl" or "mpi". Errors: kConfig.
Result<void> check_transport(const std::string& transport);

/// Which player of the roster the home belongs to. Errors: kConfig, kRosterMismatch.
Result<int> rank_of_home(const Home& home, const Roster& roster);

}  // namespace beaverpond
