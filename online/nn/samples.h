// Rows of a data set: images, or plain features as images of one pixel with a channel each.
#pragma once

#include <cstdint>
#include <vector>

namespace beaverpond {

/// [count, height, width, channels], row-major. Either `pixels` is filled, bytes that stand for
/// byte / 255, or `reals` is, the numbers themselves.
struct Samples {
  std::uint32_t count = 0;
  std::uint32_t height = 0;
  std::uint32_t width = 0;
  std::vector<std::uint8_t> pixels{};
  std::uint32_t channels = 1;
  std::vector<double> reals{};

  /// Values of a row.
  std::uint64_t image_size() const { return std::uint64_t{height} * width * channels; }
};

}  // namespace beaverpond
