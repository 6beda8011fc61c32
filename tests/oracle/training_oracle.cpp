#include "tests/oracle/training_oracle.h"

#include <algorithm>
#include <cstddef>

#include "tests/oracle/fixed_point.h"
#include "tests/oracle/softmax_oracle.h"

namespace oracle {
namespace {

using Row = std::vector<Word>;

struct Image {
  int height = 1;
  int width = 1;
  int channels = 0;

  std::size_t size() const { return at(height - 1, width - 1, channels - 1) + 1; }
  std::size_t at(int y, int x, int c) const {
    return static_cast<std::size_t>((y * width + x) * channels + c);
  }
  bool holds(int y, int x) const { return y >= 0 && x >= 0 && y < height && x < width; }
};

// A tensor whose words still have to be divided by 2^pending.
struct Signal {
  Row value;
  int pending = 0;
};

Row settled(const Signal& x) {
  Row out;
  for (const Word word : x.value) out.push_back(round_divide(word, x.pending));
  return out;
}

struct Place {
  const Layer* layer = nullptr;
  Image in;
  Image out;
  std::size_t weight = 0;  // index of the weights; the biases come next
};

// What one sample's forward pass leaves behind, by place.
struct Trace {
  Row input;                        // of a linear layer, at scale f
  std::vector<bool> bit;            // of a relu
  std::vector<std::size_t> winner;  // of a maximum: the pixel that each result came from
};

Image result_of(const Layer& layer, const Image& in) {
  const auto side = [&layer](int size) {
    return (size + layer.before + layer.after - layer.kernel) / layer.stride + 1;
  };
  switch (layer.kind) {
    case Kind::kRelu: return in;
    case Kind::kDense: return {1, 1, layer.size};
    case Kind::kConv: return {side(in.height), side(in.width), layer.size};
    default: return {side(in.height), side(in.width), in.channels};
  }
}

bool linear(const Layer& layer) {
  return layer.kind == Kind::kConv || layer.kind == Kind::kDense;
}

// Calls f(out, y, x, ky, kx): tap (ky, kx) of the window of result pixel `out` lies at (y, x),
// which may be outside the image.
template <class F>
void for_each_tap(const Place& p, F&& f) {
  const Layer& layer = *p.layer;
  for (int oy = 0; oy < p.out.height; ++oy) {
    for (int ox = 0; ox < p.out.width; ++ox) {
      for (int ky = 0; ky < layer.kernel; ++ky) {
        for (int kx = 0; kx < layer.kernel; ++kx) {
          const int y = oy * layer.stride - layer.before + ky;
          const int x = ox * layer.stride - layer.before + kx;
          f(p.out.at(oy, ox, 0), y, x, ky, kx);
        }
      }
    }
  }
}

struct Fraction {
  Word word;
  int bits;
};

// 1 / taps as word / 2^bits.
Fraction one_over(int taps, int f) {
  int bits = 0;
  while (power_of_two(bits) < static_cast<Word>(taps)) ++bits;
  if (power_of_two(bits) == static_cast<Word>(taps)) return {1, bits};
  bits = std::clamp(62 - 2 * f - 10, 4, 16);
  const Word one = power_of_two(bits);
  const Word n = static_cast<Word>(taps);
  return {(2 * one + n) / (2 * n), bits};
}

class Step {
 public:
  Step(const Net& net, const State& before) : net_(net), before_(before) {
    for (const Row& master : before.weights) {
      Row used;
      for (const Word word : master) used.push_back(round_divide(word, net.f + net.extra_bits));
      used_.push_back(used);
      gradients_.emplace_back(master.size(), 0);
    }
    lay_out();
  }

  void sample(const std::uint8_t* pixels, int label) {
    Row image;
    for (std::size_t i = 0; i < places_[0].in.size(); ++i) {
      image.push_back((Word{pixels[i]} * power_of_two(net_.f) + 127) / 255);
    }
    std::vector<Trace> traces(places_.size());
    Signal x{image, 0};
    for (std::size_t i = 0; i < places_.size(); ++i) x = forward(places_[i], x, traces[i]);
    Signal g{loss_gradient(settled(x), label), 0};
    for (std::size_t i = places_.size(); i-- > 0;) {
      if (linear(*places_[i].layer) && places_[i].weight == 0) {
        add_gradients(places_[i], traces[i], settled(g));
        return;
      }
      g = backward(places_[i], g, traces[i]);
    }
  }

  State after() const {
    State out = before_;
    out.loss = loss_;
    for (std::size_t t = 0; t < used_.size(); ++t) {
      for (std::size_t i = 0; i < used_[t].size(); ++i) {
        Word g = gradients_[t][i];
        if (t % 2 == 0) g += net_.decay_word * used_[t][i];
        if (net_.momentum_shift > 0) {
          Word& v = out.velocities[t][i];
          v = v - round_divide(v, net_.momentum_shift) + g;
          g = v;
        }
        out.weights[t][i] -= net_.multiplier * g;
      }
    }
    return out;
  }

 private:
  // A maximum that follows a relu is taken before it.
  void lay_out() {
    std::vector<const Layer*> order;
    std::vector<const Layer*> waiting;
    for (const Layer& layer : net_.layers) {
      if (layer.kind != Kind::kRelu && layer.kind != Kind::kMaxPool) {
        order.insert(order.end(), waiting.begin(), waiting.end());
        waiting.clear();
      }
      (layer.kind == Kind::kRelu ? waiting : order).push_back(&layer);
    }
    Image image{net_.height, net_.width, net_.channels};
    std::size_t weight = 0;
    for (const Layer* layer : order) {
      if (layer->kind == Kind::kDense) image = {1, 1, static_cast<int>(image.size())};
      const Image out = result_of(*layer, image);
      places_.push_back({layer, image, out, weight});
      if (linear(*layer)) weight += 2;
      image = out;
    }
  }

  Row loss_gradient(const Row& scores, int label) {
    const auto at = static_cast<std::size_t>(label);
    Row d = scores;
    if (net_.softmax) {
      const SoftmaxResult result = table_softmax(scores, label, net_.f);
      d = result.p;
      loss_ += result.loss;
    }
    d[at] -= power_of_two(net_.f);
    if (!net_.softmax) {
      for (const Word word : d) loss_ += word * word;
    }
    return d;
  }

  Signal forward(const Place& p, const Signal& x, Trace& trace) const {
    switch (p.layer->kind) {
      case Kind::kConv:
      case Kind::kDense: trace.input = settled(x); return {linear_sums(p, trace.input), net_.f};
      case Kind::kMaxPool: return {maximum(p, x.value, trace), x.pending};
      case Kind::kAveragePool: return average(p, x);
      case Kind::kRelu: break;
    }
    Signal y{settled(x), 0};
    const Word half = x.pending == 0 ? 0 : power_of_two(x.pending - 1);
    for (std::size_t i = 0; i < y.value.size(); ++i) {
      trace.bit.push_back(!is_negative(x.value[i] + half));
      if (!trace.bit[i]) y.value[i] = 0;
    }
    return y;
  }

  Signal backward(const Place& p, const Signal& g, const Trace& trace) {
    switch (p.layer->kind) {
      case Kind::kConv:
      case Kind::kDense: {
        const Row d = settled(g);
        add_gradients(p, trace, d);
        return {input_gradient(p, d), net_.f};
      }
      case Kind::kRelu: {
        Signal out{settled(g), 0};
        for (std::size_t i = 0; i < out.value.size(); ++i) {
          if (!trace.bit[i]) out.value[i] = 0;
        }
        return out;
      }
      case Kind::kMaxPool: {
        const Row d = settled(g);
        Signal out{Row(p.in.size(), 0), 0};
        for (std::size_t i = 0; i < d.size(); ++i) out.value[trace.winner[i]] += d[i];
        return out;
      }
      case Kind::kAveragePool: break;
    }
    const Fraction part = one_over(p.layer->kernel * p.layer->kernel, net_.f);
    Signal out{Row(p.in.size(), 0), g.pending + part.bits};
    for_each_tap(p, [&](std::size_t to, int y, int x, int, int) {
      if (!p.in.holds(y, x)) return;
      for (int c = 0; c < p.in.channels; ++c) {
        out.value[p.in.at(y, x, c)] += g.value[to + static_cast<std::size_t>(c)] * part.word;
      }
    });
    return out;
  }

  // Calls f(pixel, weight, first result) for every weight row that meets a pixel.
  template <class F>
  void for_each_meeting(const Place& p, F&& f) const {
    const auto units = static_cast<std::size_t>(p.layer->size);
    if (p.layer->kind == Kind::kDense) {
      for (std::size_t i = 0; i < p.in.size(); ++i) f(i, i * units, std::size_t{0});
      return;
    }
    for_each_tap(p, [&](std::size_t to, int y, int x, int ky, int kx) {
      if (!p.in.holds(y, x)) return;
      for (int c = 0; c < p.in.channels; ++c) {
        const int row = (ky * p.layer->kernel + kx) * p.in.channels + c;
        f(p.in.at(y, x, c), static_cast<std::size_t>(row) * units, to);
      }
    });
  }

  Row linear_sums(const Place& p, const Row& x) const {
    const Row& w = used_[p.weight];
    const Row& b = used_[p.weight + 1];
    Row sums;
    while (sums.size() < p.out.size()) {
      for (const Word bias : b) sums.push_back(bias * power_of_two(net_.f));
    }
    for_each_meeting(p, [&](std::size_t pixel, std::size_t weight, std::size_t to) {
      for (std::size_t j = 0; j < b.size(); ++j) sums[to + j] += x[pixel] * w[weight + j];
    });
    return sums;
  }

  void add_gradients(const Place& p, const Trace& trace, const Row& d) {
    Row& w = gradients_[p.weight];
    Row& b = gradients_[p.weight + 1];
    for (std::size_t i = 0; i < d.size(); ++i) b[i % b.size()] += d[i] * power_of_two(net_.f);
    for_each_meeting(p, [&](std::size_t pixel, std::size_t weight, std::size_t to) {
      for (std::size_t j = 0; j < b.size(); ++j) w[weight + j] += trace.input[pixel] * d[to + j];
    });
  }

  Row input_gradient(const Place& p, const Row& d) const {
    const Row& w = used_[p.weight];
    const std::size_t units = used_[p.weight + 1].size();
    Row out(p.in.size(), 0);
    for_each_meeting(p, [&](std::size_t pixel, std::size_t weight, std::size_t to) {
      for (std::size_t j = 0; j < units; ++j) out[pixel] += d[to + j] * w[weight + j];
    });
    return out;
  }

  // Neighbours meet, the left one wins a tie, an odd last one passes.
  static std::size_t tournament(const Row& x, std::vector<std::size_t> pixels) {
    while (pixels.size() > 1) {
      std::vector<std::size_t> next;
      for (std::size_t i = 0; i < pixels.size(); i += 2) {
        const bool alone = i + 1 == pixels.size();
        const bool left = alone || !is_negative(x[pixels[i]] - x[pixels[i + 1]]);
        next.push_back(left ? pixels[i] : pixels[i + 1]);
      }
      pixels = next;
    }
    return pixels[0];
  }

  // A tap in the padding sees the nearest pixel.
  static Row maximum(const Place& p, const Row& x, Trace& trace) {
    std::vector<std::vector<std::size_t>> seen(p.out.size());
    for_each_tap(p, [&](std::size_t to, int y, int px, int, int) {
      const int cy = std::clamp(y, 0, p.in.height - 1);
      const int cx = std::clamp(px, 0, p.in.width - 1);
      for (int c = 0; c < p.in.channels; ++c) {
        seen[to + static_cast<std::size_t>(c)].push_back(p.in.at(cy, cx, c));
      }
    });
    Row out;
    for (const std::vector<std::size_t>& pixels : seen) {
      trace.winner.push_back(tournament(x, pixels));
      out.push_back(x[trace.winner.back()]);
    }
    return out;
  }

  Signal average(const Place& p, const Signal& x) const {
    const Fraction part = one_over(p.layer->kernel * p.layer->kernel, net_.f);
    Signal out{Row(p.out.size(), 0), x.pending + part.bits};
    for_each_tap(p, [&](std::size_t to, int y, int px, int, int) {
      if (!p.in.holds(y, px)) return;
      for (int c = 0; c < p.in.channels; ++c) {
        out.value[to + static_cast<std::size_t>(c)] += x.value[p.in.at(y, px, c)] * part.word;
      }
    });
    return out;
  }

  const Net& net_;
  const State& before_;
  std::vector<Place> places_;
  Tensors used_;
  Tensors gradients_;
  Word loss_ = 0;
};

}  // namespace

State train_step(const Net& net, const State& before, const std::vector<std::uint8_t>& pixels,
                 const std::vector<int>& labels) {
  Step step(net, before);
  const auto size = static_cast<std::size_t>(net.height * net.width * net.channels);
  for (std::size_t i = 0; i < labels.size(); ++i) step.sample(pixels.data() + i * size, labels[i]);
  return step.after();
}

}  // namespace oracle
