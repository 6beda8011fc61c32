// Division by a number that is fixed for a whole kernel.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"

namespace beaverpond::cuda {

/// n / d for n < 2^31 by a multiplication (Granlund, Montgomery 1994).
struct FastDivide {
  std::uint32_t divisor = 1;
  std::uint32_t multiplier = 1;
  std::uint32_t shift = 0;

  FastDivide() = default;
  explicit FastDivide(std::uint32_t d) : divisor(d) {
    while ((std::uint64_t{1} << shift) < d) ++shift;
    multiplier = static_cast<std::uint32_t>(
        ((std::uint64_t{1} << 32) * ((std::uint64_t{1} << shift) - d)) / d + 1);
  }
  __device__ __forceinline__ std::uint32_t quotient(std::uint32_t n) const {
    return (__umulhi(multiplier, n) + n) >> shift;
  }
  /// n := n / d; returns n mod d.
  __device__ __forceinline__ std::uint32_t split(std::uint32_t& n) const {
    const std::uint32_t q = quotient(n);
    const std::uint32_t rest = n - q * divisor;
    n = q;
    return rest;
  }
};

}  // namespace beaverpond::cuda
