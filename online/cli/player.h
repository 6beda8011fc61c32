// One player of a job as a process: its home, its connections, its pool.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "kernels/backend.h"
#include "offline/plan/roster.h"
#include "offline/pool/pool.h"
#include "offline/pool/posix_storage.h"
#include "online/nn/job.h"
#include "online/session/bundle_source.h"
#include "online/session/identity.h"
#include "online/session/session.h"
#include "online/transport/transport.h"

namespace beaverpond {

struct PlayerOptions {
  std::string home;
  /// A descriptor that already listens for this player, or -1 to bind the roster's port.
  int listen_descriptor = -1;
  /// host:port by rank; empty to use the roster's.
  std::vector<std::string> peers;
  std::uint32_t lane = 0;
  /// What this run does beyond plan and job, as all players must: "train", "infer for player 1 ..".
  std::string task;
  Hash256 program{};  ///< program_hash() of what is run
  /// Wraps the transport once it is connected; for tests that watch what is sent.
  std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport>)> decorate;
  /// Lines for the person who waits: what is waited for, rollbacks.
  std::function<void(const std::string&)> on_notice;
};

/// A connected player with its pool open, for one plan. Owns everything that a run needs.
class Player {
 public:
  /// Reads the home, opens the pool and connects to all others, who must run the same plan and the
  /// same public job. Errors: kConfig, kRosterMismatch, kPoolBusy, kPoolCorrupt, kPeerLost,
  /// kTimeout, kIo.
  static Result<std::unique_ptr<Player>> connect_blocking(const Job& job, const Hash256& plan,
                                                          const PlayerOptions& options);
  virtual ~Player() = default;

  virtual int rank() const = 0;
  virtual const Roster& roster() const = 0;
  virtual Backend& backend() = 0;
  virtual Transport& transport() = 0;
  virtual const Session& session() const = 0;
  virtual BundleSource& bundles() = 0;

  /// A last meeting of all players, so that nobody leaves while another still needs it.
  virtual Result<void> finish_blocking() = 0;
};

/// Which player of the roster the home belongs to. Errors: kConfig, kRosterMismatch.
Result<int> rank_of_home(const Home& home, const Roster& roster);

/// What all players of a job must agree on, beyond the plan: seed, schedule, owners, reveals.
Hash256 public_job_hash(const Job& job);

}  // namespace beaverpond
