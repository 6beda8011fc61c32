// Which pixel each tap of a sliding window sees.
#pragma once

#include <cstdint>

#include "beaverpond/shape.h"

namespace beaverpond::math {

/// Calls f(pixel, image offset) for every element that tap (ty, tx) sees, as runs of `channels`
/// contiguous elements: `pixel` counts from 0 in steps of channels; the offset is that of the
/// image's first channel, or -1 outside. Raster order.
template <class F>
constexpr void for_each_tap_pixel(const Pool2dShape& p, std::uint32_t ty, std::uint32_t tx, F&& f) {
  const auto clamped = [&p](std::int64_t at, std::uint32_t size) -> std::int64_t {
    const auto end = static_cast<std::int64_t>(size);
    if (at >= 0 && at < end) return at;
    if (!p.clamp) return -1;
    return at < 0 ? 0 : end - 1;
  };
  std::uint64_t pixel = 0;
  for (std::int64_t b = 0; b < p.batch; ++b) {
    for (std::int64_t oy = 0; oy < p.out_height(); ++oy) {
      const std::int64_t y = clamped(oy * p.stride + ty - p.pad_before, p.height);
      for (std::int64_t ox = 0; ox < p.out_width(); ++ox, pixel += p.channels) {
        const std::int64_t x = clamped(ox * p.stride + tx - p.pad_before, p.width);
        f(pixel, y < 0 || x < 0 ? -1 : ((b * p.height + y) * p.width + x) * p.channels);
      }
    }
  }
}

}  // namespace beaverpond::math
