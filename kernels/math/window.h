// Which pixel each tap of a sliding window sees.
#pragma once

#include <cstdint>

#include "beaverpond/shape.h"
#include "kernels/math/inline.h"

namespace beaverpond::math {

/// Where a tap at `at` along one side of an image of `size` pixels looks: -1 outside, or the
/// nearest pixel where the window clamps.
BP_MATH_INLINE constexpr std::int64_t tap_place(std::int64_t at, std::uint32_t size, bool clamp) {
  const std::int64_t end = static_cast<std::int64_t>(size);
  if (at >= 0 && at < end) return at;
  if (!clamp) return -1;
  return at < 0 ? 0 : end - 1;
}

/// Calls f(pixel, image offset) for every element that tap (ty, tx) sees, as runs of `channels`
/// contiguous elements: `pixel` counts from 0 in steps of channels; the offset is that of the
/// image's first channel, or -1 outside. Raster order.
template <class F>
constexpr void for_each_tap_pixel(const Pool2dShape& p, std::uint32_t ty, std::uint32_t tx, F&& f) {
  std::uint64_t pixel = 0;
  for (std::int64_t b = 0; b < p.batch; ++b) {
    for (std::int64_t oy = 0; oy < p.out_height(); ++oy) {
      const std::int64_t y = tap_place(oy * p.stride + ty - p.pad_before, p.height, p.clamp);
      for (std::int64_t ox = 0; ox < p.out_width(); ++ox, pixel += p.channels) {
        const std::int64_t x = tap_place(ox * p.stride + tx - p.pad_before, p.width, p.clamp);
        f(pixel, y < 0 || x < 0 ? -1 : ((b * p.height + y) * p.width + x) * p.channels);
      }
    }
  }
}

}  // namespace beaverpond::math
