// What SecureNN's players do to words, element by element: a step is a formula with the tensors it
// works on. The CPU calls it in a loop, a GPU has a thread for every element. Shares are additive;
// "odd" words are mod 2^64 - 1 and below it; packed bits are element i's at bit i mod 64 of word
// i / 64. What is written may be what is read, at the same element.
#pragma once

#include <cstdint>

#include "kernels/math/securenn.h"

namespace beaverpond::securenn {

using Word = std::uint64_t;

BP_MATH_INLINE Word packed_bit(const Word* packed, std::uint64_t i) {
  return (packed[i / 64] >> (i % 64)) & 1;
}

/// out ^= x.
struct XorWords {
  const Word* x;
  Word* out;
  BP_MATH_INLINE void operator()(std::uint64_t i) const { out[i] ^= x[i]; }
};

// Odd words.

/// words: any, reduced.
struct ReduceOdd {
  Word* words;
  BP_MATH_INLINE void operator()(std::uint64_t i) const {
    words[i] = Product::odd_reduce(words[i]);
  }
};
/// out += x.
struct AddOdd {
  const Word* x;
  Word* out;
  BP_MATH_INLINE void operator()(std::uint64_t i) const { out[i] = Product::odd_add(out[i], x[i]); }
};
/// out -= x, where x is any word.
struct SubtractOdd {
  const Word* x;
  Word* out;
  BP_MATH_INLINE void operator()(std::uint64_t i) const {
    out[i] = Product::odd_subtract(out[i], Product::odd_reduce(x[i]));
  }
};

// ShareConvert of 2x.

/// out = 2x + mask: what P2 gets.
struct MaskDouble {
  const Word *x, *mask;
  Word* out;
  BP_MATH_INLINE void operator()(std::uint64_t i) const { out[i] = 2 * x[i] + mask[i]; }
};
/// P2: sum = what it got from both, wrapped = whether that wrapped.
struct ConvertSum {
  const Word* other;
  Word *sum, *wrapped;
  BP_MATH_INLINE void operator()(std::uint64_t i) const {
    const Product::ConvertSum made = Product::convert_sum(sum[i], other[i]);
    sum[i] = made.sum;
    wrapped[i] = made.wrapped;
  }
};
/// y = the share mod 2^64 - 1. eta2: packed bits.
struct FinishConvert {
  int player;
  const Word *x, *r0, *r1, *eta2, *wrapped, *eta1;
  Word* y;
  BP_MATH_INLINE void operator()(std::uint64_t i) const {
    const Product::ConvertMask mask{r0[i], r1[i], packed_bit(eta2, i) != 0};
    y[i] = Product::convert_finish(player, 2 * x[i], mask, wrapped[i], eta1[i]);
  }
};

// ComputeMSB.

/// y = 2y + x, odd: what is opened.
struct MaskOddDouble {
  const Word* x;
  Word* y;
  BP_MATH_INLINE void operator()(std::uint64_t i) const {
    y[i] = Product::odd_add(Product::odd_add(y[i], y[i]), x[i]);
  }
};
/// gamma ^= beta and lambda ^= the opened word's lowest bit, both shares. beta: packed bits.
struct FlipBits {
  int player;
  const Word *beta, *opened;
  Word *gamma, *lambda;
  BP_MATH_INLINE void operator()(std::uint64_t i) const {
    gamma[i] = Product::xor_public(player, gamma[i], packed_bit(beta, i) != 0);
    lambda[i] = Product::xor_public(player, lambda[i], (opened[i] & 1) != 0);
  }
};
/// out = 1 - (gamma ^ lambda), from their product in `out`.
struct NotXor {
  int player;
  const Word *gamma, *lambda;
  Word* out;
  BP_MATH_INLINE void operator()(std::uint64_t i) const {
    out[i] = (player == 0 ? 1 : 0) - (gamma[i] + lambda[i] - 2 * out[i]);
  }
};

// Products of scalars, and fused ReLU.

/// out = share of the product, from the dealt one in `out` and shares of its masks a and b. mine,
/// theirs: the shares of x - a, then of y - b, `count` each. Beaver 1991.
struct FinishTriple {
  bool designated;
  std::uint64_t count;
  const Word *a, *b, *mine, *theirs;
  Word* out;
  BP_MATH_INLINE void operator()(std::uint64_t i) const {
    const Word e = mine[i] + theirs[i];
    const Word f = mine[count + i] + theirs[count + i];
    const Word all = Word{0} - static_cast<Word>(designated);
    out[i] += e * (b[i] + (f & all)) + a[i] * f;
  }
};
/// P2: out = t = found ^ the mask's top bit, then t times the mask. found: packed bits.
struct DealFused {
  std::uint64_t count;
  const Word *found, *mask;
  Word* out;
  BP_MATH_INLINE void operator()(std::uint64_t i) const {
    const Word t = packed_bit(found, i) ^ (mask[i] >> 63);
    out[i] = t;
    out[count + i] = t * mask[i];
  }
};
/// bit = [x >= 0] and relu = [x bit], from the opened c = x + r and shares of r, t and r t.
struct FinishFused {
  int player;
  std::uint64_t count;
  const Word *c, *beta, *r, *dealt;
  Word *relu, *bit;
  BP_MATH_INLINE void operator()(std::uint64_t i) const {
    const Word e = 1 ^ (c[i] >> 63) ^ packed_bit(beta, i);
    const Word all = Word{0} - e;  // e is P2's no more than a branch on it
    const Word rt = dealt[count + i];
    const Word masked = (rt ^ all) - all + (r[i] & all);  // r bit: rt, or r - rt where e
    bit[i] = Product::xor_public(player, dealt[i], e != 0);
    relu[i] = c[i] * bit[i] - masked;
  }
};

// What is dealt.

/// out = packed bits, one a word.
struct SpreadBits {
  const Word* packed;
  Word* out;
  BP_MATH_INLINE void operator()(std::uint64_t i) const { out[i] = packed_bit(packed, i); }
};
/// A converted sign's x, in the clear, from both players' words; lowest = its lowest bit.
struct SumOdd {
  Word *x, *lowest;  ///< `lowest` holds the second player's words
  BP_MATH_INLINE void operator()(std::uint64_t i) const {
    x[i] = Product::odd_add(Product::odd_reduce(x[i]), Product::odd_reduce(lowest[i]));
    lowest[i] = x[i] & 1;
  }
};

}  // namespace beaverpond::securenn
