// What players and dealers of a wide comparison share on the device. Planes are read where they
// lie, since 256 of them fit into no thread's registers.
#pragma once

#include "kernels/cuda/half_planes.cuh"
#include "kernels/math/compare_wide.h"

namespace beaverpond::cuda {

using HalfWide = math::CompareWide<HalfPlanes>;

/// Compare::one_hot for a fixed number of bits, which lie as planes_of_warp leaves them. Its loops
/// have constant bounds, since inside a loop nvcc unrolls no other, and `hot` must stay in
/// registers.
template <int bits>
__device__ __forceinline__ void hot_planes(const std::uint32_t* planes, std::uint32_t* hot) {
  std::uint32_t chunk[bits];
#pragma unroll
  for (int b = 0; b < bits; ++b) chunk[b] = planes[b * kPlaneStride];
#pragma unroll
  for (int v = 0; v < 1 << bits; ++v) {
    hot[v] = ~0u;
#pragma unroll
    for (int b = 0; b < bits; ++b) hot[v] &= ((v >> b) & 1) != 0 ? chunk[b] : ~chunk[b];
  }
}

/// Calls narrow.template operator()<bits>() for a chunk of up to 4 bits, else wide(hot), hot being
/// the one-hot planes of its lowest four.
template <class Narrow, class Wide>
__device__ __forceinline__ void with_chunk(const CompareChunk& chunk, const std::uint32_t* bits,
                                           const Narrow& narrow, const Wide& wide) {
  switch (chunk.bits) {
    case 1: return narrow.template operator()<1>();
    case 2: return narrow.template operator()<2>();
    case 3: return narrow.template operator()<3>();
    case 4: return narrow.template operator()<4>();
    default: break;
  }
  std::uint32_t hot[HalfWide::kRow];
  hot_planes<HalfWide::kRowBits>(bits, hot);
  wide(hot);
}

}  // namespace beaverpond::cuda
