#include "online/player/player.h"

#include <algorithm>

#include "kernels/device_module.h"
#include "kernels/make_backend.h"
#include "kernels/pinning.h"
#include "offline/plan/certificate.h"
#include "online/player/connection.h"
#include "online/player/home_pool.h"
#include "online/transport/mpi_module.h"
#include "online/transport/nccl_options.h"
#include "online/transport/tls.h"

namespace beaverpond {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// The agreed hashes, then the task in words.
std::vector<std::uint8_t> make_hello(const std::vector<Agreed>& agreed, const std::string& task) {
  std::vector<std::uint8_t> hello;
  for (const Agreed& item : agreed) hello.insert(hello.end(), item.hash.begin(), item.hash.end());
  hello.insert(hello.end(), task.begin(), task.end());
  return hello;
}

/// The task of a hello, made safe to print.
std::string task_of(std::span<const std::uint8_t> hello, std::size_t hashes) {
  constexpr std::size_t kLongest = 160;
  std::string task;
  for (std::size_t i = hashes * sizeof(Hash256); i < hello.size() && task.size() < kLongest; ++i) {
    task.push_back(hello[i] >= 0x20 && hello[i] < 0x7f ? static_cast<char>(hello[i]) : '?');
  }
  return task;
}

/// Compares a peer's hello with ours; says what differs.
Result<void> check_hello(int player, std::span<const std::uint8_t> theirs,
                         const std::vector<std::uint8_t>& ours, const std::vector<Agreed>& agreed) {
  if (std::equal(theirs.begin(), theirs.end(), ours.begin(), ours.end())) return {};
  const std::string their_task = task_of(theirs, agreed.size());
  const std::string our_task = task_of(ours, agreed.size());
  std::string message = "the tasks differ: '" + their_task + "' there, '" + our_task +
                        "' here; give every player the same command and flags";
  if (their_task == our_task) {
    std::size_t i = 0;
    const auto same = [&](std::size_t index) {
      const std::size_t from = index * sizeof(Hash256);
      return theirs.size() >= from + sizeof(Hash256) &&
             std::equal(agreed[index].hash.begin(), agreed[index].hash.end(),
                        theirs.begin() + static_cast<std::ptrdiff_t>(from));
    };
    while (i + 1 < agreed.size() && same(i)) ++i;
    if (!agreed.empty()) message = agreed[i].if_it_differs;
  }
  Error error = make_error(ErrorCode::kRosterMismatch, std::move(message));
  error.player = player;
  return error;
}

Result<TlsOptions> tls_options(const Undertaking& what, const Home& home, const Roster& roster,
                               int rank, const PlayerOptions& options) {
  BP_ASSIGN(TlsOptions tls, player_tls_options(home, roster, rank, options.peers, what.network));
  tls.listen_descriptor = options.listen_descriptor;
  if (options.reconnect_seconds.has_value()) {
    tls.reconnect = std::chrono::seconds(*options.reconnect_seconds);
  }
  if (options.transport != "tls") tls.reconnect = milliseconds(0);
  tls.hello =
      make_hello(what.agreed, options.task + " on lane " + std::to_string(options.lane) +
                                  (options.transport == "tls" ? "" : " over " + options.transport));
  tls.check_hello = [ours = tls.hello, agreed = what.agreed](int player,
                                                             std::span<const std::uint8_t> theirs) {
    return check_hello(player, theirs, ours, agreed);
  };
  return tls;
}

/// A player's connections; that of NCCL or MPI, where there is one, rests on the other.
struct Connections {
  std::unique_ptr<Transport> tls;
  std::unique_ptr<Transport> openings;
  Transport& all() const { return openings == nullptr ? *tls : *openings; }
};

/// What must be so before openings may travel by anything else than TLS. Errors: kConfig.
Result<void> check_openings(const PlayerOptions& options, const Roster& roster,
                            const MadeBackend& made) {
  BP_TRY(check_transport(options.transport));
  if (options.transport == "tls") return {};
  if (options.transport == "mpi") {
    BP_TRY(check_mpi_fabric(roster.trusted_fabric));
    // Here, while this process has no other threads.
    BP_TRY(load_mpi_module());
    return {};
  }
  BP_TRY(check_fabric(roster.trusted_fabric));
  if (made.gpu >= 0) return {};
  return make_error(ErrorCode::kConfig,
                    "--transport nccl carries openings between GPUs, but this player computes on "
                    "the CPU; add --device cuda, or use --transport tls");
}

Result<std::unique_ptr<Transport>> connect_gpus_blocking(const PlayerOptions& options,
                                                         const TlsOptions& tls, int gpu,
                                                         Transport& control) {
  BP_ASSIGN(const DeviceModule* const module, load_cuda_module());
  NcclOptions nccl;
  nccl.device = gpu;
  nccl.trusted_fabric = true;  // check_openings() has seen to it
  nccl.lane = options.lane;
  nccl.connect_timeout = tls.connect_timeout;
  nccl.blame_timeout = tls.peer_timeout + milliseconds(1000);
  return module->connect_nccl(control, nccl, steady_clock::now() + tls.connect_timeout);
}

Result<std::unique_ptr<Transport>> connect_mpi(const PlayerOptions& options, const TlsOptions& tls,
                                               Transport& control) {
  BP_ASSIGN(const MpiModule* const module, load_mpi_module());
  MpiOptions mpi;
  mpi.trusted_fabric = true;  // check_openings() has seen to it
  mpi.lane = options.lane;
  mpi.blame_timeout = tls.peer_timeout + milliseconds(1000);
  return module->connect(control, mpi, steady_clock::now() + tls.connect_timeout);
}

/// What carries openings, where that is not TLS. Errors: those of the transports.
Result<void> connect_openings_blocking(const PlayerOptions& options, const TlsOptions& tls, int gpu,
                                       Connections& connections) {
  if (options.transport == "tls") return {};
  const bool nccl = options.transport == "nccl";
  if (nccl) {
    BP_ASSIGN(connections.openings, connect_gpus_blocking(options, tls, gpu, *connections.tls));
  } else {
    BP_ASSIGN(connections.openings, connect_mpi(options, tls, *connections.tls));
  }
  if (options.on_notice) {
    options.on_notice(std::string("openings travel by ") + (nccl ? "NCCL" : "MPI") +
                      ", not encrypted: the roster trusts the fabric");
  }
  return {};
}

class ConnectedPlayer final : public Player {
 public:
  ConnectedPlayer(Roster roster, int rank, Pool pool, Connections connections,
                  const Session& session, std::unique_ptr<Backend> backend)
      : roster_(std::move(roster)),
        rank_(rank),
        pool_(std::move(pool)),
        connections_(std::move(connections)),
        session_(session),
        backend_(std::move(backend)) {}

  /// Decides on the plan, where that is open. Errors: those of choose_plan_blocking().
  Result<void> choose_plan_blocking(const Undertaking& what, const PlayerOptions& options,
                                    LaneKey& key) {
    if (what.plans.empty()) return {};
    BP_ASSIGN(const PlanChoice choice,
              beaverpond::choose_plan_blocking(
                  pool_, options.lane, transport(), session_, what.plans,
                  steady_clock::now() + milliseconds(what.network.connect_timeout_ms)));
    plan_index_ = choice.index;
    key.plan = what.plans[choice.index].plan;
    if (options.on_notice) options.on_notice(choice.reason);
    return {};
  }
  void lease_from(const LeaseOptions& options, milliseconds dry_timeout) {
    bundles_ =
        std::make_unique<PoolBundleSource>(pool_, transport(), session_, options, dry_timeout);
  }
  int rank() const override { return rank_; }
  const Roster& roster() const override { return roster_; }
  Backend& backend() override { return *backend_; }
  Transport& transport() override { return connections_.all(); }
  const Session& session() const override { return session_; }
  BundleSource& bundles() override { return *bundles_; }
  std::size_t plan_index() const override { return plan_index_; }

  Result<void> finish_blocking() override {
    const Tag tag{session_.id(), 0, 0, kFinishedOperation};
    BP_TRY(transport().all_gather_messages_blocking({}, tag,
                                                    steady_clock::now() + milliseconds(30000)));
    return {};
  }

 private:
  Roster roster_;
  int rank_;
  Pool pool_;
  Connections connections_;
  Session session_;
  std::unique_ptr<Backend> backend_;
  std::size_t plan_index_ = 0;
  std::unique_ptr<PoolBundleSource> bundles_;  // before all that it refers to
};

LeaseOptions lease_options(const Undertaking& what, const PlayerOptions& options) {
  LeaseOptions lease;
  lease.key = LaneKey{what.plan, options.lane};
  lease.max_bundles = what.lease_bundles;
  if (what.refuses_rollback) lease.on_rollback = OnRollback::kRefuse;
  if (options.on_notice) {
    // A dry pool is polled many times a second; a person is told once in a while.
    lease.on_notice = [notify = options.on_notice, quiet_until = steady_clock::time_point()](
                          const LeaseNotice& notice) mutable {
      const auto now = steady_clock::now();
      if (notice.kind == LeaseNotice::Kind::kWaiting && now < quiet_until) return;
      quiet_until = now + std::chrono::seconds(5);
      notify(notice.message);
    };
  }
  return lease;
}

/// Players that share this one's host, by what they are reached at.
struct OnHost {
  int count = 0;  ///< this one among them
  int place = 0;  ///< of this one, by rank
};
OnHost players_on_host(const Roster& roster, int rank, const std::vector<std::string>& peers) {
  const auto host_of = [&](std::size_t player) {
    return peers.empty() ? roster.players[player].host
                         : peers[player].substr(0, peers[player].rfind(':'));
  };
  const std::size_t players = peers.empty() ? roster.players.size() : peers.size();
  const auto mine = static_cast<std::size_t>(rank);
  OnHost here;
  for (std::size_t player = 0; player < players && mine < players; ++player) {
    if (host_of(player) != host_of(mine)) continue;
    if (player < mine) ++here.place;
    ++here.count;
  }
  return here;
}

std::string pinned_line(const std::vector<int>& cpus) {
  std::string line = cpus.size() == 1 ? "pinned to CPU" : "pinned to CPUs";
  for (const int cpu : cpus) line += " " + std::to_string(cpu);
  return line;
}

}  // namespace

Result<int> rank_of_home(const Home& home, const Roster& roster) {
  BP_ASSIGN(const Hash256 fingerprint, certificate_fingerprint(home.certificate_path()));
  for (std::size_t rank = 0; rank < roster.players.size(); ++rank) {
    if (roster.players[rank].certificate == fingerprint) return static_cast<int>(rank);
  }
  return make_error(ErrorCode::kRosterMismatch,
                    home.certificate_path() + " (" + to_hex(fingerprint) + ") is not in " +
                        home.roster_path() +
                        "; send the certificate to whoever writes the roster, or use the home "
                        "that belongs to it");
}

Result<void> check_transport(const std::string& transport) {
  if (transport == "tls" || transport == "nccl" || transport == "mpi") return {};
  return make_error(ErrorCode::kConfig,
                    "'" + transport + "' is no transport; write tls, nccl or mpi");
}

Result<std::unique_ptr<Player>> Player::connect_blocking(const Undertaking& what,
                                                         const PlayerOptions& options) {
  const Home home{options.home};
  BP_ASSIGN(Roster roster, read_roster_file(home.roster_path()));
  if (roster.players.size() != what.players) {
    return make_error(ErrorCode::kConfig, what.source + " is for " + std::to_string(what.players) +
                                              " players, but " + home.roster_path() + " names " +
                                              std::to_string(roster.players.size()));
  }
  BP_ASSIGN(const int rank, rank_of_home(home, roster));
  const OnHost here = players_on_host(roster, rank, options.peers);
  const int threads = options.threads > 0 ? options.threads : threads_of_one(here.count);
  std::vector<int> cpus;
  if (options.pin) {
    BP_ASSIGN(cpus, cpus_of_one(threads, std::max(1, here.count), here.place));
  }
  BP_ASSIGN(MadeBackend made, make_backend(options.device, threads, cpus));
  if (options.on_notice) options.on_notice(made.line);
  BP_TRY(check_openings(options, roster, made));
  static PosixStorage storage;
  BP_ASSIGN(Pool pool, Pool::open(home_pool_options(home, roster, rank, storage)));
  if (!key_memory_is_locked() && options.on_notice) {
    options.on_notice(
        "keys may be swapped to disk, since this user may not lock memory; raise ulimit -l");
  }
  BP_ASSIGN(const TlsOptions tls, tls_options(what, home, roster, rank, options));
  BP_ASSIGN(TlsConnected connected, connect_tls_blocking(tls));
  Connections connections{std::move(connected.transport), nullptr};
  if (options.decorate) connections.tls = options.decorate(std::move(connections.tls));
  BP_TRY(connect_openings_blocking(options, tls, made.gpu, connections));
  const std::uint64_t last_epoch = std::max(options.last_epoch + 1, roster.epoch) - 1;
  BP_ASSIGN(const Session session,
            Session::create_blocking(connections.all(), steady_clock::now() + tls.connect_timeout,
                                     fill_random_blocking, last_epoch));
  auto player =
      std::make_unique<ConnectedPlayer>(std::move(roster), rank, std::move(pool),
                                        std::move(connections), session, std::move(made.backend));
  LeaseOptions lease = lease_options(what, options);
  BP_TRY(player->choose_plan_blocking(what, options, lease.key));
  player->lease_from(lease, milliseconds(what.network.pool_timeout_ms));
  // Last: the threads of the connections, made above, stay free to be anywhere.
  if (options.pin) {
    BP_TRY(pin_thread(::pthread_self(), cpus[0]));
    if (options.on_notice) options.on_notice(pinned_line(cpus));
  }
  return std::unique_ptr<Player>(std::move(player));
}

}  // namespace beaverpond
