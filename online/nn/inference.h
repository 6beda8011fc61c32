// Runs a trained model on images of one player with weights of another; one player learns the
// answers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "beaverpond/result.h"
#include "online/nn/dataset.h"
#include "online/nn/trainer.h"

namespace beaverpond {

struct InferenceOptions {
  std::uint32_t batch = 128;
  std::uint32_t count = 0;  ///< images in all; public
  /// Owns the images and learns the answers, as reveal.answer says. Must be named in the job's
  /// reveal.predictions.
  std::uint32_t asker = 0;
  /// Unset: the weights are shared, as training left them.
  std::optional<std::uint32_t> weights_owner = 0;
  /// Batches of one bundle: the weights are masked and opened once for all of them.
  std::uint32_t series = 1;
};

struct InferenceSetup {
  InferenceProgram inference;
  Plan plan;
  /// Where the job leaves the profile open: the plan of the other one, "wan".
  std::optional<Plan> wide_plan;
  InferenceOptions options;
};

/// Errors: kConfig.
Result<InferenceSetup> prepare_inference(const Job& job, PrgKind prg,
                                         const InferenceOptions& options);

struct InferenceReport {
  std::vector<std::uint32_t> predictions;  ///< one per image, on the asker; else empty
  /// Scores or probabilities [images, classes], on the asker, where the job answers with them.
  std::vector<double> values;
  std::uint64_t batches = 0;
  double seconds = 0;
  EngineStats engine;
  EngineProfile profile;  ///< empty unless TrainOptions::profile
};

/// One player's part. `images` is read on the asker, `weights` on their owner (master weights, as
/// training reveals them) or, where the weights are shared, on all players (each its shares);
/// elsewhere null. One bundle per series; a last smaller batch is filled up with zero images.
/// Errors: kConfig, and those of Engine::run and BundleSource.
Result<InferenceReport> infer_blocking(const Job& job, const InferenceSetup& setup,
                                       const Dataset* images,
                                       const std::vector<WeightTensor>* weights, Backend& backend,
                                       Transport& transport, const Session& session,
                                       BundleSource& bundles, const TrainOptions& options);

}  // namespace beaverpond
