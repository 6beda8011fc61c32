// Products with vpmullq (AVX-512DQ), which AMD's cores compute as one operation: on Zen 4 eight
// products a cycle, with every vector unit at work, multiplications in one half of the units and
// additions in all. The order of the instructions matters there: two multiplications followed by
// their two additions run at 0.90 of that, one after the other at 0.74, because additions then take
// the units of the multiplications that follow. Hence inline assembly for the groups. Plain members
// and no arrays: g++ 12 keeps array elements that inline assembly names in memory. Included by
// files built for AVX-512; internal linkage, as in gemm_driver.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace beaverpond::internal {
namespace {

/// A vector of eight words, or of four in its lower half.
enum class Lanes { kFour, kEight };

/// sum0 += a0 * b0 and sum1 += a1 * b1.
template <Lanes lanes0, Lanes lanes1>
__attribute__((always_inline)) inline void add_products(__m512i& sum0, __m512i a0, __m512i b0,
                                                        __m512i& sum1, __m512i a1, __m512i b1) {
  __m512i product0, product1;
  if constexpr (lanes0 == Lanes::kEight && lanes1 == Lanes::kEight) {
    asm("vpmullq %4, %5, %2\n\tvpmullq %6, %7, %3\n\tvpaddq %2, %0, %0\n\tvpaddq %3, %1, %1"
        : "+v"(sum0), "+v"(sum1), "=&v"(product0), "=&v"(product1)
        : "v"(a0), "v"(b0), "v"(a1), "v"(b1));
  } else if constexpr (lanes0 == Lanes::kEight) {
    asm("vpmullq %4, %5, %2\n\tvpmullq %t6, %t7, %t3\n\tvpaddq %2, %0, %0\n\tvpaddq %t3, %t1, %t1"
        : "+v"(sum0), "+v"(sum1), "=&v"(product0), "=&v"(product1)
        : "v"(a0), "v"(b0), "v"(a1), "v"(b1));
  } else {
    static_assert(lanes1 == Lanes::kFour);
    asm("vpmullq %t4, %t5, %t2\n\tvpmullq %t6, %t7, %t3\n\t"
        "vpaddq %t2, %t0, %t0\n\tvpaddq %t3, %t1, %t1"
        : "+v"(sum0), "+v"(sum1), "=&v"(product0), "=&v"(product1)
        : "v"(a0), "v"(b0), "v"(a1), "v"(b1));
  }
}

inline __m512i broadcast(const std::uint64_t* word) {
  return _mm512_set1_epi64(static_cast<long long>(*word));
}

template <Lanes lanes>
inline __m512i load(const std::uint64_t* words) {
  if constexpr (lanes == Lanes::kEight) return _mm512_loadu_si512(words);
  return _mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)));
}

/// Up to 24 columns: `units` times four.
template <std::size_t units>
struct Width {
  static constexpr std::size_t kVectors = (units + 1) / 2;
  static constexpr Lanes kLast = units % 2 == 1 ? Lanes::kFour : Lanes::kEight;
};

/// A row of B.
struct BRow {
  __m512i v0, v1, v2;
};

/// The sums of a row of C.
struct Sums {
  __m512i v0 = _mm512_setzero_si512(), v1 = v0, v2 = v0;
};

/// Two rows of C += their words of A times a row of B.
template <std::size_t units>
__attribute__((always_inline)) inline void add_row_pair(Sums& x, Sums& y, const std::uint64_t* ax,
                                                        const std::uint64_t* ay, const BRow& b) {
  using W = Width<units>;
  constexpr Lanes kAll = Lanes::kEight;
  const __m512i word_x = broadcast(ax);
  if constexpr (W::kVectors == 1) {
    add_products<W::kLast, W::kLast>(x.v0, word_x, b.v0, y.v0, broadcast(ay), b.v0);
  } else if constexpr (W::kVectors == 2) {
    add_products<kAll, W::kLast>(x.v0, word_x, b.v0, x.v1, word_x, b.v1);
    const __m512i word_y = broadcast(ay);
    add_products<kAll, W::kLast>(y.v0, word_y, b.v0, y.v1, word_y, b.v1);
  } else {
    add_products<kAll, kAll>(x.v0, word_x, b.v0, x.v1, word_x, b.v1);
    const __m512i word_y = broadcast(ay);
    add_products<W::kLast, W::kLast>(x.v2, word_x, b.v2, y.v2, word_y, b.v2);
    add_products<kAll, kAll>(y.v0, word_y, b.v0, y.v1, word_y, b.v1);
  }
}

}  // namespace
}  // namespace beaverpond::internal
