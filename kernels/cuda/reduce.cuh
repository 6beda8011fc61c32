// From the sum of 32 bits that tensor cores leave to a residue.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"

namespace beaverpond::cuda {

/// The two numbers of a reduction mod p.
__device__ __forceinline__ constexpr std::uint32_t reduce_magic(std::uint32_t p) {
  return 0xffffffffu / p;
}
__device__ __forceinline__ constexpr std::uint32_t reduce_bias(std::uint32_t p) {
  return ((1u << 28) + p - 1) / p * p;
}

/// c mod p in [0, p) of a signed sum |c| < 2^28.
__device__ __forceinline__ std::uint32_t reduce(int c, std::uint32_t p, std::uint32_t magic,
                                                std::uint32_t bias) {
  const std::uint32_t positive = static_cast<std::uint32_t>(c) + bias;
  const std::uint32_t r = positive - __umulhi(positive, magic) * p;  // magic is low: r < 2 p
  return r < p ? r : r - p;
}

}  // namespace beaverpond::cuda
