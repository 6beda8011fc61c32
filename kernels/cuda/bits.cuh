// Bits of words as words of bits.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"

namespace beaverpond::cuda {

/// Bit j of word i becomes bit i of word j.
__device__ __forceinline__ void transpose32(std::uint32_t (&rows)[32]) {
  std::uint32_t mask = 0x0000ffffu;
#pragma unroll
  for (int width = 16; width != 0; width >>= 1) {
#pragma unroll
    for (int i = 0; i < 32; ++i) {
      if ((i & width) != 0) continue;
      const std::uint32_t swap = ((rows[i] >> width) ^ rows[i | width]) & mask;
      rows[i] ^= swap << width;
      rows[i | width] ^= swap;
    }
    mask ^= mask << (width >> 1);
  }
}

}  // namespace beaverpond::cuda
