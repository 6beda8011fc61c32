// A whole job by the plaintext twin: the weights that the private run must reach bit for bit, and
// the accuracy that they have.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "online/nn/dataset.h"
#include "online/nn/job.h"
#include "online/nn/weight_file.h"

namespace beaverpond {

enum class Arithmetic : std::uint8_t { kFixed, kFloat };

struct EmulateProgress {
  std::uint64_t steps_done = 0;
  double step_loss = 0;  ///< the job's loss, mean over the batch's rows before the update
};

struct EmulateOptions {
  Arithmetic arithmetic = Arithmetic::kFixed;
  /// The same net, schedule of rates and batch size, trained by this player on its rows alone.
  std::optional<std::uint32_t> alone;
  /// Called after every step; the job is cancelled (kCancelled) when it returns false.
  std::function<bool(const EmulateProgress&)> progress;
};

struct EmulateReport {
  std::vector<WeightTensor> weights;  ///< by state slot; a float run's are rounded to words
  std::string sha256;                 ///< weights_sha256(weights)
  std::uint64_t steps = 0;
  double last_step_loss = 0;
  double test_loss = 0;      ///< the job's loss over the test set, in floating point
  double test_accuracy = 0;  ///< 0..1
  std::uint32_t test_images = 0;
};

/// Reads the job's data and trains. Errors: kConfig, kIo, kDomain, kCancelled.
Result<EmulateReport> emulate(const Job& job, const EmulateOptions& options);

struct Evaluation {
  double loss = 0;
  double accuracy = 0;
  std::uint32_t images = 0;
};

/// Runs the inference program on every image, in fixed point. `weights` are master weights (2f+K).
/// A tie between logits goes to the lower class. Errors: kConfig, kDomain.
Result<Evaluation> evaluate(const Job& job, const std::vector<WeightTensor>& weights,
                            const Dataset& data);

/// Master words truncated (rounded to nearest) to the f bits that the inference program takes.
std::vector<std::uint64_t> inference_words(const WeightTensor& master, const FixedPoint& fixed);

}  // namespace beaverpond
