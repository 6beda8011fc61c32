// Trains a job's model among players: one bundle a step, weights always shared.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "beaverpond/result.h"
#include "kernels/backend.h"
#include "offline/plan/plan.h"
#include "online/nn/checkpoint.h"
#include "online/nn/job.h"
#include "online/nn/model.h"
#include "online/nn/weight_file.h"
#include "online/protocol/engine.h"
#include "online/session/bundle_source.h"
#include "online/session/session.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// What all players derive from the job alone.
struct TrainingSetup {
  TrainingProgram training;
  std::vector<ModelParameter> parameters;
  Plan plan;
  /// Where the job leaves the profile open: the plan of the other one, "wan".
  std::optional<Plan> wide_plan;
};

/// Errors: kConfig.
Result<TrainingSetup> prepare_training(const Job& job, PrgKind prg);

/// Players that learn the weights: job.reveal.weights, or all if job.reveal.verify. A bit each.
std::uint64_t weight_receivers(const Job& job);

struct TrainProgress {
  std::uint64_t steps_done = 0;
  std::uint64_t steps = 0;
  std::optional<double> loss;  ///< of this step's batch, where the job reveals it
  double steps_per_second = 0;
  std::uint64_t bundles_left = 0;
};

struct OwnRows;

/// The rows of a player's own, read once and used by any number of sessions of it, one at a time.
class OwnData {
 public:
  /// Of who owns none: nothing is read. Errors: kConfig, kIo.
  static Result<OwnData> read(const Job& job, int rank);

  /// Of the rows, in the order in which the job takes them; zero for none. A checkpoint is bound to
  /// it.
  Hash256 hash() const;
  /// Null for none.
  OwnRows* rows() const { return rows_.get(); }

 private:
  std::shared_ptr<OwnRows> rows_;
};

/// Where a training keeps its checkpoints, and where it begins.
struct TrainCheckpoints {
  CheckpointStore* store = nullptr;    ///< outlives the training
  std::uint64_t every = 0;             ///< steps; also before the first and after the last
  RunId run{};                         ///< as all players agreed, see online/session/resume.h
  std::optional<CheckpointName> from;  ///< that all players hold; unset: the beginning
};

struct TrainOptions {
  std::uint32_t lane = 0;
  std::uint64_t epoch = 0;
  bool profile = false;                                   ///< as EngineOptions
  std::function<void(const TrainProgress&)> on_progress;  ///< after every step
  bool keep_shares = false;  ///< the report gets this player's shares of the weights
  std::optional<TrainCheckpoints> checkpoints;
  std::optional<OwnData> own;  ///< of this job and player; unset: train_blocking() reads it
};

struct TrainReport {
  std::uint64_t steps = 0;            ///< of this session
  double seconds = 0;                 ///< of the steps, without set-up
  std::vector<WeightTensor> weights;  ///< empty if this player is no receiver
  std::vector<WeightTensor> shares;   ///< this player's, where they were to be kept
  EngineStats engine;
  EngineProfile profile;  ///< empty unless TrainOptions::profile
};

/// Reads what the player owns and forgets it: a mistake in a data file shows before anybody waits.
/// Errors: kConfig, kIo.
Result<void> check_own_data(const Job& job, int rank);

/// One player's part. All players call it with the same job; each reads only its own rows.
/// Errors: kConfig, kIo (data), and those of Engine::run, BundleSource and CheckpointStore; with
/// the step, where one was in progress.
Result<TrainReport> train_blocking(const Job& job, const TrainingSetup& setup, Backend& backend,
                                   Transport& transport, const Session& session,
                                   BundleSource& bundles, const TrainOptions& options);

}  // namespace beaverpond
