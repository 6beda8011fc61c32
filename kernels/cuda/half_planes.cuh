// What players and dealers of a comparison share on the device: planes of 32 elements a thread, node
// shapes as template arguments, packed words.
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

/// Bit planes of a thread's 32 words: 64 of them, in shared memory, thread by thread.
__device__ __forceinline__ void planes_to_shared(const std::uint64_t* words, std::uint64_t limit,
                                                 std::uint32_t* shared) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    std::uint32_t rows[32];
#pragma unroll
    for (int i = 0; i < 32; ++i) {
      const std::uint64_t word = static_cast<std::uint64_t>(i) < limit ? words[i] : 0;
      rows[i] = static_cast<std::uint32_t>(word >> (32 * half));
    }
    transpose32(rows);
#pragma unroll
    for (int bit = 0; bit < 32; ++bit) {
      shared[(32 * half + bit) * static_cast<int>(blockDim.x)] = rows[bit];
    }
  }
}

/// A packed word of `bytes` bytes, low byte first.
__device__ __forceinline__ std::uint64_t load_packed_word(const std::uint8_t* from, int bytes) {
  std::uint64_t word = 0;
  for (int b = 0; b < bytes; ++b) word |= std::uint64_t{from[b]} << (8 * b);
  return word;
}
__device__ __forceinline__ void store_packed_word(std::uint64_t word, int bytes,
                                                  std::uint8_t* to) {
  for (int b = 0; b < bytes; ++b) to[b] = static_cast<std::uint8_t>(word >> (8 * b));
}

}  // namespace beaverpond::cuda
