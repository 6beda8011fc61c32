// The ChaCha20 block function (RFC 8439, section 2.3), one block per lane.
#pragma once

#include <cstdint>

#include "kernels/math/inline.h"

namespace beaverpond::math {

/// x <<< bits in every lane. Specialised where a machine has something better than two shifts.
template <class Lane>
struct LaneRotate {
  template <int bits>
  static BP_MATH_INLINE Lane left(Lane x) {
    return (x << bits) | (x >> (32 - bits));
  }
};

template <class Lane>
BP_MATH_INLINE void chacha20_quarter_round(Lane& a, Lane& b, Lane& c, Lane& d) {
  using Rotate = LaneRotate<Lane>;
  a += b, d ^= a, d = Rotate::template left<16>(d);
  c += d, b ^= c, b = Rotate::template left<12>(b);
  a += b, d ^= a, d = Rotate::template left<8>(d);
  c += d, b ^= c, b = Rotate::template left<7>(b);
}

/// state = input + twenty_rounds(input), word by word. `Lane` is uint32_t (one block) or a vector
/// of 32-bit words (one block a lane). The input is constants, key, block counter and nonce.
template <class Lane>
BP_MATH_INLINE void chacha20_block(const Lane (&input)[16], Lane (&state)[16]) {
  for (int i = 0; i < 16; ++i) state[i] = input[i];
  for (int double_round = 0; double_round < 10; ++double_round) {
    chacha20_quarter_round(state[0], state[4], state[8], state[12]);
    chacha20_quarter_round(state[1], state[5], state[9], state[13]);
    chacha20_quarter_round(state[2], state[6], state[10], state[14]);
    chacha20_quarter_round(state[3], state[7], state[11], state[15]);
    chacha20_quarter_round(state[0], state[5], state[10], state[15]);
    chacha20_quarter_round(state[1], state[6], state[11], state[12]);
    chacha20_quarter_round(state[2], state[7], state[8], state[13]);
    chacha20_quarter_round(state[3], state[4], state[9], state[14]);
  }
  for (int i = 0; i < 16; ++i) state[i] += input[i];
}

/// The input of the block function for Beaverpond's streams, with the counter in every lane:
/// nonce = LE64(stream) || 00000000. A caller with many lanes adds its lane number to word 12.
template <class Lane>
BP_MATH_INLINE void chacha20_input(const std::uint32_t* key, std::uint32_t counter,
                                   std::uint64_t stream, Lane (&input)[16]) {
  const Lane zero{};
  input[0] = zero + 0x61707865u;  // "expand 32-byte k"
  input[1] = zero + 0x3320646eu;
  input[2] = zero + 0x79622d32u;
  input[3] = zero + 0x6b206574u;
  for (int i = 0; i < 8; ++i) input[4 + i] = zero + key[i];
  input[12] = zero + counter;
  input[13] = zero + static_cast<std::uint32_t>(stream);
  input[14] = zero + static_cast<std::uint32_t>(stream >> 32);
  input[15] = zero;
}

}  // namespace beaverpond::math
