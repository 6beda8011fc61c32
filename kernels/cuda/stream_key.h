// What the stream kernels read of a seed, as it lies in device memory (kernels/cuda/key_ring.h).
#pragma once

#include <cstdint>

namespace beaverpond::cuda {

struct ChaChaKey {
  std::uint32_t words[8];
};
struct AesKey {
  std::uint8_t round_keys[176];
  std::uint64_t low;   ///< counter of the stream's first 16-byte block
  std::uint64_t high;  ///< XORed with the stream's index
};

/// Room for either, and the distance between two.
inline constexpr std::uint64_t kStreamKeyBytes = 256;
static_assert(sizeof(ChaChaKey) <= kStreamKeyBytes && sizeof(AesKey) <= kStreamKeyBytes);

}  // namespace beaverpond::cuda
