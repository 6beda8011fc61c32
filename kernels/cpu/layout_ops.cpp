#include "kernels/cpu/layout_ops.h"

#include <algorithm>
#include <cstring>

#include "kernels/math/window.h"

namespace beaverpond::cpu {

void transpose(std::uint64_t m, std::uint64_t n, ConstWords x, Words out) {
  BP_CHECK(x.size() == m * n && out.size() == m * n, "transpose: sizes do not fit");
  constexpr std::uint64_t kTile = 16;  // two tiles of words stay in L1
  for (std::uint64_t i0 = 0; i0 < m; i0 += kTile) {
    for (std::uint64_t j0 = 0; j0 < n; j0 += kTile) {
      for (std::uint64_t i = i0; i < std::min(m, i0 + kTile); ++i) {
        for (std::uint64_t j = j0; j < std::min(n, j0 + kTile); ++j) out[j * m + i] = x[i * n + j];
      }
    }
  }
}

void rows(std::uint64_t row_words, std::uint64_t begin, std::uint64_t step, ConstWords x,
          Words out) {
  const std::uint64_t count = out.size() / row_words;
  BP_CHECK((begin + (count - 1) * step + 1) * row_words <= x.size(), "rows: sizes do not fit");
  for (std::uint64_t i = 0; i < count; ++i) {
    std::memcpy(out.data() + i * row_words, x.data() + (begin + i * step) * row_words,
                row_words * 8);
  }
}

void spread_rows(std::uint64_t row_words, std::uint64_t begin, std::uint64_t step, ConstWords x,
                 Words out) {
  const std::uint64_t count = x.size() / row_words;
  BP_CHECK((begin + (count - 1) * step + 1) * row_words <= out.size(),
           "spread_rows: sizes do not fit");
  std::memset(out.data(), 0, out.size_bytes());
  for (std::uint64_t i = 0; i < count; ++i) {
    std::memcpy(out.data() + (begin + i * step) * row_words, x.data() + i * row_words,
                row_words * 8);
  }
}

void window(const Pool2dShape& p, ConstWords x, Words out) {
  BP_CHECK(x.size() == p.image_shape().count() && out.size() == p.taps() * p.pixels(),
           "window: sizes do not fit");
  for (std::uint32_t tap = 0; tap < p.taps(); ++tap) {
    std::uint64_t* target = out.data() + tap * p.pixels();
    math::for_each_tap_pixel(
        p, tap / p.window_width, tap % p.window_width, [&](std::uint64_t pixel, std::int64_t at) {
          for (std::uint32_t c = 0; c < p.channels; ++c) {
            target[pixel + c] = at < 0 ? 0 : x[static_cast<std::size_t>(at) + c];
          }
        });
  }
}

void window_grad(const Pool2dShape& p, ConstWords x, Words out) {
  BP_CHECK(out.size() == p.image_shape().count() && x.size() == p.taps() * p.pixels(),
           "window_grad: sizes do not fit");
  std::memset(out.data(), 0, out.size_bytes());
  for (std::uint32_t tap = 0; tap < p.taps(); ++tap) {
    const std::uint64_t* from = x.data() + tap * p.pixels();
    math::for_each_tap_pixel(p, tap / p.window_width, tap % p.window_width,
                             [&](std::uint64_t pixel, std::int64_t at) {
                               if (at < 0) return;
                               for (std::uint32_t c = 0; c < p.channels; ++c) {
                                 out[static_cast<std::size_t>(at) + c] += from[pixel + c];
                               }
                             });
  }
}

}  // namespace beaverpond::cpu
