// The ring product on ordinary 64-bit integer multiplications, for products that are too small or
// too narrow for tensor cores.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"
#include "kernels/cuda/put_sum.cuh"

namespace beaverpond::cuda {

/// A block computes kM x kN results with 256 threads of kRows x kColumns each, kDepth of k at a
/// time, one tile in shared memory while the next is on its way in registers.
template <int kRows_, int kColumns_, int kThreadsN_>
struct SimtTile {
  static constexpr int kThreads = 256;
  static constexpr int kRows = kRows_;
  static constexpr int kColumns = kColumns_;
  static constexpr int kThreadsN = kThreadsN_;
  static constexpr int kThreadsM = kThreads / kThreadsN;
  static constexpr int kM = kRows * kThreadsM;
  static constexpr int kN = kColumns * kThreadsN;
  static constexpr int kDepth = 16;
  static constexpr int kPitchA = kM + 1;
  static constexpr int kPitchB = kN + 1;
  static constexpr int kLoadsA = (kM * kDepth + kThreads - 1) / kThreads;
  static constexpr int kLoadsB = (kN * kDepth + kThreads - 1) / kThreads;
  static constexpr std::uint32_t kSharedBytes = 8 * kDepth * (kPitchA + kPitchB);
};
using SimtWide = SimtTile<4, 4, 16>;   ///< 64 x 64
using SimtMiddle = SimtTile<4, 4, 8>;  ///< 128 x 32
using SimtNarrow = SimtTile<2, 4, 4>;  ///< 128 x 16

/// Calls f(i, line, k, inside) for each load i of a thread that a tile of `lines` x kDepth words is
/// shared out by: threads run along the direction in which neighbours lie together.
template <class Tile, int kLoads, class F>
__device__ __forceinline__ void for_tile(bool contiguous_depth, int lines, const F& f) {
#pragma unroll
  for (int i = 0; i < kLoads; ++i) {
    const int at = i * Tile::kThreads + static_cast<int>(threadIdx.x);
    const int line = contiguous_depth ? at / Tile::kDepth : at % lines;
    const int k = contiguous_depth ? at % Tile::kDepth : at / lines;
    f(i, line, k, at < lines * Tile::kDepth);
  }
}

template <class Tile, int kLoads, class Source>
__device__ __forceinline__ void tile_load(const Source& source, int lines, std::uint32_t first,
                                          std::uint32_t count, std::uint32_t k0,
                                          std::uint32_t end_k, std::uint64_t (&words)[kLoads]) {
  for_tile<Tile, kLoads>(source.contiguous_depth, lines, [&](int i, int line, int k, bool inside) {
    const std::uint32_t l = first + static_cast<std::uint32_t>(line);
    const std::uint32_t d = k0 + static_cast<std::uint32_t>(k);
    words[i] = inside && l < count && d < end_k ? source.at(l, d) : 0;
  });
}

template <class Tile, int kLoads>
__device__ __forceinline__ void tile_store(bool contiguous_depth, int lines, int pitch,
                                           const std::uint64_t (&words)[kLoads],
                                           std::uint64_t* shared) {
  for_tile<Tile, kLoads>(contiguous_depth, lines, [&](int i, int line, int k, bool inside) {
    if (inside) shared[k * pitch + line] = words[i];
  });
}

/// A block's part of a product: rows m0 .. of m, columns n0 .. of n, [begin, end) of k.
struct ProductPart {
  std::uint32_t m0, m, n0, n, begin, end;

  template <class Tile>
  static __device__ __forceinline__ ProductPart of(std::uint32_t m, std::uint32_t n,
                                                   std::uint32_t k, std::uint32_t part_k) {
    const std::uint32_t begin = blockIdx.z * part_k;
    return {blockIdx.y * Tile::kM,
            m,
            blockIdx.x * Tile::kN,
            n,
            begin,
            begin + part_k < k ? begin + part_k : k};
  }
};

/// Walks along k: store(words of a, words of b) puts a tile into shared memory, multiply() reads it
/// while the next is on its way. The whole block.
template <class Tile, class A, class B, class Store, class Multiply>
__device__ __forceinline__ void for_depth(const A& a, const B& b, const ProductPart& part,
                                          const Store& store, const Multiply& multiply) {
  std::uint64_t next_a[Tile::kLoadsA];
  std::uint64_t next_b[Tile::kLoadsB];
  tile_load<Tile>(a, Tile::kM, part.m0, part.m, part.begin, part.end, next_a);
  tile_load<Tile>(b, Tile::kN, part.n0, part.n, part.begin, part.end, next_b);
  for (std::uint32_t k0 = part.begin; k0 < part.end; k0 += Tile::kDepth) {
    __syncthreads();
    store(next_a, next_b);
    __syncthreads();
    if (k0 + Tile::kDepth < part.end) {
      tile_load<Tile>(a, Tile::kM, part.m0, part.m, k0 + Tile::kDepth, part.end, next_a);
      tile_load<Tile>(b, Tile::kN, part.n0, part.n, k0 + Tile::kDepth, part.end, next_b);
    }
    multiply();
  }
}

/// out[m, n] (+)= sum over k of a.at(row, k) b.at(column, k). grid: (n / kN, m / kM, parts of k),
/// rounded up. With more than one part sums meet in `out` (put_sum), which must hold what is added
/// to.
template <class Tile, class A, class B>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    multiply_words(A a, B b, std::uint64_t* out, std::uint32_t m, std::uint32_t n, std::uint32_t k,
                   std::uint32_t part_k, bool accumulate) {
  std::uint64_t* const shared_a = dynamic_shared<std::uint64_t>();
  std::uint64_t* const shared_b = shared_a + Tile::kDepth * Tile::kPitchA;
  const ProductPart part = ProductPart::of<Tile>(m, n, k, part_k);
  const int row = static_cast<int>(threadIdx.x) / Tile::kThreadsN;
  const int column = static_cast<int>(threadIdx.x) % Tile::kThreadsN;

  std::uint64_t sum[Tile::kRows][Tile::kColumns] = {};
  const auto store = [&](const auto& next_a, const auto& next_b) {
    tile_store<Tile>(a.contiguous_depth, Tile::kM, Tile::kPitchA, next_a, shared_a);
    tile_store<Tile>(b.contiguous_depth, Tile::kN, Tile::kPitchB, next_b, shared_b);
  };
  const auto multiply = [&] {
#pragma unroll 4
    for (int depth = 0; depth < Tile::kDepth; ++depth) {
      std::uint64_t left[Tile::kRows];
      std::uint64_t right[Tile::kColumns];
#pragma unroll
      for (int i = 0; i < Tile::kRows; ++i) {
        left[i] = shared_a[depth * Tile::kPitchA + row + i * Tile::kThreadsM];
      }
#pragma unroll
      for (int j = 0; j < Tile::kColumns; ++j) {
        right[j] = shared_b[depth * Tile::kPitchB + column + j * Tile::kThreadsN];
      }
#pragma unroll
      for (int i = 0; i < Tile::kRows; ++i) {
#pragma unroll
        for (int j = 0; j < Tile::kColumns; ++j) sum[i][j] += left[i] * right[j];
      }
    }
  };
  for_depth<Tile>(a, b, part, store, multiply);
#pragma unroll
  for (int i = 0; i < Tile::kRows; ++i) {
    const std::uint32_t r = part.m0 + static_cast<std::uint32_t>(row + i * Tile::kThreadsM);
#pragma unroll
    for (int j = 0; j < Tile::kColumns; ++j) {
      const std::uint32_t c = part.n0 + static_cast<std::uint32_t>(column + j * Tile::kThreadsN);
      if (r >= m || c >= n) continue;
      put_sum(out + std::uint64_t{r} * n + c, sum[i][j], accumulate);
    }
  }
}

}  // namespace beaverpond::cuda
