// Columns of consecutive words become rows, on AVX-512. Included by files built for it; internal
// linkage, as in gemm_driver.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace beaverpond::internal {
namespace {

/// `count` columns of `depth` words, `step` words apart.
struct Columns {
  const std::uint64_t* data;
  std::size_t step, count, depth;
};

/// Of four vectors, columns i and i + 4 each, the first `count` rows: row r at out + r * pitch.
inline void store_four_rows(__m512i c04, __m512i c15, __m512i c26, __m512i c37, std::size_t count,
                            __mmask8 kept, std::size_t pitch, std::uint64_t* out) {
  const __m512i even01 = _mm512_unpacklo_epi64(c04, c15), odd01 = _mm512_unpackhi_epi64(c04, c15);
  const __m512i even23 = _mm512_unpacklo_epi64(c26, c37), odd23 = _mm512_unpackhi_epi64(c26, c37);
  const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
  const __m512i high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
  const auto store = [&](std::size_t r, __m512i row) __attribute__((always_inline)) {
    if (r < count) _mm512_mask_storeu_epi64(out + r * pitch, kept, row);
  };
  store(0, _mm512_permutex2var_epi64(even01, low, even23));
  store(1, _mm512_permutex2var_epi64(odd01, low, odd23));
  store(2, _mm512_permutex2var_epi64(even01, high, even23));
  store(3, _mm512_permutex2var_epi64(odd01, high, odd23));
}

inline __m512i load_halves(const std::uint64_t* low, const std::uint64_t* high) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(low));
  return _mm512_inserti64x4(_mm512_castsi256_si512(half),
                            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(high)), 1);
}

/// Row r at out + r * pitch: `width` words, a multiple of four, zeros beyond the columns there are.
/// Nothing is read outside the columns.
inline void transpose(const Columns& columns, std::size_t width, std::size_t pitch,
                      std::uint64_t* out) {
  const std::size_t step = columns.step, depth = columns.depth;
  for (std::size_t i = 0; i < width; i += 8) {
    const std::uint64_t* in = columns.data + i * step;
    const std::size_t count = columns.count > i ? columns.count - i : 0;
    const __mmask8 kept = width - i >= 8 ? 0xff : 0x0f;
    std::size_t k = 0;
    if (count >= 8) {
      const std::uint64_t *low = in, *high = in + 4 * step;
      std::uint64_t* to = out + i;
      for (; k + 4 <= depth; k += 4, low += 4, high += 4, to += 4 * pitch) {
        const __m512i c04 = load_halves(low, high);
        const __m512i c15 = load_halves(low + step, high + step);
        const __m512i c26 = load_halves(low + 2 * step, high + 2 * step);
        const __m512i c37 = load_halves(low + 3 * step, high + 3 * step);
        store_four_rows(c04, c15, c26, c37, 4, kept, pitch, to);
      }
    }
    for (; k < depth; k += 4) {
      const std::size_t rows = depth - k < 4 ? depth - k : 4;
      const auto words = [&](std::size_t c) __attribute__((always_inline)) {
        const auto mask = static_cast<__mmask8>(c < count ? (1u << rows) - 1u : 0);
        return _mm256_maskz_loadu_epi64(mask, in + c * step + k);
      };
      const auto pair = [&](std::size_t c) __attribute__((always_inline)) {
        return _mm512_inserti64x4(_mm512_castsi256_si512(words(c)), words(c + 4), 1);
      };
      store_four_rows(pair(0), pair(1), pair(2), pair(3), rows, kept, pitch, out + i + k * pitch);
    }
  }
}

/// A panel of a transposed B, for tiles' pack_transposed (gemm_driver.h).
template <class Segment>
[[gnu::noinline]] void pack_columns(const Segment& segment, std::size_t j, std::size_t used,
                                    std::size_t width, std::uint64_t* out) {
  const std::size_t step = segment.term->b_column_stride;
  transpose({segment.term->b + segment.k0 + j * step, step, used, segment.depth}, width, width,
            out);
}

}  // namespace
}  // namespace beaverpond::internal
