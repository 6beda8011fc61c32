// The bit formulas of comparison, truncation and ReLU on planes (protocols: Beaver 1991 for the AND
// nodes; one-hot tables looked up at public indices). Each function is one formula; none allocates,
// branches on a secret, or uses a secret as an address.
//
// `Target` names a plane type: Target::Plane has & | ^ ~ and holds 64 * Target::kWords elements.
// It is a template parameter of everything here, so that code compiled for different instruction
// sets never shares a symbol, and so that the security tests can run the same text on a toy ring.
//
// Sharing: planes are XOR shares. `one` is all ones on the designated sub-share, else zero.
#pragma once

#include <cstdint>

#include "beaverpond/compare_layout.h"
#include "kernels/math/inline.h"

namespace beaverpond::math {

/// Index of the lowest set bit of s, 0 < s < 32.
BP_MATH_INLINE constexpr int lowest_bit(int s) {
#if defined(__CUDA_ARCH__)
  return (s & 1) ? 0 : (s & 2) ? 1 : (s & 4) ? 2 : (s & 8) ? 3 : 4;  // folds away in unrolled loops
#else
  return __builtin_ctz(static_cast<unsigned>(s));
#endif
}

/// Index of the highest set bit of s > 0.
BP_MATH_INLINE int highest_bit(int s) {
#if defined(__CUDA_ARCH__)
  return 31 - __clz(s);
#else
  return 31 - __builtin_clz(static_cast<unsigned>(s));
#endif
}

template <class Target>
struct Compare {
  using Plane = typename Target::Plane;

  /// Bit planes of a block of words, rows[i] lane w = word 64 w + i: planes[j] lane w bit i = bit j
  /// of that word. Recursive 64 x 64 transposition, in place.
  static BP_MATH_INLINE void transpose(Plane* rows) {
    std::uint64_t mask = 0x00000000ffffffffull;
    for (int width = 32; width != 0; width >>= 1, mask ^= mask << width) {
      for (int i = 0; i < 64; i = ((i | width) + 1) & ~width) {
        const Plane swap = ((rows[i] >> width) ^ rows[i | width]) & Target::splat(mask);
        rows[i] ^= swap << width;
        rows[i | width] ^= swap;
      }
    }
  }

  /// Planes [c_chunk = v] for v = 0 .. 2^bits - 1: products of the chunk's bits or their
  /// complements.
  static BP_MATH_INLINE void one_hot(const Plane* bit_planes, int bits, Plane* out) {
    out[0] = ~Target::splat(0);
    BP_MATH_UNROLL
    for (int b = 0; b < bits; ++b) {
      const int half = 1 << b;
      BP_MATH_UNROLL
      for (int v = 0; v < half; ++v) {
        out[v + half] = out[v] & bit_planes[b];
        out[v] = out[v] & ~bit_planes[b];
      }
    }
  }

  /// p = oh[v] and g = XOR of oh[w], w > v, at the public v whose one-hot planes are `at`:
  /// p = [c = r], g = [c < r] on this chunk.
  static BP_MATH_INLINE void look_up(const Plane* at, const Plane* table, int bits, Plane& g,
                                     Plane& p) {
    const int size = 1 << bits;
    Plane below = Target::splat(0);  // [c < w]
    g = Target::splat(0);
    p = Target::splat(0);
    BP_MATH_UNROLL
    for (int w = 0; w < size; ++w) {
      g ^= below & table[w];
      p ^= at[w] & table[w];
      below |= at[w];
    }
  }

  /// The shares of a node's wires, in the layout's order: p from p_0 or p_1 up, then g_0 ..
  /// g_{k-2}.
  static BP_MATH_INLINE void node_wires(const CompareNode& node, const Plane* g, const Plane* p,
                                        Plane* wires) {
    if (node.inputs < 2) return;
    int at = 0;
    BP_MATH_UNROLL
    for (int i = node.wants_p ? 0 : 1; i < node.inputs; ++i) wires[at++] = p[i];
    BP_MATH_UNROLL
    for (int j = 0; j + 1 < node.inputs; ++j) wires[at++] = g[j];
  }

  /// XOR share of the AND of a monomial's wires from their opened values y_i = x_i ^ m_i and the
  /// masks' products: AND_U x = XOR over S in U of (AND of y outside S) m_S. `terms` holds m_S for
  /// S ascending and is folded one wire at a time.
  static BP_MATH_INLINE Plane fold(Plane* terms, const Plane* opened, int wires) {
    BP_MATH_UNROLL
    for (int b = wires - 1; b >= 0; --b) {
      const int half = 1 << b;
      BP_MATH_UNROLL
      for (int s = 0; s < half; ++s) terms[s] = (opened[b] & terms[s]) ^ terms[s + half];
    }
    return terms[0];
  }

  /// The masks' products of all subsets of the p wires: [] = one, singletons = wire masks.
  static BP_MATH_INLINE void p_subsets(const CompareNode& node, const Plane* masks,
                                       const Plane* products, Plane one, Plane* subsets) {
    const int wires = node.p_wires();
    subsets[0] = one;
    int product = 0;
    BP_MATH_UNROLL
    for (int s = 1; s < (1 << wires); ++s) {
      const bool single = (s & (s - 1)) == 0;
      subsets[s] = single ? masks[lowest_bit(s)] : products[product++];
    }
  }

  /// Where the products of g_j with p wires begin, among a node's products.
  static BP_MATH_INLINE constexpr int first_g_product(const CompareNode& node, int j) {
    int product = (1 << node.p_wires()) - 1 - node.p_wires();
    BP_MATH_UNROLL
    for (int i = 0; i < j; ++i) product += (1 << (node.inputs - 1 - i)) - 1;
    return product;
  }

  /// Share of AND(p_{k-1} .. p_{j+1}, g_j).
  static BP_MATH_INLINE Plane monomial(const CompareNode& node, int j, int top, const Plane* opened,
                                       const Plane* masks, const Plane* products,
                                       const Plane* subsets) {
    const int p_wires = node.p_wires();
    const int first_p = j + 1 - (node.wants_p ? 0 : 1);  // wire index of p_{j+1}
    const int wires = top - j;                           // p_{j+1} .. p_top
    const int product = first_g_product(node, j);
    Plane terms[1 << (CompareNode::kMaxInputs - 1)];
    BP_MATH_UNROLL
    for (int s = 0; s < (1 << wires); ++s) {
      const Plane with_g = s == 0 ? masks[p_wires + j] : products[product + s - 1];
      terms[s] = (opened[p_wires + j] & subsets[s << first_p]) ^ with_g;
    }
    return fold(terms, opened + first_p, wires);
  }

  /// Shares of G and P of a node with opened wires. g_top: share of g_{k-1}; pass_p: share of p_0,
  /// used only if the node has one input.
  static BP_MATH_INLINE void node_close(const CompareNode& node, const Plane* opened,
                                        const Plane* masks, const Plane* products, Plane one,
                                        Plane g_top, Plane pass_p, Plane& G, Plane& P) {
    G = g_top;
    P = pass_p;
    if (node.inputs < 2) return;
    Plane subsets[1 << CompareNode::kMaxInputs];
    p_subsets(node, masks, products, one, subsets);
    BP_MATH_UNROLL
    for (int j = 0; j + 1 < node.inputs; ++j) {
      G ^= monomial(node, j, node.inputs - 1, opened, masks, products, subsets);
    }
    if (node.wants_p) P = fold(subsets, opened, node.p_wires());
  }

  /// Share of the `low` comparison, read off the root's own wires without another opening:
  /// g_{L-1} ^ p_{L-1} g_{L-2} ^ ..., L = nodes below the cut, 1 < L < k.
  static BP_MATH_INLINE Plane low_from_root(const CompareNode& root, int low_nodes,
                                            const Plane* opened, const Plane* masks,
                                            const Plane* products, Plane one, Plane g_low_top) {
    Plane subsets[1 << CompareNode::kMaxInputs];
    p_subsets(root, masks, products, one, subsets);
    Plane low = g_low_top;
    BP_MATH_UNROLL
    for (int j = 0; j + 1 < low_nodes; ++j) {
      low ^= monomial(root, j, low_nodes - 1, opened, masks, products, subsets);
    }
    return low;
  }

  /// The dealer's side, in the clear: the products of all subsets of the p wires' masks.
  static BP_MATH_INLINE void deal_p_products(const CompareNode& node, const Plane* masks,
                                             Plane* subsets, Plane* products) {
    subsets[0] = ~Target::splat(0);
    BP_MATH_UNROLL
    for (int s = 1; s < (1 << node.p_wires()); ++s) {
      subsets[s] = subsets[s & (s - 1)] & masks[lowest_bit(s)];
      // Subsets of a single wire, as many as s has bits, have no place.
      if ((s & (s - 1)) != 0) products[s - 2 - highest_bit(s)] = subsets[s];
    }
  }
  /// And of g_j's mask with those of p_{j+1} and up.
  static BP_MATH_INLINE void deal_g_products(const CompareNode& node, int j, const Plane* masks,
                                             const Plane* subsets, Plane* products) {
    const int first_p = j + 1 - (node.wants_p ? 0 : 1);
    const int first = first_g_product(node, j);
    BP_MATH_UNROLL
    for (int s = 1; s < (1 << (node.inputs - 1 - j)); ++s) {
      products[first + s - 1] = subsets[s << first_p] & masks[node.p_wires() + j];
    }
  }
  /// Every product of a node's wire masks.
  static BP_MATH_INLINE void deal_products(const CompareNode& node, const Plane* masks,
                                           Plane* products) {
    if (node.inputs < 2) return;
    Plane subsets[1 << CompareNode::kMaxInputs];
    deal_p_products(node, masks, subsets, products);
    BP_MATH_UNROLL
    for (int j = 0; j + 1 < node.inputs; ++j) deal_g_products(node, j, masks, subsets, products);
  }
};

}  // namespace beaverpond::math
