// Element formulas of SecureNN (Wagh, Gupta, Chandran, PETS 2019), templated on ring width and
// prime, so that the exhaustive tests take a toy instance of what the product computes. Players P0
// and P1 hold shares, P2 assists. L = 2^Bits; the odd ring is the integers mod L - 1. Derivations
// and what deviates from the paper: online/securenn/README.md.
#pragma once

#include <cstdint>

#include "kernels/math/inline.h"

namespace beaverpond::securenn {

template <int Bits, unsigned Prime>
struct Formulas {
  static_assert(Bits >= 2 && Bits <= 64 && Prime > Bits + 2, "no sum of digits may wrap");
  using Word = std::uint64_t;
  static constexpr int kBits = Bits;
  static constexpr unsigned kPrime = Prime;
  static constexpr Word kMask = Bits == 64 ? ~Word{0} : (Word{1} << (Bits % 64)) - 1;
  static constexpr Word kOdd = kMask;  ///< L - 1, the odd ring's modulus

  // The odd ring. Words are below L - 1.

  /// All ones where x is not 0, else 0. Compilers make branches of conditions on words, which are
  /// secret here.
  BP_MATH_INLINE static Word nonzero(Word x) { return 0 - ((x | (0 - x)) >> 63); }

  /// Any word below L, reduced.
  BP_MATH_INLINE static Word odd_reduce(Word x) { return x & nonzero(x ^ kOdd); }
  BP_MATH_INLINE static Word odd_add(Word x, Word y) {
    return odd_reduce((x + y + wrap(x, y)) & kMask);
  }
  BP_MATH_INLINE static Word odd_negate(Word x) { return (kOdd - x) & nonzero(x); }
  BP_MATH_INLINE static Word odd_subtract(Word x, Word y) { return odd_add(x, odd_negate(y)); }

  /// 1 where x + y, both below L, reaches L.
  BP_MATH_INLINE static Word wrap(Word x, Word y) {
    return (((x & y) | ((x | y) & ~(x + y))) >> (Bits - 1)) & 1;
  }

  // Digits: elements of Z mod Prime, one for each bit.

  BP_MATH_INLINE static unsigned digit_add(unsigned x, unsigned y) { return (x + y) % Prime; }
  BP_MATH_INLINE static unsigned digit_subtract(unsigned x, unsigned y) {
    return (x + Prime - y) % Prime;
  }

  /// What PrivateCompare compares the shared x with: where `at_least`, whether x >= bound, else
  /// whether x > bound. P2 learns beta ^ that, beta a common bit of P0 and P1. `threshold` is the
  /// paper's T; where no word can be it, the answer does not depend on x and is sent as such.
  struct Question {
    Word threshold = 0;
    bool beta = false;
    bool always_zero = false;  ///< P2 must find a zero, whatever x is
  };
  BP_MATH_INLINE static Question question(Word bound, bool at_least, bool beta) {
    const Word below = (bound - (at_least ? 1 : 0)) & kMask;  // x > below
    const Word answered = ~nonzero(below ^ kMask) & (static_cast<Word>(beta) ^ (at_least ? 1 : 0));
    return {(below + static_cast<Word>(beta)) & kMask, beta, (answered & 1) != 0};
  }

  /// One player's terms c: exactly one of them is zero, or none. From the top bit down, with
  /// W = sum of w above, w = x_j + T - 2 T x_j:
  ///   beta = 0:  c = T + 1 - x_j + W     zero where x_j = 1, T_j = 0 and all above agree: x > T
  ///   beta = 1:  c = 1 - T + x_j + W     likewise x < T
  /// P0 adds the constants. `x`: its shares of the bits, bit 0 first.
  BP_MATH_INLINE static void terms(int player, const std::uint8_t* x, const Question& q,
                                   std::uint8_t* c) {
    const Choices choices(q);
    unsigned above = 0;
    for (int j = Bits - 1; j >= 0; --j) {
      const unsigned t = static_cast<unsigned>((q.threshold >> j) & 1);
      c[j] = static_cast<std::uint8_t>(term(player, j, x[j], t, choices, above));
      above = digit_add(above, weight(player, x[j], t));
    }
  }

  /// All ones or nothing: what P2 must not know chooses no branch, as P2 sees when words arrive.
  struct Choices {
    unsigned beta, zero;
    BP_MATH_INLINE explicit Choices(const Question& q)
        : beta(0u - static_cast<unsigned>(q.beta)),
          zero(0u - static_cast<unsigned>(q.always_zero)) {}
  };
  /// w of a digit whose share is x, t its bit of T.
  BP_MATH_INLINE static unsigned weight(int player, unsigned x, unsigned t) {
    const unsigned all = 0u - t;
    const unsigned flipped = digit_add(digit_subtract(0, x), player == 0 ? 1 : 0);
    return (x & ~all) | (flipped & all);
  }
  /// c of digit j. `above`: W, or any number that is W mod Prime.
  BP_MATH_INLINE static unsigned term(int player, int j, unsigned x, unsigned t,
                                      const Choices& choices, unsigned above) {
    const unsigned mine = player == 0 ? 1 : 0;
    const unsigned constant = 1 + t - (2 * t & choices.beta);
    const unsigned own = (x & choices.beta) | (digit_subtract(0, x) & ~choices.beta);
    const unsigned sum = (own + mine * constant + above) % Prime;
    const unsigned none = j == 0 ? 0 : mine;
    return (none & choices.zero) | (sum & ~choices.zero);
  }

  /// What a player sends of a term: times a common factor, not 0 mod Prime and below 2^16, plus
  /// (P0) or minus (P1) a common mask. Without the mask P2, who deals digits itself, could tell
  /// terms by their shares.
  BP_MATH_INLINE static std::uint8_t blind(int player, unsigned term, unsigned factor,
                                           unsigned mask) {
    const unsigned scaled = term * factor % Prime;
    return static_cast<std::uint8_t>(player == 0 ? digit_add(scaled, mask)
                                                 : digit_subtract(scaled, mask));
  }

  /// Where term `digit` goes, `flips` a common number below Bits, a power of two. There is one zero
  /// or none, so that permutations that take it anywhere alike hide as much as all would.
  BP_MATH_INLINE static unsigned place(unsigned digit, unsigned flips) { return digit ^ flips; }

  // ShareConvert: a shared mod L, a != L - 1, becomes a share mod L - 1.

  /// P0's and P1's common randomness: r = r0 + r1 mod L, and eta2.
  struct ConvertMask {
    Word r0 = 0;
    Word r1 = 0;
    bool eta2 = false;
    BP_MATH_INLINE Word r() const { return (r0 + r1) & kMask; }
    BP_MATH_INLINE Word mine(int player) const { return player == 0 ? r0 : r1; }
  };
  /// P2's half: of what was sent it deals the bits of `sum`, and `wrapped`.
  struct ConvertSum {
    Word sum = 0;
    Word wrapped = 0;
  };
  BP_MATH_INLINE static ConvertSum convert_sum(Word masked0, Word masked1) {
    return {(masked0 + masked1) & kMask, wrap(masked0, masked1)};
  }
  /// The share mod L - 1. wrapped, eta1: shares mod L - 1 of what P2 dealt.
  ///   theta = beta_0 + beta_1 - alpha + wrapped + eta - 1,  eta = eta1 ^ eta2,  y = a - theta
  BP_MATH_INLINE static Word convert_finish(int player, Word a, const ConvertMask& mask,
                                            Word wrapped, Word eta1) {
    Word theta = odd_add(wrap(a, mask.mine(player)), wrapped);
    Word flips = static_cast<Word>(mask.eta2);  // eta = eta2 + (1 - 2 eta2) eta1
    BP_MATH_OPAQUE(flips);
    const Word all = 0 - flips;
    theta = odd_add(theta, (eta1 & ~all) | (odd_negate(eta1) & all));
    if (player == 0) {
      theta = odd_subtract(theta, wrap(mask.r0, mask.r1));
      theta = odd_subtract(theta, 1 - flips);
    }
    return odd_subtract(odd_reduce(a), theta);
  }

  // ComputeMSB: of y shared mod L - 1, with a dealt x, its bits and its lowest bit.

  /// gamma = beta ^ (P2's answer), a share mod L of it: whether x > r.
  BP_MATH_INLINE static Word xor_public(int player, Word share, bool bit) {
    const Word flips = bit ? 1 : 0;
    return ((player == 0 ? flips : 0) + share * (1 - 2 * flips)) & kMask;
  }
};

using Product = Formulas<64, 67>;

/// Nonzero digits mod 67: factors are drawn by their exponents, and 2's powers are all of them.
inline constexpr unsigned kFactors = 66;
inline constexpr unsigned kGenerator = 2;

/// `count` powers of the generator, by steps of `step`, 7 bits each from the lowest on.
constexpr std::uint64_t powers_in_a_word(int step, int count) {
  std::uint64_t word = 0;
  unsigned power = 1;
  for (int i = 0; i < count; ++i) {
    word |= std::uint64_t{power} << (7 * i);
    for (int k = 0; k < step; ++k) power = power * kGenerator % Product::kPrime;
  }
  return word;
}
/// A number that is 2^exponent mod 67, below 2^13, for exponent < 66; some number, for what a GPU's
/// idle threads hold. The tables are constants that are shifted, since addresses would tell.
BP_MATH_INLINE unsigned factor_of(unsigned exponent) {
  constexpr std::uint64_t kLow = powers_in_a_word(1, 8);
  constexpr std::uint64_t kHigh = powers_in_a_word(8, 9);
  const auto low = static_cast<unsigned>(kLow >> (7 * (exponent & 7))) & 127;
  const auto high = static_cast<unsigned>(kHigh >> (7 * (exponent >> 3) & 63)) & 127;
  return low * high;
}

/// Digits of an element; and bytes that they take on the wire, 7 bits each.
inline constexpr int kDigits = 64;
inline constexpr int kPackedBytes = 56;

}  // namespace beaverpond::securenn
