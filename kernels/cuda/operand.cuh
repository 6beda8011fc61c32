// What a product reads: a matrix of ring words seen through strides, or the patches of a
// convolution, gathered where they lie (implicit im2col). at(row, k) is one word.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"
#include "kernels/cuda/fast_divide.cuh"

namespace beaverpond::cuda {

/// rows x depth words; strides in words.
struct MatrixOperand {
  const std::uint64_t* data = nullptr;
  std::uint64_t row_stride = 0;
  std::uint64_t depth_stride = 1;
  bool contiguous_depth = true;  ///< neighbours in memory are neighbours along k

  __device__ __forceinline__ std::uint64_t at(std::uint32_t row, std::uint32_t k) const {
    return __ldg(data + row * row_stride + k * depth_stride);
  }
};

/// The patches of images [batch, height, width, channels] under a square kernel: pixel p of the
/// result and tap t = (kernel row, kernel column, channel). A tap outside the image is zero.
struct Patches {
  const std::uint64_t* images = nullptr;
  std::int32_t height = 0;
  std::int32_t width = 0;
  std::uint32_t channels = 0;
  std::int32_t stride = 1;
  std::int32_t pad = 0;
  FastDivide out_width, out_height, by_channels, by_kernel;

  __device__ __forceinline__ std::uint64_t pixel_tap(std::uint32_t pixel, std::uint32_t tap) const {
    const std::uint32_t channel = by_channels.split(tap);
    const std::uint32_t kx = by_kernel.split(tap);
    const std::uint32_t ox = out_width.split(pixel);
    const std::uint32_t oy = out_height.split(pixel);
    const std::int32_t y =
        static_cast<std::int32_t>(oy) * stride - pad + static_cast<std::int32_t>(tap);
    const std::int32_t x =
        static_cast<std::int32_t>(ox) * stride - pad + static_cast<std::int32_t>(kx);
    if (y < 0 || y >= height || x < 0 || x >= width) return 0;
    const std::uint64_t row =
        std::uint64_t{pixel} * static_cast<std::uint32_t>(height) + static_cast<std::uint32_t>(y);
    return __ldg(images +
                 (row * static_cast<std::uint32_t>(width) + static_cast<std::uint32_t>(x)) *
                     channels +
                 channel);
  }
};

/// Rows are pixels of the result, depth is taps: the left operand of a convolution.
struct PatchOperand {
  Patches patches;
  bool contiguous_depth = true;
  __device__ __forceinline__ std::uint64_t at(std::uint32_t row, std::uint32_t k) const {
    return patches.pixel_tap(row, k);
  }
};

/// Rows are taps, depth is pixels: the left operand of the gradient of the weights.
struct TapOperand {
  Patches patches;
  bool contiguous_depth = false;
  __device__ __forceinline__ std::uint64_t at(std::uint32_t row, std::uint32_t k) const {
    return patches.pixel_tap(k, row);
  }
};

/// The left operand of the gradient of the images: rows are pixels of the image, depth is
/// (kernel row, kernel column, output channel) of the gradient [batch, out_height, out_width,
/// out_channels].
struct GradientOperand {
  const std::uint64_t* gradient = nullptr;
  std::int32_t out_height = 0;
  std::int32_t out_width = 0;
  std::uint32_t out_channels = 0;
  std::int32_t pad = 0;
  FastDivide width, height, by_channels, by_kernel, by_stride;
  bool contiguous_depth = true;

  __device__ __forceinline__ std::uint64_t at(std::uint32_t row, std::uint32_t k) const {
    const std::uint32_t channel = by_channels.split(k);
    const std::int32_t kx = static_cast<std::int32_t>(by_kernel.split(k));
    const std::int32_t x = static_cast<std::int32_t>(width.split(row)) + pad - kx;
    const std::int32_t y =
        static_cast<std::int32_t>(height.split(row)) + pad - static_cast<std::int32_t>(k);
    if (x < 0 || y < 0) return 0;
    std::uint32_t ox = static_cast<std::uint32_t>(x);
    std::uint32_t oy = static_cast<std::uint32_t>(y);
    if (by_stride.split(ox) != 0 || by_stride.split(oy) != 0) return 0;
    if (ox >= static_cast<std::uint32_t>(out_width)) return 0;
    if (oy >= static_cast<std::uint32_t>(out_height)) return 0;
    const std::uint64_t line = std::uint64_t{row} * static_cast<std::uint32_t>(out_height) + oy;
    return __ldg(gradient + (line * static_cast<std::uint32_t>(out_width) + ox) * out_channels +
                 channel);
  }
};

/// Weights [kernel, kernel, in, out] with rows in-channels and depth (tap, out-channel).
struct WeightOperand {
  const std::uint64_t* weights = nullptr;
  std::uint32_t in_channels = 0;
  FastDivide by_out;
  bool contiguous_depth = true;
  __device__ __forceinline__ std::uint64_t at(std::uint32_t row, std::uint32_t k) const {
    const std::uint32_t channel = by_out.split(k);
    return __ldg(weights + (std::uint64_t{k} * in_channels + row) * by_out.divisor + channel);
  }
};

}  // namespace beaverpond::cuda
