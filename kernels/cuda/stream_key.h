// What the stream kernels read of a seed, as it lies in device memory (kernels/cuda/key_ring.h).
#pragma once

#include <cstdint>
#include <cstring>

#include "beaverpond/seed.h"
#include "kernels/math/aes128.h"

namespace beaverpond::cuda {

struct ChaChaKey {
  std::uint32_t words[8];
};
struct AesKey {
  std::uint8_t round_keys[176];
  std::uint64_t low;   ///< counter of the stream's first 16-byte block
  std::uint64_t high;  ///< XORed with the stream's index
};

/// The keys of a seed, made where they are to lie.
inline void make_key(const Seed& seed, ChaChaKey& key) {
  std::memcpy(key.words, seed.bytes().data(), sizeof(key.words));
}
inline void make_key(const Seed& seed, AesKey& key) {
  const std::uint8_t* const bytes = seed.bytes().data();
  math::aes128_expand_key<std::uint32_t>(bytes, key.round_keys);
  std::memcpy(&key.low, bytes + 16, 8);
  std::memcpy(&key.high, bytes + 24, 8);
}

/// Room for either, and the distance between two.
inline constexpr std::uint64_t kStreamKeyBytes = 256;
static_assert(sizeof(ChaChaKey) <= kStreamKeyBytes && sizeof(AesKey) <= kStreamKeyBytes);

}  // namespace beaverpond::cuda
