// AES-128 (FIPS 197) on bit planes: word p of a byte holds bit p of that byte, one block per bit
// position. No tables, no branches, no secret addresses: constant time on every machine.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/math/inline.h"

namespace beaverpond::math {

/// The S-box as a circuit of 113 gates in three parts: Boyar, Peralta, "A depth-16 circuit for the
/// AES S-box", 2011. x[0] is the most significant bit, as in the paper.
template <class Word>
struct SBoxCircuit {
  Word x[8], y[22], z[18];

  BP_MATH_INLINE void top_linear() {
    y[14] = x[3] ^ x[5];
    y[13] = x[0] ^ x[6];
    y[9] = x[0] ^ x[3];
    y[8] = x[0] ^ x[5];
    const Word t0 = x[1] ^ x[2];
    y[1] = t0 ^ x[7];
    y[4] = y[1] ^ x[3];
    y[12] = y[13] ^ y[14];
    y[2] = y[1] ^ x[0];
    y[5] = y[1] ^ x[6];
    y[3] = y[5] ^ y[8];
    const Word t1 = x[4] ^ y[12];
    y[15] = t1 ^ x[5];
    y[20] = t1 ^ x[1];
    y[6] = y[15] ^ x[7];
    y[10] = y[15] ^ t0;
    y[11] = y[20] ^ y[9];
    y[7] = x[7] ^ y[11];
    y[17] = y[10] ^ y[11];
    y[19] = y[10] ^ y[8];
    y[16] = t0 ^ y[11];
    y[21] = y[13] ^ y[16];
    y[18] = x[0] ^ y[16];
  }

  BP_MATH_INLINE void middle() {
    const Word t2 = y[12] & y[15], t7 = y[13] & y[16], t12 = y[9] & y[11];
    const Word t14 = (y[14] & y[17]) ^ t12, t16 = (y[8] & y[10]) ^ t12;
    const Word t21 = (y[3] & y[6]) ^ t2 ^ t14 ^ y[20];
    const Word t22 = (y[4] & x[7]) ^ t2 ^ t16 ^ y[19];
    const Word t23 = (y[5] & y[1]) ^ t7 ^ t14 ^ y[21];
    const Word t24 = (y[2] & y[7]) ^ t7 ^ t16 ^ y[18];
    // Inversion in GF(2^4).
    const Word t25 = t21 ^ t22, t26 = t21 & t23, t27 = t24 ^ t26;
    const Word t29 = (t25 & t27) ^ t22;
    const Word t33 = ((t22 ^ t26) & (t23 ^ t24)) ^ t24;
    const Word t36 = t24 & (t27 ^ t33);
    const Word t37 = t36 ^ t23 ^ t33;
    const Word t40 = t25 ^ (t29 & (t27 ^ t36));
    const Word t41 = t40 ^ t37, t42 = t29 ^ t33, t43 = t29 ^ t40, t44 = t33 ^ t37;
    const Word t45 = t42 ^ t41;
    z[0] = t44 & y[15], z[1] = t37 & y[6], z[2] = t33 & x[7];
    z[3] = t43 & y[16], z[4] = t40 & y[1], z[5] = t29 & y[7];
    z[6] = t42 & y[11], z[7] = t45 & y[17], z[8] = t41 & y[10];
    z[9] = t44 & y[12], z[10] = t37 & y[3], z[11] = t33 & y[4];
    z[12] = t43 & y[13], z[13] = t40 & y[5], z[14] = t29 & y[2];
    z[15] = t42 & y[9], z[16] = t45 & y[14], z[17] = t41 & y[8];
  }

  BP_MATH_INLINE void bottom_linear() {
    const Word t46 = z[15] ^ z[16], t48 = z[5] ^ z[13], t53 = z[0] ^ z[3];
    const Word t57 = z[2] ^ z[12] ^ t53;
    const Word t58 = z[4] ^ t46;
    const Word t59 = z[3] ^ z[6] ^ z[7];
    const Word t60 = t46 ^ t57;
    const Word t62 = z[7] ^ z[8] ^ t58;
    const Word t63 = z[9] ^ z[10] ^ t58;
    const Word t64 = z[4] ^ t59;
    const Word t65 = z[14] ^ t57 ^ t62;
    const Word t66 = z[1] ^ t63;
    x[0] = t59 ^ t63;
    x[6] = ~(z[12] ^ t48 ^ t62);
    x[7] = ~(t48 ^ t60);
    x[3] = t53 ^ t66;
    x[4] = z[2] ^ z[5] ^ t66;
    x[5] = z[10] ^ z[11] ^ t65;
    x[1] = ~(t64 ^ x[3]);
    x[2] = ~(z[16] ^ z[17] ^ t64 ^ t65);
  }
};

/// Replaces a byte by its S-box value; planes[p] holds bit p.
template <class Word>
BP_MATH_INLINE void aes_sub_byte(Word (&planes)[8]) {
  SBoxCircuit<Word> circuit;
  BP_MATH_UNROLL
  for (int i = 0; i < 8; ++i) circuit.x[i] = planes[7 - i];
  circuit.top_linear();
  circuit.middle();
  circuit.bottom_linear();
  BP_MATH_UNROLL
  for (int i = 0; i < 8; ++i) planes[7 - i] = circuit.x[i];
}

/// Byte b of a block in planes [b][0..8); bytes run down the columns, as in the standard.
template <class Word>
struct AesPlanes {
  Word byte[16][8];
};

/// state ^= one round key, the same for every block.
template <class Word>
BP_MATH_INLINE void aes_add_round_key(AesPlanes<Word>& state, const std::uint8_t* round_key) {
  BP_MATH_UNROLL
  for (int b = 0; b < 16; ++b) {
    BP_MATH_UNROLL
    for (int p = 0; p < 8; ++p) state.byte[b][p] ^= Word{} - Word((round_key[b] >> p) & 1u);
  }
}

/// Moves row r by r columns: byte 4c + r comes from column c + r.
template <class Word>
BP_MATH_INLINE void aes_shift_rows(const AesPlanes<Word>& from, AesPlanes<Word>& to) {
  BP_MATH_UNROLL
  for (int b = 0; b < 16; ++b) {
    const int source = (b + 4 * (b % 4)) % 16;
    BP_MATH_UNROLL
    for (int p = 0; p < 8; ++p) to.byte[b][p] = from.byte[source][p];
  }
}

/// In every column: a_i becomes a_i + (a_0 + a_1 + a_2 + a_3) + 2 * (a_i + a_{i+1}) in GF(2^8).
template <class Word>
BP_MATH_INLINE void aes_mix_columns(const AesPlanes<Word>& from, AesPlanes<Word>& to) {
  constexpr unsigned kReduction = 0x1b;
  BP_MATH_UNROLL
  for (int column = 0; column < 16; column += 4) {
    BP_MATH_UNROLL
    for (int p = 0; p < 8; ++p) {
      Word all = from.byte[column][p];
      BP_MATH_UNROLL
      for (int i = 1; i < 4; ++i) all ^= from.byte[column + i][p];
      BP_MATH_UNROLL
      for (int i = 0; i < 4; ++i) {
        const Word(&a)[8] = from.byte[column + i];
        const Word(&next)[8] = from.byte[column + (i + 1) % 4];
        Word sum = a[p] ^ all;
        if (p > 0) sum ^= a[p - 1] ^ next[p - 1];
        if ((kReduction >> p) & 1u) sum ^= a[7] ^ next[7];
        to.byte[column + i][p] = sum;
      }
    }
  }
}

/// Encrypts every block of `state` in place. `round_keys`: 11 * 16 bytes.
template <class Word>
BP_MATH_INLINE void aes128_encrypt(AesPlanes<Word>& state, const std::uint8_t* round_keys) {
  AesPlanes<Word> shifted;
  aes_add_round_key(state, round_keys);
  for (unsigned round = 1; round <= 10; ++round) {
    BP_MATH_UNROLL
    for (int b = 0; b < 16; ++b) aes_sub_byte(state.byte[b]);
    aes_shift_rows(state, shifted);
    if (round == 10) {
      state = shifted;
    } else {
      aes_mix_columns(shifted, state);
    }
    aes_add_round_key(state, round_keys + std::size_t{16} * round);
  }
}

/// round_keys[0..176) from key[0..16): FIPS 197 section 5.2. `Word` is only a scratch type.
template <class Word>
BP_MATH_INLINE void aes128_expand_key(const std::uint8_t* key, std::uint8_t* round_keys) {
  for (int i = 0; i < 16; ++i) round_keys[i] = key[i];
  unsigned constant = 1;
  for (int at = 16; at < 176; at += 16) {
    Word planes[8];
    for (int p = 0; p < 8; ++p) {  // SubWord(RotWord(last word of the previous round key))
      planes[p] = 0;
      for (int i = 0; i < 4; ++i) {
        planes[p] |= Word((round_keys[at - 4 + (i + 1) % 4] >> p) & 1u) << i;
      }
    }
    aes_sub_byte(planes);
    for (int i = 0; i < 4; ++i) {
      unsigned byte = i == 0 ? constant : 0;
      for (int p = 0; p < 8; ++p) byte ^= static_cast<unsigned>((planes[p] >> i) & 1u) << p;
      round_keys[at + i] = static_cast<std::uint8_t>(byte ^ round_keys[at - 16 + i]);
    }
    for (int i = 4; i < 16; ++i) {
      round_keys[at + i] =
          static_cast<std::uint8_t>(round_keys[at - 16 + i] ^ round_keys[at + i - 4]);
    }
    constant = (constant << 1) ^ ((constant >> 7) * 0x11bu);
  }
}

}  // namespace beaverpond::math
