// From a model to the Programs that train it and run it: exact truncation, master weights at scale
// 2f+K, one truncation of each per step (README.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "beaverpond/program.h"
#include "beaverpond/result.h"
#include "online/nn/job.h"

namespace beaverpond {

/// A tensor that training changes. Slots are in layer order, a layer's weights before its biases.
struct ModelParameter {
  std::string layer;  ///< "conv1", "dense2"
  bool bias = false;
  bool output = false;  ///< of the last layer
  Shape shape;          ///< dense weights [in, units], conv weights [k, k, in, out], biases [n]
  std::uint64_t fan_in = 0;  ///< inputs of one output
  int scale_bits = 0;        ///< 2f+K
};

/// The parameters, index = state slot. Errors: kConfig for a model that cannot be built.
Result<std::vector<ModelParameter>> model_parameters(const ModelConfig& model,
                                                     const FixedPoint& fixed);

/// The rows that one player adds to every batch.
struct BatchPart {
  std::uint32_t player = 0;
  std::uint32_t rows = 0;
};

struct TrainingProgramOptions {
  std::vector<BatchPart> parts;  ///< the batch is their rows, joined in this order
  /// Players that learn the step's loss, summed over the batch, and nothing else: one word at scale
  /// 2f; the sum of (p - onehot)^2 for the squared error, the cross-entropy for the softmax.
  /// 0: nobody.
  std::uint64_t loss_receivers = 0;
  /// Softmax and cross-entropy by exp and log instead of dealt tables, for the float twin only.
  bool exact_softmax = false;
};

/// The loss per unit of what the program reveals: half the sum of squares, or the cross-entropy.
constexpr double loss_factor(Loss loss) {
  return loss == Loss::kSoftmax ? 1.0 : 0.5;
}

/// Input slots 2i and 2i+1 are part i's images [rows, height, width, channels] and one-hot labels
/// [rows, classes], at scale f. States are the parameters, then their velocities if the optimiser
/// has momentum. Reveal slot 0 is the loss, if any.
struct TrainingProgram {
  Program program;
  std::uint32_t image_slot(std::uint32_t part) const { return 2 * part; }
  std::uint32_t label_slot(std::uint32_t part) const { return 2 * part + 1; }
};

/// One step of SGD. Errors: kConfig, with the layer's name.
Result<TrainingProgram> build_training_program(const ModelConfig& model, const FixedPoint& fixed,
                                               const OptimiserConfig& optimiser,
                                               const TrainingProgramOptions& options);

struct InferenceProgramOptions {
  std::uint32_t batch = 0;
  std::uint32_t image_owner = 0;
  /// Owner of the weights, who gives them at scale f; unset: they are states at scale 2f+K, as
  /// training left them.
  std::optional<std::uint32_t> weight_owner = 0;
  Answer answer = Answer::kScores;
  std::uint64_t receivers = 1;  ///< players that learn the answer
  std::uint32_t members = 1;    ///< batches of one bundle, whose weights are masked once
};

/// Input slot 0 is the images; slot 1+i (or state i) parameter i. Reveal slot 0 is the answer: the
/// class [batch] at scale 0, else [batch, classes] at scale f.
struct InferenceProgram {
  Program program;
  static constexpr std::uint32_t kImageSlot = 0;
  std::uint32_t parameter_slot(std::uint32_t parameter) const { return 1 + parameter; }
};

Result<InferenceProgram> build_inference_program(const ModelConfig& model, const FixedPoint& fixed,
                                                 const InferenceProgramOptions& options);

}  // namespace beaverpond
