// A second opinion on one training step in fixed point: scalar code written from the formulas, one
// sample and one sum at a time, that shares no line with the product and includes none of its
// headers. Slow on purpose.
#pragma once

#include <cstdint>
#include <vector>

namespace oracle {

/// Dense layers with ReLU between them, after an optional convolution with ReLU. Images have one
/// channel. Weights and biases alternate: convolution first ([kernel, kernel, 1, channels]), then
/// each dense layer's ([in, out]), as words at scale 2f+K.
struct Net {
  int f = 16;
  int extra_bits = 16;
  std::uint64_t multiplier = 1;
  int height = 28;
  int width = 28;
  int channels = 0;  // of the convolution; 0: there is none
  int kernel = 0;
  int stride = 1;
  int padding = 0;
  std::vector<int> units;  // of the dense layers, the last is the number of classes
};

using Tensors = std::vector<std::vector<std::uint64_t>>;

/// pixels: bytes, [batch, height, width]. labels: one class per image. Returns the updated weights.
Tensors train_step(const Net& net, const Tensors& weights, const std::vector<std::uint8_t>& pixels,
                   const std::vector<int>& labels);

}  // namespace oracle
