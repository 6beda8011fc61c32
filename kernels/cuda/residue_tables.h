// Constants of the ring product by residues (Ozaki scheme II; Ozaki, Uchino, Imamura 2025, carried
// from floating point to Z mod 2^64): moduli below 2^8, pairwise coprime, whose product M bounds
// what a sum of k products of signed words can be.
#pragma once

#include <cstdint>

namespace beaverpond::cuda {

inline constexpr int kModuli = 18;
inline constexpr std::uint32_t kModulus[kModuli] = {256, 255, 253, 251, 247, 241, 239, 233, 229,
                                                    227, 223, 217, 211, 199, 197, 193, 191, 181};
/// |sum| <= k 2^126 must stay below M / 2 = 2^139.45, with room for the quotient's rounding: the
/// limit is 11,213.
inline constexpr std::uint32_t kMaxResidueDepth = 11136;

/// How the words of one operand become residues: byte weights 256^j (times a factor) mod p, and
/// the numbers of one division by p.
struct ResidueWeights {
  std::uint32_t low[kModuli];     ///< weights of bytes 0..3
  std::uint32_t high[kModuli];    ///< weights of bytes 4..7, of the word with its sign flipped
  std::uint32_t start[kModuli];   ///< what the sum starts from: takes the flipped sign out
  std::uint32_t magic[kModuli];   ///< floor(2^32 / p) + 1: exact for sums below 2^20
  std::uint64_t middle[kModuli];  ///< middle * magic
  std::uint32_t modulus[kModuli];
};

/// How residues of the product become the product mod 2^64.
struct ResidueRecovery {
  std::uint64_t weight[kModuli];    ///< M / p mod 2^64
  std::uint64_t fraction[kModuli];  ///< 2^58 / p, rounded
  std::uint64_t product;            ///< M mod 2^64
};

namespace residue_detail {

constexpr std::uint32_t cofactor_inverse(int i) {
  const std::uint32_t p = kModulus[i];
  std::uint32_t cofactor = 1;  // M / p mod p
  for (int j = 0; j < kModuli; ++j) {
    if (j != i) cofactor = cofactor * (kModulus[j] % p) % p;
  }
  for (std::uint32_t x = 1; x < p; ++x) {
    if (cofactor * x % p == 1) return x;
  }
  return 0;
}

}  // namespace residue_detail

/// `fold`: multiply by (M/p)^-1 mod p, which one of the two operands does.
constexpr ResidueWeights residue_weights(bool fold) {
  ResidueWeights w{};
  for (int i = 0; i < kModuli; ++i) {
    const std::uint32_t p = kModulus[i];
    const std::uint32_t factor = fold ? residue_detail::cofactor_inverse(i) : 1;
    std::uint32_t power = factor % p;
    for (int byte = 0; byte < 8; ++byte) {
      (byte < 4 ? w.low[i] : w.high[i]) |= power << (8 * (byte % 4));
      power = power * 256 % p;
    }
    // The word with its sign bit flipped is the signed word plus 2^63.
    std::uint32_t sign = factor % p;
    for (int bit = 0; bit < 63; ++bit) sign = sign * 2 % p;
    // t = start + sum of bytes times weights is congruent to the word (times the factor);
    // q = floor((t + middle) / p), and t - q p lies in [-middle, p - 1 - middle]: a signed byte.
    const std::uint32_t middle = p / 2;
    w.start[i] = (p - sign) % p;
    w.magic[i] = static_cast<std::uint32_t>((std::uint64_t{1} << 32) / p) + 1;
    w.middle[i] = std::uint64_t{middle} * w.magic[i];
    w.modulus[i] = p;
  }
  return w;
}

/// Of the left operand, and of the right one, which carries the fold.
inline constexpr ResidueWeights kLeftWeights = residue_weights(false);
inline constexpr ResidueWeights kRightWeights = residue_weights(true);

constexpr ResidueRecovery residue_recovery() {
  ResidueRecovery r{};
  r.product = 1;
  for (int i = 0; i < kModuli; ++i) r.product *= kModulus[i];
  for (int i = 0; i < kModuli; ++i) {
    r.weight[i] = 1;
    for (int j = 0; j < kModuli; ++j) {
      if (j != i) r.weight[i] *= kModulus[j];
    }
    r.fraction[i] = ((std::uint64_t{1} << 58) + kModulus[i] / 2) / kModulus[i];
  }
  return r;
}

inline constexpr ResidueRecovery kRecovery = residue_recovery();

}  // namespace beaverpond::cuda
