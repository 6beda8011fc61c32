// Players that are threads of this process, each as the program runs it: its home, its pool on
// disk, its TLS connections, the CUDA module on a device of its own, and NCCL between the devices.
// Only what lies below the module is a stand-in.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "offline/plan/roster.h"
#include "offline/pool/pool.h"
#include "online/nn/job.h"
#include "online/nn/trainer.h"
#include "online/player/player.h"
#include "tests/fake_cuda/jobs/tap.h"
#include "tests/online/transport/players.h"

namespace beaverpond::testing {

inline constexpr int kGpuPlayers = 3;

/// How one player's run ended, and what it sent until then.
struct GpuRun {
  std::optional<Error> error;
  TrainReport report;
  Deadline ended;
  std::vector<Sent> over_gpus;  ///< by the transport that the engine uses
  std::vector<Sent> over_tls;   ///< by the one underneath
};

/// What each player computes on, and what carries openings.
struct GpuSetting {
  std::vector<std::string> devices = {"cuda:0", "cuda:1", "cuda:2"};
  std::string transport = "nccl";
};

struct GpuRunHooks {
  BeforeOpening before_opening;
  /// Called after every step, on the player's thread.
  std::function<void(int rank, const TrainProgress&)> after_step;
};

/// One job, its homes and pools in a folder that goes with the object, and new devices.
class GpuPlayers {
 public:
  explicit GpuPlayers(Job job);

  Job& job() { return job_; }
  const TrainingSetup& setup() const { return setup_; }
  const Roster& roster() const { return roster_; }
  LaneKey lane() const { return LaneKey{plan_hash(setup_.plan), 0}; }

  /// `triple-factory make --device DEVICE`, on all pools.
  Result<void> make_bundles(std::uint64_t bundles, const std::string& device) const;

  /// `beaverpond train --device DEVICE --transport TRANSPORT`, all players at once.
  std::vector<GpuRun> train(const GpuRunHooks& hooks = {}, const GpuSetting& setting = {}) const;

  /// Copies of all pools, and these in the place of the pools.
  void keep_pools() const { copy_pools("/pool", "/kept"); }
  void put_pools_back() const { copy_pools("/kept", "/pool"); }

  /// A player's pool, as only one may hold it at a time.
  Result<Pool> open_pool(int rank) const;

 private:
  std::string home(int rank) const { return folder_.path() + "/player" + std::to_string(rank); }
  void copy_pools(const std::string& from, const std::string& to) const;
  std::string plan_path() const { return folder_.path() + "/job.plan"; }
  Result<TrainReport> run_player(int rank, const PlayerOptions& options,
                                 const GpuRunHooks& hooks) const;

  Job job_;
  TrainingSetup setup_;
  TemporaryFolder folder_;
  Roster roster_;
};

/// An example's job for three players, each of whom has images of its own, and so small that an
/// emulated device trains it in seconds: `rows` images of each player a step, no test set, no loss.
/// All learn the weights.
Job small_job(const std::string& example, std::uint32_t rows, std::uint64_t steps);

}  // namespace beaverpond::testing
