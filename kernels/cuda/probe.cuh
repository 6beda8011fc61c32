// The kernel of kernels/cuda/probe.h.
#pragma once

#include "kernels/cuda/device.h"

namespace beaverpond::cuda {

/// The odd multiplier makes each word depend on all bits of the index and none on chance.
inline constexpr unsigned long long kProbeFactor = 0x9e3779b97f4a7c15ULL;

/// out[i] = (i + 1) * kProbeFactor
inline __global__ void probe_kernel(unsigned long long* out, unsigned count) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) out[i] = (i + 1ULL) * kProbeFactor;
}

}  // namespace beaverpond::cuda
