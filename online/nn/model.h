// From a model to the Programs that train it and run it (protocols: exact truncation, master
// weights at scale 2f+K, one truncation of each per step).
#pragma once

#include <cstdint>
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
  /// Players that learn the step's loss and nothing else: the sum of (p - onehot)^2 over the batch,
  /// one word at scale 2f. 0: nobody.
  std::uint64_t loss_receivers = 0;
};

/// Input slots 2i and 2i+1 are part i's images [rows, height, width, channels] and one-hot labels
/// [rows, classes], at scale f. States are the parameters. Reveal slot 0 is the loss, if any.
struct TrainingProgram {
  Program program;
  std::uint32_t image_slot(std::uint32_t part) const { return 2 * part; }
  std::uint32_t label_slot(std::uint32_t part) const { return 2 * part + 1; }
};

/// One step of SGD on the squared error. Errors: kConfig.
Result<TrainingProgram> build_training_program(const ModelConfig& model, const FixedPoint& fixed,
                                               const TrainingProgramOptions& options);

struct InferenceProgramOptions {
  std::uint32_t batch = 0;
  std::uint32_t image_owner = 0;
  std::uint32_t weight_owner = 0;
  std::uint64_t receivers = 1;  ///< players that learn the logits
};

/// Input slot 0 is the images, slot 1+i parameter i truncated to scale f; reveal slot 0 the logits
/// [batch, classes] at scale f.
struct InferenceProgram {
  Program program;
  static constexpr std::uint32_t kImageSlot = 0;
  std::uint32_t parameter_slot(std::uint32_t parameter) const { return 1 + parameter; }
};

Result<InferenceProgram> build_inference_program(const ModelConfig& model, const FixedPoint& fixed,
                                                 const InferenceProgramOptions& options);

}  // namespace beaverpond
