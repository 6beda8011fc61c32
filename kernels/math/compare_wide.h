// The bit formulas of the wide comparison: chunks of up to 8 bits, one node for all of them. What
// compare.h does on arrays is done here in rows of sixteen, read where they lie, so that neither
// 256 table planes nor 256 sets of wires have to fit into registers. Which planes and wires, and in
// which order: include/beaverpond/compare_layout.h.
//
// Accessors (`table`, `masks`, `products`, `opened`, `high`) return plane i of what they name.
#pragma once

#include "kernels/math/compare.h"

namespace beaverpond::math {

template <class Target>
struct CompareWide {
  using Plane = typename Target::Plane;
  using Math = Compare<Target>;
  static constexpr int kRowBits = 4;
  static constexpr int kRow = 1 << kRowBits;

  /// [the chunk's bits above the lowest four = row].
  template <class High>
  static BP_MATH_INLINE Plane row_at(const High& high, int high_bits, int row) {
    Plane at = ~Target::splat(0);
    for (int b = 0; b < high_bits; ++b) {
      at &= high(b) ^ Target::splat(((row >> b) & 1) != 0 ? 0 : ~std::uint64_t{0});
    }
    return at;
  }

  /// Compare::look_up for a chunk of 4 + high_bits bits. `low_hot`: one-hot planes of the lowest
  /// four. With w = 16 row + v: [c < w] = [c_high < row] or [c_high = row] [c_low < v].
  template <class High, class Table>
  static BP_MATH_INLINE void look_up(const Plane* low_hot, const High& high, int high_bits,
                                     const Table& table, Plane& g, Plane& p) {
    Plane above = Target::splat(0);  // [c_high < row]
    g = Target::splat(0);
    p = Target::splat(0);
    for (int row = 0; row < (1 << high_bits); ++row) {
      Plane row_g = Target::splat(0);
      Plane row_p = Target::splat(0);
      Plane row_all = Target::splat(0);
      Plane below = Target::splat(0);
      BP_MATH_UNROLL
      for (int v = 0; v < kRow; ++v) {
        const Plane word = table(row * kRow + v);
        row_g ^= below & word;
        row_p ^= low_hot[v] & word;
        row_all ^= word;
        below |= low_hot[v];
      }
      const Plane at = row_at(high, high_bits, row);
      p ^= at & row_p;
      g ^= (at & row_g) ^ (above & row_all);
      above |= at;
    }
  }

  /// The dealer's side: the table of such a chunk, given to put(index, plane).
  template <class High, class Put>
  static BP_MATH_INLINE void one_hot(const Plane* low_hot, const High& high, int high_bits,
                                     const Put& put) {
    for (int row = 0; row < (1 << high_bits); ++row) {
      const Plane at = row_at(high, high_bits, row);
      BP_MATH_UNROLL
      for (int v = 0; v < kRow; ++v) put(row * kRow + v, at & low_hot[v]);
    }
  }

  /// The masks' product over set s of the p wires. Sets of two and more lie in ascending order.
  template <class Masks, class Products>
  static BP_MATH_INLINE Plane set_of(int s, const Masks& masks, const Products& products,
                                     Plane one) {
    if (s == 0) return one;
    const int top = highest_bit(s);
    return (s & (s - 1)) == 0 ? masks(top) : products(s - top - 2);
  }

  /// The first of g_j's products.
  static BP_MATH_INLINE constexpr int first_product(int inputs, int j) {
    int product = (1 << (inputs - 1)) - inputs;
    for (int i = 0; i < j; ++i) product += (1 << (inputs - 1 - i)) - 1;
    return product;
  }

  /// XOR over the sets S of p_{j+1} .. p_top whose bits from 2^low_bits up are `row`: the terms of
  /// Compare::monomial, folded over the low wires.
  template <int kLowBits, class Opened, class Masks, class Products>
  static BP_MATH_INLINE Plane row_of(int inputs, int j, int row, const Opened& opened,
                                     const Masks& masks, const Products& products, Plane one) {
    const int p_wires = inputs - 1;
    const int product = first_product(inputs, j);
    const Plane g = opened(p_wires + j);
    Plane terms[1 << kLowBits];
    BP_MATH_UNROLL
    for (int v = 0; v < (1 << kLowBits); ++v) {
      const int s = (row << kLowBits) + v;
      const Plane with_g = s == 0 ? masks(p_wires + j) : products(product + s - 1);
      terms[v] = (g & set_of(s << j, masks, products, one)) ^ with_g;
    }
    // Bounds that are constants: inside a loop nvcc unrolls no other.
    constexpr int kHalf = (1 << kLowBits) / 2;
    BP_MATH_UNROLL
    for (int b = kLowBits - 1; b >= 0; --b) {
      const Plane y = opened(j + b);
      BP_MATH_UNROLL
      for (int v = 0; v < kHalf; ++v) {
        if (v < (1 << b)) terms[v] = (y & terms[v]) ^ terms[v + (1 << b)];
      }
    }
    return terms[0];
  }

  /// Share of AND(p_top .. p_{j+1}, g_j). p_i is wire i - 1, since nothing lies below the node.
  template <class Opened, class Masks, class Products>
  static BP_MATH_INLINE Plane monomial(int inputs, int j, int top, const Opened& opened,
                                       const Masks& masks, const Products& products, Plane one) {
    const int wires = top - j;
    const int low_bits = wires < kRowBits ? 0 : kRowBits;
    Plane sum = Target::splat(0);
    for (int row = 0; row < (1 << (wires - low_bits)); ++row) {
      Plane term = low_bits == 0 ? row_of<0>(inputs, j, row, opened, masks, products, one)
                                 : row_of<kRowBits>(inputs, j, row, opened, masks, products, one);
      for (int b = 0; b < wires - low_bits; ++b) {
        if (((row >> b) & 1) == 0) term &= opened(j + low_bits + b);
      }
      sum ^= term;
    }
    return sum;
  }

  /// Shares of [c < r] over all chunks, and over the lowest `low_inputs`. g_top: share of the last
  /// chunk's g.
  template <class Opened, class Masks, class Products>
  static BP_MATH_INLINE void close(int inputs, int low_inputs, const Opened& opened,
                                   const Masks& masks, const Products& products, Plane one,
                                   Plane g_top, Plane& less, Plane& low) {
    less = low = g_top;
    if (inputs < 2) return;  // no wires
    const bool separate = low_inputs != 0 && low_inputs != inputs;
    const int g_low = inputs - 1 + (separate ? low_inputs - 1 : 0);
    const Plane low_top =
        masks(g_low) ^ (opened(g_low) & one);  // a wire: its share is mask ^ opened
    // One loop for both sums, so that their code is there once.
    BP_MATH_ROLLED
    for (int pass = 0; pass < (separate ? 2 : 1); ++pass) {
      const int top = (pass == 0 ? inputs : low_inputs) - 1;
      Plane sum = pass == 0 ? g_top : low_top;
      BP_MATH_ROLLED
      for (int j = 0; j < top; ++j) sum ^= monomial(inputs, j, top, opened, masks, products, one);
      if (pass == 0) less = sum;
      low = sum;
    }
  }

  /// The dealer's side: every product of the wire masks, in the clear, given to put(index, plane).
  /// `p_masks` has kMaxWideInputs - 1 planes, whatever the node has; g_mask(j) is that of g_j.
  template <class Masks, class Put>
  static BP_MATH_INLINE void deal_products(int inputs, const Plane* p_masks, const Masks& g_mask,
                                           const Put& put) {
    const int p_wires = inputs - 1;
    const auto set = [&](int s) {
      Plane product = ~Target::splat(0);
      BP_MATH_UNROLL
      for (int b = 0; b < CompareNode::kMaxWideInputs - 1; ++b) {
        product &= p_masks[b] | Target::splat(((s >> b) & 1) != 0 ? 0 : ~std::uint64_t{0});
      }
      return product;
    };
    int product = 0;
    for (int s = 1; s < (1 << p_wires); ++s) {
      if ((s & (s - 1)) != 0) put(product++, set(s));
    }
    for (int j = 0; j + 1 < inputs; ++j) {
      for (int s = 1; s < (1 << (inputs - 1 - j)); ++s) put(product++, set(s << j) & g_mask(j));
    }
  }
};

}  // namespace beaverpond::math
