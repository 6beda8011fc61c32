// Inference on the test images of a job with its initial weights, which are as good as trained ones
// for the clock; answers compared with the plaintext twin's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "bench/dealing/dealing.h"
#include "online/nn/inference.h"

namespace beaverpond {

struct InferenceCase {
  Job job;
  InferenceSetup setup;
  Dataset images;                       ///< of player 1, who learns the classes
  std::vector<WeightTensor> weights;    ///< of player 0
  std::vector<std::uint32_t> expected;  ///< classes
};

/// `batches` batches of one series. Errors: those of read_job(), prepare_inference(), the twin.
Result<InferenceCase> make_inference_case(const std::string& job_path, std::uint32_t batch,
                                          std::uint32_t batches, const Setting& setting);

/// One player's part. `on_batch` is called after each. Errors: those of infer_blocking().
Result<InferenceReport> infer_player_blocking(const InferenceCase& test, Transport& transport,
                                              std::vector<Bundle> bundles,
                                              const TrainOptions& options);

}  // namespace beaverpond
