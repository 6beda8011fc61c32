// Words to residues and back: the first and the last kernel of the ring product by residues.
//
// Planes: plane i holds the residues mod p_i, one byte each, row by row along k, rows `pitch` bytes
// apart. The left operand's are r in [-p/2, p/2); the right's likewise, times (M/p)^-1. The
// product's are in [0, p).
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"
#include "kernels/cuda/product_planes.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/residue_tables.h"

namespace beaverpond::cuda {

struct ResidueTile {
  static constexpr int kRows = 32;
  static constexpr int kDepth = 128;
  static constexpr int kThreads = 256;
  static constexpr int kRun = 16;  ///< words a thread turns into residues: 16 bytes a plane
  static constexpr int kPitch = kDepth + kDepth / kRun + 1;  // odd, and runs start in other banks
  static constexpr std::uint32_t kSharedBytes = kRows * kPitch * 8;
  static constexpr std::uint32_t place(int row, int k) {
    return static_cast<std::uint32_t>(row * kPitch + k + k / kRun);
  }
};

/// The 16 residues of 16 words mod p_i.
__device__ __forceinline__ uint4 residues_of(const std::uint32_t (&low)[ResidueTile::kRun],
                                             const std::uint32_t (&high)[ResidueTile::kRun],
                                             const ResidueWeights& w, int i) {
  std::uint32_t packed[4];
#pragma unroll
  for (int quad = 0; quad < 4; ++quad) {
    std::uint32_t byte[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int at = 4 * quad + j;
      const std::uint32_t t = __dp4a(low[at], w.low[i], __dp4a(high[at], w.high[i], w.start[i]));
      const std::uint64_t scaled = std::uint64_t{t} * w.magic[i] + w.middle[i];
      byte[j] = t - static_cast<std::uint32_t>(scaled >> 32) * w.modulus[i];
    }
    packed[quad] = __byte_perm(__byte_perm(byte[0], byte[1], 0x0040),
                               __byte_perm(byte[2], byte[3], 0x0040), 0x5410);
  }
  return make_uint4(packed[0], packed[1], packed[2], packed[3]);
}

/// Residues of rows x [first_k, first_k + depth) of `source`; zeros up to `pitch`, a multiple of
/// 64. One block a tile: grid.x over rows, grid.y over k. Where at(row, k) sees columns with their
/// neighbours in memory, threads run along rows.
template <class Source>
__global__ void __launch_bounds__(ResidueTile::kThreads)
    make_residues(Source source, ResidueWeights weights, std::uint8_t* planes, std::uint32_t rows,
                  std::uint32_t first_k, std::uint32_t depth, std::uint32_t pitch,
                  std::uint64_t plane_bytes) {
  using Tile = ResidueTile;
  std::uint64_t* const words = dynamic_shared<std::uint64_t>();
  const int thread = static_cast<int>(threadIdx.x);
  const std::uint32_t row0 = blockIdx.x * Tile::kRows;
  const std::uint32_t k0 = blockIdx.y * Tile::kDepth;
#pragma unroll 4
  for (int i = 0; i < Tile::kRows * Tile::kDepth / Tile::kThreads; ++i) {
    const int at = i * Tile::kThreads + thread;
    const int row = source.contiguous_depth ? at / Tile::kDepth : at % Tile::kRows;
    const int k = source.contiguous_depth ? at % Tile::kDepth : at / Tile::kRows;
    const std::uint32_t r = row0 + static_cast<std::uint32_t>(row);
    const std::uint32_t d = k0 + static_cast<std::uint32_t>(k);
    std::uint64_t word = 0;
    if (r < rows && d < depth) word = source.at(r, first_k + d);
    words[Tile::place(row, k)] = word;
  }
  __syncthreads();
  const int row = thread / (Tile::kDepth / Tile::kRun);
  const int k = thread % (Tile::kDepth / Tile::kRun) * Tile::kRun;
  const std::uint32_t r = row0 + static_cast<std::uint32_t>(row);
  const std::uint32_t d = k0 + static_cast<std::uint32_t>(k);
  if (r >= rows || d >= pitch) return;
  std::uint32_t low[Tile::kRun];
  std::uint32_t high[Tile::kRun];
#pragma unroll
  for (int j = 0; j < Tile::kRun; ++j) {
    const std::uint64_t word = words[Tile::place(row, k + j)];
    low[j] = static_cast<std::uint32_t>(word);
    high[j] = static_cast<std::uint32_t>(word >> 32) ^ 0x80000000u;
  }
  std::uint8_t* const out = planes + std::uint64_t{r} * pitch + d;
#pragma unroll
  for (int i = 0; i < kModuli; ++i) {
    *reinterpret_cast<uint4*>(out + static_cast<std::uint64_t>(i) * plane_bytes) =
        residues_of(low, high, weights, i);
  }
}

/// Four neighbours of a row mod every p_i, on their way to words.
struct WordsInResidues {
  std::uint64_t value[4] = {};
  std::uint64_t quotient[4] = {kHalf, kHalf, kHalf, kHalf};
  static constexpr std::uint64_t kHalf = std::uint64_t{1} << 57;

  __device__ __forceinline__ void take(int j, std::uint64_t residue,
                                       const ResidueRecovery& recovery, int modulus) {
    value[j] += residue * recovery.weight[modulus];
    quotient[j] += residue * recovery.fraction[modulus];
  }
  /// C mod 2^64 = sum r_i (M/p_i) - rint(sum r_i / p_i) M, as many of the four as there are.
  template <bool kAccumulate>
  __device__ __forceinline__ void store(const ResidueRecovery& recovery, std::uint64_t* target,
                                        std::uint32_t count) const {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (static_cast<std::uint32_t>(j) >= count) return;
      const std::uint64_t word = value[j] - (quotient[j] >> 58) * recovery.product;
      if (kAccumulate) {
        target[j] += word;
      } else {
        target[j] = word;
      }
    }
  }
};

/// Words from their residues, four neighbours of a row a thread. `pitch`: bytes between rows of the
/// planes, a multiple of 4; rows of out are `out_pitch` words apart.
template <bool kAccumulate>
__global__ void __launch_bounds__(256)
    recover_words(const std::uint8_t* planes, ResidueRecovery recovery, std::uint64_t* out,
                  std::uint32_t out_pitch, std::uint32_t rows, std::uint32_t columns,
                  std::uint32_t pitch, std::uint64_t plane_bytes) {
  const std::uint32_t quads = (columns + 3) / 4;
  const std::uint64_t index = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= std::uint64_t{quads} * rows) return;
  const std::uint32_t row = static_cast<std::uint32_t>(index / quads);
  const std::uint32_t column = static_cast<std::uint32_t>(index % quads) * 4;
  const std::uint8_t* const at = planes + std::uint64_t{row} * pitch + column;
  WordsInResidues words;
#pragma unroll
  for (int i = 0; i < kModuli; ++i) {
    const std::uint32_t residues = __ldg(
        reinterpret_cast<const std::uint32_t*>(at + static_cast<std::uint64_t>(i) * plane_bytes));
#pragma unroll
    for (int j = 0; j < 4; ++j) words.take(j, (residues >> (8 * j)) & 0xffu, recovery, i);
  }
  words.store<kAccumulate>(recovery, out + std::uint64_t{row} * out_pitch + column,
                           columns - column);
}

/// The same from sums of products of bytes, |sum| < 2^28, that nobody has reduced: cuBLASLt's.
/// `pitch`: sums between rows, a multiple of 4; `plane_sums`: between moduli.
template <bool kAccumulate>
__global__ void __launch_bounds__(256)
    recover_sums(const std::int32_t* sums, ResidueRecovery recovery, ModulusList moduli,
                 std::uint64_t* out, std::uint32_t out_pitch, std::uint32_t rows,
                 std::uint32_t columns, std::uint32_t pitch, std::uint64_t plane_sums) {
  const std::uint32_t quads = (columns + 3) / 4;
  const std::uint64_t index = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= std::uint64_t{quads} * rows) return;
  const std::uint32_t row = static_cast<std::uint32_t>(index / quads);
  const std::uint32_t column = static_cast<std::uint32_t>(index % quads) * 4;
  const std::int32_t* const at = sums + std::uint64_t{row} * pitch + column;
  WordsInResidues words;
#pragma unroll
  for (int i = 0; i < kModuli; ++i) {
    const int4 four =
        *reinterpret_cast<const int4*>(at + static_cast<std::uint64_t>(i) * plane_sums);
    const std::uint32_t p = moduli.modulus[i];
    const std::uint32_t magic = reduce_magic(p);
    const std::uint32_t bias = reduce_bias(p);
    words.take(0, reduce(four.x, p, magic, bias), recovery, i);
    words.take(1, reduce(four.y, p, magic, bias), recovery, i);
    words.take(2, reduce(four.z, p, magic, bias), recovery, i);
    words.take(3, reduce(four.w, p, magic, bias), recovery, i);
  }
  words.store<kAccumulate>(recovery, out + std::uint64_t{row} * out_pitch + column,
                           columns - column);
}

}  // namespace beaverpond::cuda
