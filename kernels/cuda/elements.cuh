// Operations on single elements: one formula, one thin kernel.
#pragma once

#include <cstdint>

#include "beaverpond/shape.h"
#include "kernels/cuda/device.h"
#include "kernels/math/window.h"

namespace beaverpond::cuda {

/// A thread for every element, or several an element each; F is a POD with operator()(index).
template <class F>
__global__ void __launch_bounds__(256) for_each_index(F f, std::uint64_t count) {
  const std::uint64_t step = std::uint64_t{gridDim.x} * blockDim.x;
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count;
       i += step) {
    f(i);
  }
}

using Word = std::uint64_t;

struct AddElement {
  const Word *x, *y;
  Word* out;
  __device__ void operator()(std::uint64_t i) const { out[i] = x[i] + y[i]; }
};
struct SubtractElement {
  const Word *x, *y;
  Word* out;
  __device__ void operator()(std::uint64_t i) const { out[i] = x[i] - y[i]; }
};
struct MultiplyElement {
  const Word *x, *y;
  Word* out;
  __device__ void operator()(std::uint64_t i) const { out[i] = x[i] * y[i]; }
};
struct MultiplyAddElement {
  const Word *x, *y;
  Word* out;
  __device__ void operator()(std::uint64_t i) const { out[i] += x[i] * y[i]; }
};
struct AddConstantElement {
  const Word* x;
  Word constant;
  Word* out;
  __device__ void operator()(std::uint64_t i) const { out[i] = x[i] + constant; }
};
struct MultiplyConstantElement {
  const Word* x;
  Word constant;
  Word* out;
  __device__ void operator()(std::uint64_t i) const { out[i] = x[i] * constant; }
};
struct SubtractScaledElement {
  const Word* x;
  Word factor;
  Word* out;
  __device__ void operator()(std::uint64_t i) const { out[i] -= factor * x[i]; }
};
struct ShiftLeftElement {
  const Word* x;
  int shift;
  Word* out;
  __device__ void operator()(std::uint64_t i) const { out[i] = x[i] << shift; }
};
struct AddRowElement {
  const Word *x, *row;
  std::uint64_t width;
  Word* out;
  __device__ void operator()(std::uint64_t i) const { out[i] = x[i] + row[i % width]; }
};
struct MaskLowElement {
  Word mask;
  Word* out;
  __device__ void operator()(std::uint64_t i) const { out[i] &= mask; }
};
/// out row i = x row begin + i step.
struct RowsElement {
  const Word* x;
  std::uint64_t row_words, begin, step;
  Word* out;
  __device__ void operator()(std::uint64_t i) const {
    out[i] = x[(begin + i / row_words * step) * row_words + i % row_words];
  }
};
/// out row begin + i step = x row i; `out` was zeroed.
struct SpreadRowsElement {
  const Word* x;
  std::uint64_t row_words, begin, step;
  Word* out;
  __device__ void operator()(std::uint64_t i) const {
    out[(begin + i / row_words * step) * row_words + i % row_words] = x[i];
  }
};

/// A sliding window (include/beaverpond/shape.h, Pool2dShape), by one thread an element and tap.
struct WindowGeometry {
  std::uint32_t height, width, channels, out_height, out_width, window_width, taps;
  std::int32_t stride, pad;
  bool clamp;

  /// Offset of the image word that `tap` sees at element `pixel` of the result, or -1.
  __device__ std::int64_t source(std::uint64_t pixel, std::uint32_t tap) const {
    const std::uint64_t channel = pixel % channels;
    std::uint64_t rest = pixel / channels;
    const std::int64_t ox = static_cast<std::int64_t>(rest % out_width);
    rest /= out_width;
    const std::int64_t oy = static_cast<std::int64_t>(rest % out_height);
    const std::int64_t image = static_cast<std::int64_t>(rest / out_height);
    const std::int64_t y = math::tap_place(oy * stride + tap / window_width - pad, height, clamp);
    const std::int64_t x = math::tap_place(ox * stride + tap % window_width - pad, width, clamp);
    if (y < 0 || x < 0) return -1;
    return ((image * height + y) * width + x) * channels + static_cast<std::int64_t>(channel);
  }
};
inline WindowGeometry window_geometry(const Pool2dShape& s) {
  WindowGeometry g{};
  g.height = s.height;
  g.width = s.width;
  g.channels = s.channels;
  g.out_height = s.out_height();
  g.out_width = s.out_width();
  g.window_width = s.window_width;
  g.taps = s.taps();
  g.stride = static_cast<std::int32_t>(s.stride);
  g.pad = static_cast<std::int32_t>(s.pad_before);
  g.clamp = s.clamp;
  return g;
}
/// out[tap, pixel] = the image word seen.
struct WindowElement {
  WindowGeometry geometry;
  const Word* x;
  std::uint64_t pixels;
  Word* out;
  __device__ void operator()(std::uint64_t i) const {
    const std::int64_t at = geometry.source(i % pixels, static_cast<std::uint32_t>(i / pixels));
    out[i] = at < 0 ? 0 : x[at];
  }
};
/// Its transpose: image words gather what their taps got; `out` was zeroed.
struct WindowGradElement {
  WindowGeometry geometry;
  const Word* x;
  std::uint64_t pixels;
  Word* out;
  __device__ void operator()(std::uint64_t i) const {
    const std::int64_t at = geometry.source(i % pixels, static_cast<std::uint32_t>(i / pixels));
    if (at < 0) return;
    atomicAdd(reinterpret_cast<unsigned long long*>(out + at),
              static_cast<unsigned long long>(x[i]));
  }
};

}  // namespace beaverpond::cuda
