// A model's layers with the geometry of each: what one gives the next, and in which order they are
// computed. Private to this folder.
#pragma once

#include <string>
#include <vector>

#include "online/nn/model.h"

namespace beaverpond {

struct ModelLayer {
  LayerKind kind = LayerKind::kDense;
  std::string name;  ///< "conv1", "dense2", "maxpool1", "relu1": numbered by kind
  Conv2dShape conv;  ///< with the batch
  Pool2dShape pool;
  std::uint32_t in = 0;   ///< dense
  std::uint32_t out = 0;  ///< dense: units; conv2d: channels
  Shape input;            ///< with the batch: images as rank 4, rows as rank 2
  Shape output;

  bool linear() const { return kind == LayerKind::kConv2d || kind == LayerKind::kDense; }
  Shape weight_shape() const {
    return kind == LayerKind::kConv2d ? conv.weight_shape() : Shape{in, out};
  }
  std::uint64_t fan_in() const { return kind == LayerKind::kConv2d ? conv.patch_columns() : in; }
};

/// Errors: kConfig, with the layer's name. A maximum after a relu is taken before it, which gives
/// the same numbers from a quarter of the comparisons (for 2x2).
Result<std::vector<ModelLayer>> model_layers(const ModelConfig& model, std::uint32_t batch);

}  // namespace beaverpond
