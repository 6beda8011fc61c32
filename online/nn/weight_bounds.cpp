#include "online/nn/weight_bounds.h"

#include "online/nn/emulate.h"
#include "online/nn/model.h"
#include "online/nn/twin.h"

namespace beaverpond {
namespace {

std::uint64_t size_of(std::uint64_t word) {
  return word >> 63 != 0 ? 0 - word : word;
}

}  // namespace

// Layer by layer |Wx + b| <= |W||x| + |b|, and ReLU and the poolings grow with their inputs: the
// same net with the sizes of its weights, run on an image of ones, holds the bound of every value.
Result<std::optional<std::string>> overflow_note(const Job& job,
                                                 const std::vector<WeightTensor>& weights) {
  InferenceProgramOptions options;
  options.batch = 1;
  BP_ASSIGN(const InferenceProgram inference,
            build_inference_program(job.model, job.fixed_point, options));
  std::vector<std::vector<std::uint64_t>> inputs(inference.program.inputs);
  const std::size_t features = std::size_t{job.model.height} * job.model.width * job.model.channels;
  inputs[InferenceProgram::kImageSlot].assign(features,
                                              std::uint64_t{1} << job.fixed_point.fraction_bits);
  for (std::uint32_t i = 0; i < weights.size(); ++i) {
    std::vector<std::uint64_t>& words = inputs[inference.parameter_slot(i)];
    words = inference_words(weights[i], job.fixed_point);
    for (std::uint64_t& word : words) word = size_of(word);
  }
  std::vector<std::vector<std::uint64_t>> no_states;
  const auto bound = run_fixed({inference.program, inputs, no_states, 1, {}, job.protocol});
  if (bound.ok()) return std::optional<std::string>();
  if (bound.error().code != ErrorCode::kDomain) return bound.error();
  return std::optional<std::string>(
      "with these weights a value may leave the fixed-point domain, and the answer would be wrong "
      "without a sign of it (worst case for features in [-1, 1], " +
      bound.error().message +
      "). Check with `beaverpond emulate --evaluate` on images like those that are asked");
}

}  // namespace beaverpond
