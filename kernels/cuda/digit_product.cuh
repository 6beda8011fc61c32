// The ring product on int8 tensor cores by balanced digits in base 256 (Ozaki scheme I), for
// products that are too small or too narrow for planes of residues: digits are taken in registers,
// so that there are no planes, no scratch memory and one launch.
//
// A word is the sum of its digits d_i 256^i mod 2^64, -128 <= d_i < 128: of two words' product mod
// 2^64 the digits with i + j = t <= 7 are left, eight diagonals t, each a sum of 32 bits.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"
#include "kernels/cuda/digit_depth.h"
#include "kernels/cuda/put_sum.cuh"
#include "kernels/cuda/simt_product.cuh"

namespace beaverpond::cuda {

/// A block of kWarps warps, kWarpsN of them side by side, each 16 x 16 results; kDepth words of k
/// at a time, one tile in shared memory while the next is on its way in registers.
template <int kWarpsN_, int kDepth_, int kWarps = 16>
struct DigitTile {
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kWarpsN = kWarpsN_;
  static constexpr int kM = 16 * (kWarps / kWarpsN);
  static constexpr int kN = 16 * kWarpsN;
  static constexpr int kDepth = kDepth_;
  static constexpr int kPitch = kDepth + 4;  // eight rows of four words are in different banks
  static constexpr int kLoadsA = (kM * kDepth + kThreads - 1) / kThreads;
  static constexpr int kLoadsB = (kN * kDepth + kThreads - 1) / kThreads;
  static constexpr std::uint32_t kSharedBytes = 8 * kPitch * (kM + kN);
};
using DigitWide = DigitTile<4, 16>;       ///< 64 x 64
using DigitMiddle = DigitTile<2, 8>;      ///< 128 x 32
using DigitNarrow = DigitTile<1, 8, 12>;  ///< 192 x 16

/// The digits of a word, one signed byte each: carries go up by an addition of 128 in every place.
__device__ __forceinline__ constexpr std::uint64_t balanced_digits(std::uint64_t word) {
  constexpr std::uint64_t kMiddle = 0x8080808080808080u;
  return (word + kMiddle) ^ kMiddle;
}

/// The word whose products' diagonals are `sums`. Those from 4 on are in its upper half.
__device__ __forceinline__ std::uint64_t word_of_diagonals(const int (&sums)[8]) {
  std::uint32_t high = 0;
  std::int64_t low = 0;
#pragma unroll
  for (int t = 3; t >= 0; --t) {
    high = (high << 8) + static_cast<std::uint32_t>(sums[4 + t]);
    low = low * 256 + sums[t];
  }
  return static_cast<std::uint64_t>(low) + (std::uint64_t{high} << 32);
}

template <class Tile, int kLoads>
__device__ __forceinline__ void digits_store(bool contiguous_depth, int lines,
                                             const std::uint64_t (&words)[kLoads],
                                             std::uint64_t* shared) {
  for_tile<Tile, kLoads>(contiguous_depth, lines, [&](int i, int line, int k, bool inside) {
    if (inside) shared[line * Tile::kPitch + k] = balanced_digits(words[i]);
  });
}

/// The digits of one word in two registers.
struct DigitPair {
  unsigned low, high;
};
__device__ __forceinline__ DigitPair digit_pair(std::uint64_t digits) {
  return {static_cast<unsigned>(digits), static_cast<unsigned>(digits >> 32)};
}

/// The digits of a right word as diagonals meet them: byte i of low(t) is digit t - i, byte i of
/// high(t) digit t - 4 - i, zero where there is none.
struct ReversedDigits {
  unsigned low_half, high_half;  ///< digits 3 2 1 0 and 7 6 5 4, from the lowest byte up

  template <int t>
  __device__ __forceinline__ unsigned low() const {
    if constexpr (t < 4) {
      return low_half >> (8 * (3 - t));
    } else {
      return __byte_perm(high_half, low_half, 0x3210 + (7 - t) * 0x1111);
    }
  }
  template <int t>
  __device__ __forceinline__ unsigned high() const {
    static_assert(t >= 4);
    return low_half >> (8 * (7 - t));
  }
};

__device__ __forceinline__ ReversedDigits reversed_digits(std::uint64_t digits) {
  const DigitPair pair = digit_pair(digits);
  return {__byte_perm(pair.low, 0, 0x0123), __byte_perm(pair.high, 0, 0x0123)};
}

/// Adds eight words of k to the diagonals of 16 x 8 results. left[s][0..1]: the words of lane % 4
/// of k's half s, rows lane / 4 and 8 further; right[s]: column lane / 4. Diagonals below 4 see
/// only low digits, of all eight words in one instruction; those above see all, four words at a
/// time.
__device__ __forceinline__ void multiply_digit_pairs(const DigitPair (&left)[2][2],
                                                     const ReversedDigits (&right)[2],
                                                     int (&sums)[8][4]) {
  const unsigned low[4] = {left[0][0].low, left[0][1].low, left[1][0].low, left[1][1].low};
  const auto below = [&]<int t>() {
    const unsigned b[2] = {right[0].low<t>(), right[1].low<t>()};
    mma_m16n8k32_s8(sums[t], low, b);
  };
  const auto above = [&]<int t>() {
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const unsigned a[4] = {left[s][0].low, left[s][1].low, left[s][0].high, left[s][1].high};
      const unsigned b[2] = {right[s].low<t>(), right[s].high<t>()};
      mma_m16n8k32_s8(sums[t], a, b);
    }
  };
  below.template operator()<0>();
  below.template operator()<1>();
  below.template operator()<2>();
  below.template operator()<3>();
  above.template operator()<4>();
  above.template operator()<5>();
  above.template operator()<6>();
  above.template operator()<7>();
}

/// As multiply_words (kernels/cuda/simt_product.cuh); part_k <= kMaxDigitDepth.
template <class Tile, class A, class B>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    multiply_digits(A a, B b, std::uint64_t* out, std::uint32_t m, std::uint32_t n, std::uint32_t k,
                    std::uint32_t part_k, bool accumulate) {
  std::uint64_t* const shared_a = dynamic_shared<std::uint64_t>();
  std::uint64_t* const shared_b = shared_a + Tile::kM * Tile::kPitch;
  const ProductPart part = ProductPart::of<Tile>(m, n, k, part_k);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int row = warp / Tile::kWarpsN * 16 + lane / 4;
  const int column = warp % Tile::kWarpsN * 16 + lane / 4;

  int sums[2][8][4] = {};
  const auto store = [&](const auto& next_a, const auto& next_b) {
    digits_store<Tile>(a.contiguous_depth, Tile::kM, next_a, shared_a);
    digits_store<Tile>(b.contiguous_depth, Tile::kN, next_b, shared_b);
  };
  const auto multiply = [&] {
#pragma unroll 1
    for (int depth = lane % 4; depth < Tile::kDepth; depth += 8) {
      DigitPair left[2][2];  // [half of k][row]
#pragma unroll
      for (int at = 0; at < 4; ++at) {
        left[at / 2][at % 2] =
            digit_pair(shared_a[(row + at % 2 * 8) * Tile::kPitch + depth + at / 2 * 4]);
      }
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const std::uint64_t* const at = shared_b + (column + 8 * j) * Tile::kPitch + depth;
        const ReversedDigits right[2] = {reversed_digits(at[0]), reversed_digits(at[4])};
        multiply_digit_pairs(left, right, sums[j]);
      }
    }
  };
  for_depth<Tile>(a, b, part, store, multiply);
#pragma unroll
  for (int at = 0; at < 8; ++at) {
    const int j = at / 4, place = at % 4;  // two columns, and eight rows further
    const std::uint32_t r = part.m0 + static_cast<std::uint32_t>(row + place / 2 * 8);
    const std::uint32_t c = part.n0 + static_cast<std::uint32_t>(warp % Tile::kWarpsN * 16 + 8 * j +
                                                                 lane % 4 * 2 + place % 2);
    if (r >= m || c >= n) continue;
    int diagonals[8];
#pragma unroll
    for (int t = 0; t < 8; ++t) diagonals[t] = sums[j][t][place];
    put_sum(out + std::uint64_t{r} * n + c, word_of_diagonals(diagonals), accumulate);
  }
}

}  // namespace beaverpond::cuda
