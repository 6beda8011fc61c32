// The twin's arithmetic: plain loops, templated on the word (uint64_t or double). Inner loops run
// over contiguous memory so that the compiler vectorises them. Zero factors are skipped: half of
// all pixels and activations are zero.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "beaverpond/shape.h"

namespace beaverpond::twin_ops {

/// out[m,n] = op(x)[m,k] * op(y)[k,n], where x is stored [k,m] when transpose_x, y [n,k] when
/// transpose_y.
struct MatMulSize {
  std::size_t m = 0;
  std::size_t n = 0;
  std::size_t k = 0;
  bool transpose_x = false;
  bool transpose_y = false;
};

template <class T>
std::vector<T> matmul(const std::vector<T>& x, const std::vector<T>& y, const MatMulSize& s) {
  std::vector<T> turned;
  const T* rows = y.data();
  if (s.transpose_y) {
    turned.resize(y.size());
    for (std::size_t j = 0; j < s.n; ++j) {
      for (std::size_t p = 0; p < s.k; ++p) turned[p * s.n + j] = y[j * s.k + p];
    }
    rows = turned.data();
  }
  std::vector<T> out(s.m * s.n, T{0});
  for (std::size_t i = 0; i < s.m; ++i) {
    T* __restrict target = out.data() + i * s.n;
    for (std::size_t p = 0; p < s.k; ++p) {
      const T a = s.transpose_x ? x[p * s.m + i] : x[i * s.k + p];
      if (a == T{0}) continue;
      const T* __restrict row = rows + p * s.n;
      for (std::size_t j = 0; j < s.n; ++j) target[j] += a * row[j];
    }
  }
  return out;
}

/// Calls f(image offset, weight offset, result offset) for every pair of an image pixel and a
/// kernel tap that meet in a result pixel; offsets are those of the pixel's or tap's first channel.
template <class F>
void for_each_tap(const Conv2dShape& c, F&& f) {
  const std::size_t in = c.in_channels;
  const std::size_t out = c.out_channels;
  std::size_t result = 0;
  for (std::size_t b = 0; b < c.batch; ++b) {
    for (std::size_t oy = 0; oy < c.out_height(); ++oy) {
      for (std::size_t ox = 0; ox < c.out_width(); ++ox, result += out) {
        for (std::size_t ky = 0; ky < c.kernel; ++ky) {
          // Wraps above the image's edge, which the comparison with the height catches too.
          const std::size_t iy = oy * c.stride + ky - c.pad_before;
          if (iy >= c.height) continue;
          for (std::size_t kx = 0; kx < c.kernel; ++kx) {
            const std::size_t ix = ox * c.stride + kx - c.pad_before;
            if (ix >= c.width) continue;
            f(((b * c.height + iy) * c.width + ix) * in, (ky * c.kernel + kx) * in * out, result);
          }
        }
      }
    }
  }
}

template <class T>
std::vector<T> conv2d(const std::vector<T>& images, const std::vector<T>& weights,
                      const Conv2dShape& c) {
  std::vector<T> out(c.result_shape().count(), T{0});
  const std::size_t channels = c.out_channels;
  for_each_tap(c, [&](std::size_t image, std::size_t weight, std::size_t result) {
    for (std::size_t i = 0; i < c.in_channels; ++i) {
      const T a = images[image + i];
      if (a == T{0}) continue;
      const T* __restrict row = weights.data() + weight + i * channels;
      T* __restrict target = out.data() + result;
      for (std::size_t o = 0; o < channels; ++o) target[o] += a * row[o];
    }
  });
  return out;
}

template <class T>
std::vector<T> conv2d_grad_weight(const std::vector<T>& images, const std::vector<T>& gradient,
                                  const Conv2dShape& c) {
  std::vector<T> out(c.weight_shape().count(), T{0});
  const std::size_t channels = c.out_channels;
  for_each_tap(c, [&](std::size_t image, std::size_t weight, std::size_t result) {
    for (std::size_t i = 0; i < c.in_channels; ++i) {
      const T a = images[image + i];
      if (a == T{0}) continue;
      const T* __restrict row = gradient.data() + result;
      T* __restrict target = out.data() + weight + i * channels;
      for (std::size_t o = 0; o < channels; ++o) target[o] += a * row[o];
    }
  });
  return out;
}

template <class T>
std::vector<T> conv2d_grad_input(const std::vector<T>& gradient, const std::vector<T>& weights,
                                 const Conv2dShape& c) {
  std::vector<T> out(c.image_shape().count(), T{0});
  const std::size_t channels = c.out_channels;
  for_each_tap(c, [&](std::size_t image, std::size_t weight, std::size_t result) {
    for (std::size_t i = 0; i < c.in_channels; ++i) {
      const T* __restrict row = weights.data() + weight + i * channels;
      T sum{0};
      for (std::size_t o = 0; o < channels; ++o) sum += gradient[result + o] * row[o];
      out[image + i] += sum;
    }
  });
  return out;
}

template <class T>
std::vector<T> sum_rows(const std::vector<T>& x, std::size_t columns) {
  std::vector<T> out(columns, T{0});
  for (std::size_t start = 0; start < x.size(); start += columns) {
    for (std::size_t j = 0; j < columns; ++j) out[j] += x[start + j];
  }
  return out;
}

template <class T>
std::vector<T> add_row(std::vector<T> x, const std::vector<T>& row) {
  for (std::size_t start = 0; start < x.size(); start += row.size()) {
    for (std::size_t j = 0; j < row.size(); ++j) x[start + j] += row[j];
  }
  return x;
}

/// Calls f(place in [taps, pixels], place in the images) for every tap that sees a pixel.
template <class F>
void for_each_seen(const Pool2dShape& p, F&& f) {
  const auto place = [&p](std::size_t out, std::size_t tap, std::size_t size, bool& seen) {
    const std::size_t at = out * p.stride + tap;  // pad_before too large
    const bool before = at < p.pad_before;
    const bool after = at >= p.pad_before + size;
    seen = seen && (p.clamp || (!before && !after));
    return before ? 0 : after ? size - 1 : at - p.pad_before;
  };
  std::size_t target = 0;
  for (std::size_t ty = 0; ty < p.window_height; ++ty) {
    for (std::size_t tx = 0; tx < p.window_width; ++tx) {
      for (std::size_t b = 0; b < p.batch; ++b) {
        for (std::size_t oy = 0; oy < p.out_height(); ++oy) {
          for (std::size_t ox = 0; ox < p.out_width(); ++ox) {
            bool seen = true;
            const std::size_t y = place(oy, ty, p.height, seen);
            const std::size_t x = place(ox, tx, p.width, seen);
            for (std::size_t c = 0; c < p.channels; ++c, ++target) {
              if (seen) f(target, ((b * p.height + y) * p.width + x) * p.channels + c);
            }
          }
        }
      }
    }
  }
}

template <class T>
std::vector<T> window(const std::vector<T>& images, const Pool2dShape& p) {
  std::vector<T> out(p.taps() * p.pixels(), T{0});
  for_each_seen(p, [&](std::size_t target, std::size_t from) { out[target] = images[from]; });
  return out;
}

template <class T>
std::vector<T> window_grad(const std::vector<T>& taps, const Pool2dShape& p) {
  std::vector<T> out(p.image_shape().count(), T{0});
  for_each_seen(p, [&](std::size_t target, std::size_t from) { out[from] += taps[target]; });
  return out;
}

template <class T>
std::vector<T> transpose(const std::vector<T>& x, std::size_t m, std::size_t n) {
  std::vector<T> out(x.size());
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j < n; ++j) out[j * m + i] = x[i * n + j];
  }
  return out;
}

// Reals times `one`, in rows of `width`.
inline std::vector<double> softmax(const std::vector<double>& x, std::size_t width, double one) {
  std::vector<double> out(x.size());
  for (std::size_t at = 0; at < x.size(); at += width) {
    const double max = *std::max_element(&x[at], &x[at] + width);
    double sum = 0;
    for (std::size_t i = at; i < at + width; ++i) sum += out[i] = std::exp((x[i] - max) / one);
    for (std::size_t i = at; i < at + width; ++i) out[i] *= one / sum;
  }
  return out;
}

inline double cross_entropy(const std::vector<double>& x, const std::vector<double>& onehot,
                            std::size_t width, double one) {
  double loss = 0;
  for (std::size_t at = 0; at < x.size(); at += width) {
    const double max = *std::max_element(&x[at], &x[at] + width);
    double sum = 0;
    for (std::size_t i = at; i < at + width; ++i) sum += std::exp((x[i] - max) / one);
    for (std::size_t i = at; i < at + width; ++i) {
      loss += onehot[i] / one * (std::log(sum) - (x[i] - max) / one);
    }
  }
  return loss;
}

}  // namespace beaverpond::twin_ops
