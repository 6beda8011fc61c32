// The product of residue planes on int8 tensor cores (mma.sync m16n8k32), one modulus a grid layer.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"
#include "kernels/cuda/product_planes.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/residue_tables.h"

namespace beaverpond::cuda {

/// A block computes 128 x kN results with warps of 64 x 64, 64 bytes of k a stage. The wide tile
/// reads a quarter less from L2; the narrow one wastes less at edges.
template <int kN_>
struct ProductTile {
  static constexpr int kM = 128;
  static constexpr int kN = kN_;
  static constexpr int kK = 64;
  static constexpr int kStages = 4;
  static constexpr int kWarpsN = kN / 64;
  static constexpr int kThreads = 2 * kWarpsN * 32;
  static constexpr int kBlocksAtOnce = 256 / kThreads;  // on a multiprocessor
  static constexpr int kBytesA = kM * kK;
  static constexpr int kStageBytes = (kM + kN) * kK;
  static constexpr std::uint32_t kSharedBytes = kStages * kStageBytes;
  static constexpr int kOutPitch = kN + 16;  // of the result's tile: rows in other banks
};
using ProductNarrow = ProductTile<128>;
using ProductWide = ProductTile<256>;

/// Where 16-byte chunk `chunk` of a row of a stage lies: eight rows of one chunk are in different
/// banks.
__device__ __forceinline__ constexpr int stage_place(int row, int chunk) {
  return row * 64 + ((chunk ^ ((row >> 1) & 3)) << 4);
}

/// One stage of one operand: kRows rows of 64 bytes, rows past the end are zero.
template <int kRows, int kThreads>
__device__ __forceinline__ void load_stage(std::uint8_t* shared, const std::uint8_t* plane,
                                           std::uint32_t first_row, std::uint32_t rows,
                                           std::uint32_t pitch, std::uint32_t k) {
#pragma unroll
  for (int i = 0; i < kRows * 4 / kThreads; ++i) {
    const int at = i * kThreads + static_cast<int>(threadIdx.x);
    const int row = at >> 2;
    const int chunk = at & 3;
    const std::uint32_t r = first_row + static_cast<std::uint32_t>(row);
    const bool inside = r < rows;
    const std::uint64_t at_row = std::uint64_t{inside ? r : 0} * pitch;
    cp_async_16(shared + stage_place(row, chunk),
                plane + (at_row + (k + static_cast<std::uint32_t>(16 * chunk))), inside);
  }
}

/// grid: (n / kN, m / kM, moduli), rounded up.
template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocksAtOnce)
    multiply_residues(ProductPlanes planes, ModulusList moduli) {
  std::uint8_t* const shared = dynamic_shared<std::uint8_t>();
  const std::uint32_t modulus = blockIdx.z;
  const std::uint32_t m0 = blockIdx.y * Tile::kM;
  const std::uint32_t n0 = blockIdx.x * Tile::kN;
  const std::uint8_t* const a = planes.a + std::uint64_t{modulus} * planes.m * planes.pitch;
  const std::uint8_t* const b = planes.b + std::uint64_t{modulus} * planes.n * planes.pitch;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp_m = warp / Tile::kWarpsN * 64;
  const int warp_n = warp % Tile::kWarpsN * 64;
  const std::uint32_t pitch = planes.pitch;
  const std::uint32_t rows_a = planes.m;
  const std::uint32_t rows_b = planes.n;
  const int steps = static_cast<int>(pitch) / Tile::kK;

  const auto load = [&](int step) {
    if (step < steps) {
      std::uint8_t* const stage = shared + step % Tile::kStages * Tile::kStageBytes;
      const std::uint32_t k = static_cast<std::uint32_t>(step * Tile::kK);
      load_stage<Tile::kM, Tile::kThreads>(stage, a, m0, rows_a, pitch, k);
      load_stage<Tile::kN, Tile::kThreads>(stage + Tile::kBytesA, b, n0, rows_b, pitch, k);
    }
    cp_async_commit();  // empty past the end, so that the count of groups stays right
  };
#pragma unroll
  for (int step = 0; step + 1 < Tile::kStages; ++step) load(step);

  // Fragments of 32 bytes of k: while one set is multiplied, the next is on its way.
  unsigned left[2][4][4];
  unsigned right[2][4][4];  // two tiles of eight columns each
  const auto fetch = [&](int step, int half, int set) {
    const std::uint8_t* const stage_a = shared + step % Tile::kStages * Tile::kStageBytes;
    const std::uint8_t* const stage_b = stage_a + Tile::kBytesA;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = warp_m + 16 * i + lane % 16;
      ldmatrix_x4(left[set][i], stage_a + stage_place(row, 2 * half + lane / 16));
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int row = warp_n + 16 * j + lane % 8 + lane / 16 * 8;
      ldmatrix_x4(right[set][j], stage_b + stage_place(row, 2 * half + lane / 8 % 2));
    }
  };
  int sum[4][8][4] = {};
  cp_async_wait<Tile::kStages - 2>();
  __syncthreads();
  fetch(0, 0, 0);
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (half == 0) {
        fetch(step, 1, 1);
        load(step + Tile::kStages - 1);  // over the stage that all have left behind the barrier
      } else if (step + 1 < steps) {
        cp_async_wait<Tile::kStages - 2>();
        __syncthreads();
        fetch(step + 1, 0, 0);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const unsigned even[2] = {right[half][j][0], right[half][j][1]};
          const unsigned odd[2] = {right[half][j][2], right[half][j][3]};
          mma_m16n8k32_s8(sum[i][2 * j], left[half][i], even);
          mma_m16n8k32_s8(sum[i][2 * j + 1], left[half][i], odd);
        }
      }
    }
  }
  cp_async_wait<0>();
  __syncthreads();

  // Residues go through shared memory, so that they leave 16 bytes at a time.
  std::uint32_t p = moduli.modulus[0];
#pragma unroll
  for (std::uint32_t i = 1; i < kModuli; ++i) {  // an index that varies would copy the parameters
    if (i == modulus) p = moduli.modulus[i];
  }
  const std::uint32_t magic = reduce_magic(p);
  const std::uint32_t bias = reduce_bias(p);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 8; ++j) {
#pragma unroll
      for (int low = 0; low < 2; ++low) {
        const int row = warp_m + 16 * i + lane / 4 + 8 * low;
        const int column = warp_n + 8 * j + lane % 4 * 2;
        const std::uint32_t pair = reduce(sum[i][j][2 * low], p, magic, bias) |
                                   reduce(sum[i][j][2 * low + 1], p, magic, bias) << 8;
        *reinterpret_cast<std::uint16_t*>(shared + row * Tile::kOutPitch + column) =
            static_cast<std::uint16_t>(pair);
      }
    }
  }
  __syncthreads();
  std::uint8_t* const c = planes.c + std::uint64_t{modulus} * planes.m * planes.c_pitch;
#pragma unroll 4
  for (int i = 0; i < Tile::kM * Tile::kN / 16 / Tile::kThreads; ++i) {
    const int at = i * Tile::kThreads + static_cast<int>(threadIdx.x);
    const int row = at / (Tile::kN / 16);
    const int column = at % (Tile::kN / 16) * 16;
    const std::uint32_t r = m0 + static_cast<std::uint32_t>(row);
    const std::uint32_t q = n0 + static_cast<std::uint32_t>(column);
    if (r >= planes.m || q >= planes.c_pitch) continue;
    *reinterpret_cast<uint4*>(c + std::uint64_t{r} * planes.c_pitch + q) =
        *reinterpret_cast<const uint4*>(shared + row * Tile::kOutPitch + column);
  }
}

}  // namespace beaverpond::cuda
