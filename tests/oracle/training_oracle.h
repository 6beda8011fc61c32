// A second opinion on one training step in fixed point: scalar code written from the formulas, one
// sample and one sum at a time, that shares no line with the product and includes none of its
// headers. Slow on purpose.
#pragma once

#include <cstdint>
#include <vector>

namespace oracle {

enum class Kind { kConv, kDense, kRelu, kMaxPool, kAveragePool };

struct Layer {
  Kind kind = Kind::kRelu;
  int size = 0;    ///< channels of a convolution's result, or units
  int kernel = 0;  ///< side of the window of a convolution or pool
  int stride = 1;
  int before = 0;  ///< padding above and left
  int after = 0;   ///< padding below and right
};

/// Weights and biases alternate, by linear layer: [kernel, kernel, in, out] or [in, out], then
/// [out], as words at scale 2f+K.
struct Net {
  int f = 16;
  int extra_bits = 16;
  std::uint64_t multiplier = 1;
  int height = 28;
  int width = 28;
  int channels = 1;
  std::vector<Layer> layers;
  bool softmax = false;          ///< cross-entropy; else half the squared error
  int momentum_shift = 0;        ///< j: a momentum of 1 - 2^-j; 0: none
  std::uint64_t decay_word = 0;  ///< weight decay, at scale f
};

using Tensors = std::vector<std::vector<std::uint64_t>>;

struct State {
  Tensors weights;
  Tensors velocities;      ///< at scale 2f; without momentum left alone
  std::uint64_t loss = 0;  ///< at scale 2f: the sum of squares, or the cross-entropy
};

/// pixels: bytes, [batch, height, width, channels]. labels: one class per image.
State train_step(const Net& net, const State& before, const std::vector<std::uint8_t>& pixels,
                 const std::vector<int>& labels);

}  // namespace oracle
