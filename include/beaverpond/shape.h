// Shapes of tensors: row-major, at most four dimensions, images as [batch, height, width, channel].
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "beaverpond/check.h"

namespace beaverpond {

struct Shape {
  static constexpr std::uint32_t kMaxRank = 4;

  std::array<std::uint32_t, kMaxRank> dims{};
  std::uint32_t rank = 0;

  Shape() = default;
  Shape(std::initializer_list<std::uint32_t> list) {
    BP_CHECK(list.size() <= kMaxRank, "a shape has at most four dimensions");
    for (std::uint32_t dim : list) dims[rank++] = dim;
  }

  std::uint64_t count() const {
    std::uint64_t n = 1;
    for (std::uint32_t i = 0; i < rank; ++i) n *= dims[i];
    return n;
  }
  std::uint32_t operator[](std::uint32_t i) const { return dims[i]; }
  friend bool operator==(const Shape&, const Shape&) = default;

  /// "[128,28,28,1]".
  std::string str() const {
    std::string text = "[";
    for (std::uint32_t i = 0; i < rank; ++i) {
      if (i != 0) text += ",";
      text += std::to_string(dims[i]);
    }
    return text + "]";
  }
};

/// A two-dimensional convolution: images [batch, height, width, in_channels], weights
/// [kernel, kernel, in_channels, out_channels], result [batch, out_height, out_width,
/// out_channels]. Zero padding `pad_before` above and left, `pad_after` below and right.
struct Conv2dShape {
  std::uint32_t batch = 0;
  std::uint32_t height = 0;
  std::uint32_t width = 0;
  std::uint32_t in_channels = 0;
  std::uint32_t out_channels = 0;
  std::uint32_t kernel = 0;
  std::uint32_t stride = 1;
  std::uint32_t pad_before = 0;
  std::uint32_t pad_after = 0;

  std::uint32_t out_height() const {
    return (height + pad_before + pad_after - kernel) / stride + 1;
  }
  std::uint32_t out_width() const { return (width + pad_before + pad_after - kernel) / stride + 1; }
  /// Rows of the im2col matrix: one per output pixel.
  std::uint64_t patch_rows() const { return std::uint64_t{batch} * out_height() * out_width(); }
  /// Columns of the im2col matrix, ordered (kernel row, kernel column, channel).
  std::uint64_t patch_columns() const { return std::uint64_t{kernel} * kernel * in_channels; }

  Shape image_shape() const { return {batch, height, width, in_channels}; }
  Shape weight_shape() const { return {kernel, kernel, in_channels, out_channels}; }
  Shape result_shape() const { return {batch, out_height(), out_width(), out_channels}; }
  friend bool operator==(const Conv2dShape&, const Conv2dShape&) = default;
};

/// A window that slides over images [batch, height, width, channels], channel by channel. Padding
/// as in Conv2dShape. A tap outside the image sees zero; or, when `clamp` is set, the nearest
/// pixel, which lies in the same window, so that a maximum over the taps is one over the pixels.
struct Pool2dShape {
  std::uint32_t batch = 0;
  std::uint32_t height = 0;
  std::uint32_t width = 0;
  std::uint32_t channels = 0;
  std::uint32_t window_height = 0;
  std::uint32_t window_width = 0;
  std::uint32_t stride = 1;
  std::uint32_t pad_before = 0;
  std::uint32_t pad_after = 0;
  bool clamp = false;

  std::uint32_t out_height() const {
    return (height + pad_before + pad_after - window_height) / stride + 1;
  }
  std::uint32_t out_width() const {
    return (width + pad_before + pad_after - window_width) / stride + 1;
  }
  std::uint32_t taps() const { return window_height * window_width; }
  /// Elements that one tap sees.
  std::uint64_t pixels() const {
    return std::uint64_t{batch} * out_height() * out_width() * channels;
  }

  Shape image_shape() const { return {batch, height, width, channels}; }
  Shape result_shape() const { return {batch, out_height(), out_width(), channels}; }
  friend bool operator==(const Pool2dShape&, const Pool2dShape&) = default;
};

}  // namespace beaverpond
