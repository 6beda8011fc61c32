// Programs of networks, for tests that follow an engine's run.
#pragma once

#include <cstdint>
#include <optional>

#include "online/nn/model.h"

namespace beaverpond::testing {

inline LayerConfig layer(LayerKind kind, std::uint32_t units, std::uint32_t channels,
                         std::uint32_t kernel, std::uint32_t stride = 1) {
  return {kind, units, channels, kernel, stride, 0, 0};
}

/// Three batches of player 1's images a bundle, on weights that training left shared.
inline Program series_program(const ModelConfig& model, const FixedPoint& fixed,
                              std::uint32_t batch) {
  InferenceProgramOptions options;
  options.batch = batch;
  options.image_owner = 1;
  options.weight_owner = std::nullopt;
  options.members = 3;
  options.receivers = 2;
  return build_inference_program(model, fixed, options)->program;
}

}  // namespace beaverpond::testing
