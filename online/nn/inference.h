// Runs a trained model on images of one player with weights of another; one player learns the
// answers.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "beaverpond/result.h"
#include "online/nn/dataset.h"
#include "online/nn/trainer.h"

namespace beaverpond {

struct InferenceOptions {
  std::uint32_t batch = 128;
  std::uint32_t count = 0;          ///< images in all; public
  /// Owns the images and learns the logits, all class scores: more about the weights than the
  /// predicted class alone. Must be named in the job's reveal.predictions.
  std::uint32_t asker = 0;
  std::uint32_t weights_owner = 0;
};

struct InferenceSetup {
  InferenceProgram inference;
  Plan plan;
  InferenceOptions options;
};

/// Errors: kConfig.
Result<InferenceSetup> prepare_inference(const Job& job, PrgKind prg,
                                         const InferenceOptions& options);

struct InferenceReport {
  std::vector<std::uint32_t> predictions;  ///< one per image, on the asker; else empty
  double seconds = 0;
  EngineStats engine;
};

/// One player's part. `images` is read on the asker, `weights` (master weights, as training reveals
/// them) on their owner; elsewhere null. One bundle per batch; a last smaller batch is filled up
/// with zero images. Errors: kConfig, and those of Engine::run and BundleSource.
Result<InferenceReport> infer_blocking(const Job& job, const InferenceSetup& setup,
                                       const Dataset* images,
                                       const std::vector<WeightTensor>* weights, Backend& backend,
                                       Transport& transport, const Session& session,
                                       BundleSource& bundles, const TrainOptions& options);

}  // namespace beaverpond
