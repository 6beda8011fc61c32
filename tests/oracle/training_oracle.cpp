#include "tests/oracle/training_oracle.h"

namespace oracle {
namespace {

using Word = std::uint64_t;
using Row = std::vector<Word>;

Word power_of_two(int n) {
  Word value = 1;
  while (n-- > 0) value *= 2;
  return value;
}

// floor((x + d/2) / d) for d = 2^shift and a signed x.
Word round_divide(Word x, int shift) {
  const auto divisor = static_cast<std::int64_t>(power_of_two(shift));
  const auto sum = static_cast<std::int64_t>(x + power_of_two(shift - 1));
  std::int64_t quotient = sum / divisor;
  if (sum % divisor < 0) quotient -= 1;
  return static_cast<Word>(quotient);
}

bool is_negative(Word x) {
  return static_cast<std::int64_t>(x) < 0;
}

// One layer's forward result for one sample, and what backpropagation needs of it.
struct Activation {
  Row value;              // at scale f
  std::vector<bool> bit;  // whether the rounded sum was not negative
};

Activation activate(const Row& sums, int f, bool relu) {
  Activation out;
  for (const Word sum : sums) {
    const bool bit = !is_negative(sum + power_of_two(f - 1));
    const Word value = round_divide(sum, f);
    out.value.push_back(relu && !bit ? 0 : value);
    out.bit.push_back(!relu || bit);
  }
  return out;
}

class Step {
 public:
  Step(const Net& net, const Tensors& weights) : net_(net), masters_(weights) {
    for (const Row& master : weights) {
      Row used;
      for (const Word word : master) used.push_back(round_divide(word, net.f + net.extra_bits));
      used_.push_back(used);
      gradients_.emplace_back(master.size(), 0);
    }
    out_height_ = (net.height + 2 * net.padding - net.kernel) / net.stride + 1;
    out_width_ = (net.width + 2 * net.padding - net.kernel) / net.stride + 1;
  }

  void sample(const std::uint8_t* pixels, int label) {
    Row image;
    for (int i = 0; i < net_.height * net_.width; ++i) {
      image.push_back((Word{pixels[i]} * power_of_two(net_.f) + 127) / 255);
    }
    const std::size_t first_dense = net_.channels == 0 ? 0 : 1;
    std::vector<Activation> layers;  // layers[i] feeds dense layer i
    layers.push_back(first_dense == 0 ? Activation{image, {}}
                                      : activate(convolve(image), net_.f, true));
    for (std::size_t i = 0; i < net_.units.size(); ++i) {
      const bool last = i + 1 == net_.units.size();
      layers.push_back(activate(dense(layers[i].value, first_dense + i), net_.f, !last));
    }
    Row d = layers.back().value;
    d[static_cast<std::size_t>(label)] -= power_of_two(net_.f);
    for (std::size_t i = net_.units.size(); i-- > 0;) {
      const std::size_t layer = first_dense + i;
      add_dense_gradient(layers[i].value, d, layer);
      if (layer == 0) return;
      d = dense_input_gradient(d, layer, layers[i]);
    }
    add_conv_gradient(image, d);
  }

  Tensors updated() const {
    Tensors out = masters_;
    for (std::size_t t = 0; t < out.size(); ++t) {
      for (std::size_t i = 0; i < out[t].size(); ++i) {
        out[t][i] -= net_.multiplier * gradients_[t][i];
      }
    }
    return out;
  }

 private:
  Row dense(const Row& x, std::size_t layer) const {
    const Row& w = used_[2 * layer];
    const Row& b = used_[2 * layer + 1];
    Row sums;
    for (std::size_t j = 0; j < b.size(); ++j) {
      Word sum = b[j] * power_of_two(net_.f);
      for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * w[i * b.size() + j];
      sums.push_back(sum);
    }
    return sums;
  }

  void add_dense_gradient(const Row& x, const Row& d, std::size_t layer) {
    for (std::size_t j = 0; j < d.size(); ++j) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        gradients_[2 * layer][i * d.size() + j] += x[i] * d[j];
      }
      gradients_[2 * layer + 1][j] += d[j] * power_of_two(net_.f);
    }
  }

  Row dense_input_gradient(const Row& d, std::size_t layer, const Activation& input) const {
    Row out;
    for (std::size_t i = 0; i < input.value.size(); ++i) {
      Word sum = 0;
      for (std::size_t j = 0; j < d.size(); ++j) sum += d[j] * used_[2 * layer][i * d.size() + j];
      out.push_back(input.bit[i] ? round_divide(sum, net_.f) : 0);
    }
    return out;
  }

  // The pixel under tap (ky, kx) of the window at (oy, ox); zero outside the image.
  Word pixel(const Row& image, int oy, int ox, int ky, int kx) const {
    const int y = oy * net_.stride - net_.padding + ky;
    const int x = ox * net_.stride - net_.padding + kx;
    if (y < 0 || x < 0 || y >= net_.height || x >= net_.width) return 0;
    return image[static_cast<std::size_t>(y * net_.width + x)];
  }

  Row convolve(const Row& image) const {
    Row sums;
    for (int oy = 0; oy < out_height_; ++oy) {
      for (int ox = 0; ox < out_width_; ++ox) {
        for (int c = 0; c < net_.channels; ++c) {
          Word sum = used_[1][static_cast<std::size_t>(c)] * power_of_two(net_.f);
          for (int ky = 0; ky < net_.kernel; ++ky) {
            for (int kx = 0; kx < net_.kernel; ++kx) {
              sum += pixel(image, oy, ox, ky, kx) * used_[0][tap(ky, kx, c)];
            }
          }
          sums.push_back(sum);
        }
      }
    }
    return sums;
  }

  void add_conv_gradient(const Row& image, const Row& d) {
    for (int c = 0; c < net_.channels; ++c) {
      for (int oy = 0; oy < out_height_; ++oy) {
        for (int ox = 0; ox < out_width_; ++ox) {
          const int position = (oy * out_width_ + ox) * net_.channels + c;
          const Word gradient = d[static_cast<std::size_t>(position)];
          gradients_[1][static_cast<std::size_t>(c)] += gradient * power_of_two(net_.f);
          for (int ky = 0; ky < net_.kernel; ++ky) {
            for (int kx = 0; kx < net_.kernel; ++kx) {
              gradients_[0][tap(ky, kx, c)] += pixel(image, oy, ox, ky, kx) * gradient;
            }
          }
        }
      }
    }
  }

  std::size_t tap(int ky, int kx, int c) const {
    return static_cast<std::size_t>((ky * net_.kernel + kx) * net_.channels + c);
  }

  const Net& net_;
  const Tensors& masters_;
  Tensors used_;
  Tensors gradients_;
  int out_height_ = 0;
  int out_width_ = 0;
};

}  // namespace

Tensors train_step(const Net& net, const Tensors& weights, const std::vector<std::uint8_t>& pixels,
                   const std::vector<int>& labels) {
  Step step(net, weights);
  const std::size_t size =
      static_cast<std::size_t>(net.height) * static_cast<std::size_t>(net.width);
  for (std::size_t i = 0; i < labels.size(); ++i) step.sample(pixels.data() + i * size, labels[i]);
  return step.updated();
}

}  // namespace oracle
