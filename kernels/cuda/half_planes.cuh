// What players and dealers of a comparison share on the device: planes of 32 elements a thread,
// node shapes as template arguments, packed words.
#pragma once

#include <cstdint>

#include "beaverpond/compare_layout.h"
#include "kernels/cuda/bits.cuh"
#include "kernels/cuda/device.h"
#include "kernels/math/compare.h"

namespace beaverpond::cuda {

struct HalfPlanes {
  using Plane = std::uint32_t;
  __device__ __forceinline__ static Plane splat(std::uint64_t bits) {
    return static_cast<Plane>(bits);
  }
};
using HalfMath = math::Compare<HalfPlanes>;

/// A node whose shape is known when the kernel is compiled.
template <int inputs, bool wants_p>
__device__ __forceinline__ constexpr CompareNode fixed_node() {
  CompareNode node;
  node.inputs = inputs;
  node.wants_p = wants_p;
  return node;
}

/// Calls f.template operator()<inputs, wants_p>() for a leaf node's shape.
template <class F>
__device__ __forceinline__ void with_leaf_shape(const CompareNode& node, F&& f) {
  switch (node.inputs * 2 + (node.wants_p ? 1 : 0)) {
    case 2: return f.template operator()<1, false>();
    case 3: return f.template operator()<1, true>();
    case 4: return f.template operator()<2, false>();
    case 5: return f.template operator()<2, true>();
    case 6: return f.template operator()<3, false>();
    case 7: return f.template operator()<3, true>();
    case 8: return f.template operator()<4, false>();
    default: return f.template operator()<4, true>();
  }
}

/// Shared memory of a warp for planes_of_warp: its 1024 words, rows of 32 in other banks; the
/// planes take the same place afterwards.
inline constexpr std::uint32_t kWarpPlanesBytes = 32 * 33 * 8;

/// The planes of a thread lie this many words apart in shared memory.
inline constexpr int kPlaneStride = 32;

/// Words of one block of 512, of which `limit` exist; the others are zero.
struct BlockWords {
  const std::uint64_t* words;
  std::uint64_t limit;
};

/// Bit planes of the two blocks of a warp: thread t of sixteen gets those of words 32 t .. 32 t +
/// 31 of its block, plane j at [j * kPlaneStride] of what is returned. Memory is read in order.
__device__ __forceinline__ std::uint32_t* planes_of_warp(const BlockWords& even,
                                                         const BlockWords& odd) {
  const std::uint32_t lane = threadIdx.x % 32;
  std::uint8_t* const mine = dynamic_shared<std::uint8_t>() + threadIdx.x / 32 * kWarpPlanesBytes;
  auto* const staged = reinterpret_cast<std::uint64_t*>(mine);
#pragma unroll 8
  for (std::uint32_t row = 0; row < 16; ++row) {
    const std::uint32_t at = row * 32 + lane;
    staged[row * 33 + lane] = at < even.limit ? even.words[at] : 0;
    staged[(row + 16) * 33 + lane] = at < odd.limit ? odd.words[at] : 0;
  }
  __syncwarp();
  std::uint32_t low[32];
  std::uint32_t high[32];
#pragma unroll
  for (std::uint32_t i = 0; i < 32; ++i) {
    const std::uint64_t word = staged[lane * 33 + i];
    low[i] = static_cast<std::uint32_t>(word);
    high[i] = static_cast<std::uint32_t>(word >> 32);
  }
  __syncwarp();  // all have read before planes overwrite
  transpose32(low);
  transpose32(high);
  std::uint32_t* const planes = reinterpret_cast<std::uint32_t*>(mine) + lane;
#pragma unroll
  for (int bit = 0; bit < 32; ++bit) {
    planes[bit * kPlaneStride] = low[bit];
    planes[(32 + bit) * kPlaneStride] = high[bit];
  }
  return planes;
}

/// A packed word of `bytes` bytes, low byte first.
__device__ __forceinline__ std::uint64_t load_packed_word(const std::uint8_t* from, int bytes) {
  std::uint64_t word = 0;
  for (int b = 0; b < bytes; ++b) word |= std::uint64_t{from[b]} << (8 * b);
  return word;
}
__device__ __forceinline__ void store_packed_word(std::uint64_t word, int bytes, std::uint8_t* to) {
  for (int b = 0; b < bytes; ++b) to[b] = static_cast<std::uint8_t>(word >> (8 * b));
}

}  // namespace beaverpond::cuda
