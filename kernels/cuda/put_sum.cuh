// How a block of a product leaves its sums.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"

namespace beaverpond::cuda {

/// target (+)= sum. With more than one part of k (grid.z) by an atomic addition, which commutes mod
/// 2^64: the result is the same in any order.
__device__ __forceinline__ void put_sum(std::uint64_t* target, std::uint64_t sum, bool accumulate) {
  if (gridDim.z > 1) {
    atomicAdd(reinterpret_cast<unsigned long long*>(target), static_cast<unsigned long long>(sum));
  } else if (accumulate) {
    *target += sum;
  } else {
    *target = sum;
  }
}

}  // namespace beaverpond::cuda
