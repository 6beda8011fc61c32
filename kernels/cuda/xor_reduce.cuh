// Opening a sharing of bits: the parts of all players, gathered, are combined.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"

namespace beaverpond::cuda {

/// out[i] = parts[0][i] ^ parts[1][i] ^ .. ^ parts[players-1][i], part p at parts + p * words.
/// Any grid and block; a thread takes every (grid * block)-th word. `out` is no part of `parts`.
template <class Word>
__global__ void xor_reduce(const Word* __restrict__ parts, Word* __restrict__ out,
                           std::uint64_t words, int players) {
  const std::uint64_t step = static_cast<std::uint64_t>(gridDim.x) * blockDim.x;
  for (std::uint64_t i = static_cast<std::uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < words; i += step) {
    Word sum = parts[i];
    for (int p = 1; p < players; ++p) sum ^= parts[static_cast<std::uint64_t>(p) * words + i];
    out[i] = sum;
  }
}

}  // namespace beaverpond::cuda
