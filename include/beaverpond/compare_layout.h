// Byte layout of the material that comparisons, truncations and ReLU spend: the contract between
// plan (how much), dealer (what) and engine (where). Formulas: kernels/README.md.
//
// Elements are taken in blocks of 64 * plane_words. Bits are planes: bit i of plane word w belongs
// to element 64 w + i of the block. Per block there is one record in the mask stream and one in the
// correction; a comparison of n elements has ceil(n / block) records of each.
#pragma once

#include <cstdint>

#include "beaverpond/check.h"

namespace beaverpond {

enum class CompareUse : std::uint8_t {
  kTruncate,          ///< floor(x / 2^shift)
  kReluTruncate,      ///< that, times [x >= 0], and the bit
  kTruncateTimesBit,  ///< that, times a bit whose mask another entry made
  kRelu,              ///< max(x, 0) and the bit, no truncation
  kMultiplyBit,       ///< x times a bit whose mask another entry made
};

/// How comparisons trade rounds against dealt bytes. A field of the plan: dealer and players alike.
enum class CompareProfile : std::uint8_t {
  kLan = 0,  ///< chunks of 4 bits, nodes of 4, a root: 4 rounds, about 88 bytes dealt
  kWan = 1,  ///< chunks of 8 bits, one node, where that saves a round: 3 rounds, about 330 bytes
};

constexpr const char* to_string(CompareProfile profile) {
  return profile == CompareProfile::kWan ? "wan" : "lan";
}

/// Joins (g, p) pairs, up to five or, in a wide layout, kMaxWideInputs, the least significant
/// first: G = g_{k-1} ^ p_{k-1} g_{k-2} ^ ... ^ p_{k-1}...p_1 g_0 and P = p_{k-1}...p_0. Opened
/// wires, in order: the p (p_0 only if wants_p), then g_0 .. g_{k-2}; none if k = 1. Dealt
/// products, in order: all sets of two or more p wires, as ascending bit masks; then for every j <
/// k-1, g_j times each non-empty set of {p_{j+1} .. p_{k-1}}, ascending.
struct CompareNode {
  static constexpr int kMaxInputs = 5;
  static constexpr int kMaxWideInputs = 9;

  int inputs = 0;
  bool wants_p = false;
  int first_input = 0;     ///< first chunk (leaf nodes) or first node (root)
  int wire_offset = 0;     ///< in planes, within the planes opened in this node's round
  int mask_offset = 0;     ///< in planes, of this node's wire masks within the mask planes
  int product_offset = 0;  ///< in planes, within the product planes

  constexpr int p_wires() const { return inputs < 2 ? 0 : inputs - 1 + (wants_p ? 1 : 0); }
  constexpr int wires() const { return inputs < 2 ? 0 : p_wires() + inputs - 1; }
  constexpr int products() const {
    if (inputs < 2) return 0;
    int count = (1 << p_wires()) - 1 - p_wires();
    for (int j = 0; j + 1 < inputs; ++j) count += (1 << (inputs - 1 - j)) - 1;
    return count;
  }
};

struct CompareChunk {
  int low_bit = 0;
  int bits = 0;
  int table_offset = 0;  ///< in planes; 2^bits one-hot planes
};

struct CompareLayout {
  static constexpr int kMaxChunks = 18;
  static constexpr int kMaxNodes = 5;

  CompareUse use = CompareUse::kTruncate;
  int ring_bits = 64;
  int chunk_bits = 4;
  int shift = 0;
  int plane_words = 8;
  bool wants_low = false;   ///< needs [c mod 2^shift < r mod 2^shift]
  bool wants_sign = false;  ///< needs the sign of x
  bool wide = false;        ///< one node joins all chunks; there is no root

  int chunks = 0;
  CompareChunk chunk[kMaxChunks];
  int nodes = 0;
  CompareNode node[kMaxNodes];
  int low_chunks = 0;  ///< chunks 0 .. low_chunks-1 cover bits [0, shift)
  int low_nodes = 0;   ///< so do nodes 0 .. low_nodes-1; not in a wide layout
  bool has_root = false;
  CompareNode root;

  // Planes opened in each round after the first.
  int leaf_wires = 0;
  int final_bits = 0;  ///< delta (if wants_sign), then lambda (if wants_low)

  // Mask record: r words; then planes: b (if wants_sign), b2 (if wants_low), leaf wire masks, root
  // wire masks.
  int b_plane = -1;
  int b2_plane = -1;
  int mask_planes = 0;
  // Correction record: table planes, product planes, r_top plane (if wants_sign); packed words
  // r_top and b r_top (ceil(shift / 8) bytes each); words R, b2, b, b R, b b2 where used.
  int table_planes = 0;
  int product_planes = 0;
  int packed_bytes = 0;   ///< bytes of one packed word
  int packed_arrays = 0;  ///< 0, 1 (r_top) or 2 (r_top, b r_top)
  int word_arrays = 0;
  int word_R = -1;
  int word_b2 = -1;
  int word_b = -1;
  int word_bR = -1;  ///< for kRelu and kMultiplyBit: b times the whole mask
  int word_bb2 = -1;

  /// Rounds of one comparison: the words, leaf wires, root wires, delta and lambda.
  constexpr int rounds() const {
    return 1 + (leaf_wires > 0 ? 1 : 0) + (has_root ? 1 : 0) +
           (final_bits > 0 && nodes > 0 ? 1 : 0);
  }
  constexpr std::uint64_t block_elements() const { return std::uint64_t{64} * plane_words; }
  constexpr std::uint64_t plane_bytes() const { return std::uint64_t{8} * plane_words; }
  constexpr std::uint64_t word_array_bytes() const { return block_elements() * 8; }
  constexpr std::uint64_t mask_planes_offset() const { return word_array_bytes(); }
  constexpr std::uint64_t mask_record_bytes() const {
    return word_array_bytes() + plane_bytes() * mask_planes;
  }
  constexpr std::uint64_t products_offset() const { return plane_bytes() * table_planes; }
  constexpr std::uint64_t top_plane_offset() const {
    return products_offset() + plane_bytes() * product_planes;
  }
  constexpr std::uint64_t packed_offset() const {
    return top_plane_offset() + (wants_sign ? plane_bytes() : 0);
  }
  constexpr std::uint64_t packed_array_bytes() const { return block_elements() * packed_bytes; }
  constexpr std::uint64_t words_offset() const {
    return packed_offset() + packed_array_bytes() * packed_arrays;
  }
  constexpr std::uint64_t word_offset(int array) const {
    return words_offset() + word_array_bytes() * array;
  }
  constexpr std::uint64_t correction_record_bytes() const {
    return words_offset() + word_array_bytes() * word_arrays;
  }
  constexpr std::uint64_t blocks(std::uint64_t count) const {
    return (count + block_elements() - 1) / block_elements();
  }
};

namespace compare_layout_detail {

/// Cuts bits [low, high) into chunks and these into nodes, both from the bottom.
inline void add_segment(CompareLayout& layout, int low, int high) {
  const int first_chunk = layout.chunks;
  for (int bit = low; bit < high; bit += layout.chunk_bits) {
    BP_CHECK(layout.chunks < CompareLayout::kMaxChunks, "too many chunks");
    CompareChunk& chunk = layout.chunk[layout.chunks++];
    chunk.low_bit = bit;
    chunk.bits = high - bit < layout.chunk_bits ? high - bit : layout.chunk_bits;
    chunk.table_offset = layout.table_planes;
    layout.table_planes += 1 << chunk.bits;
  }
  if (layout.wide) return;
  for (int chunk = first_chunk; chunk < layout.chunks; chunk += 4) {
    BP_CHECK(layout.nodes < CompareLayout::kMaxNodes, "too many nodes");
    CompareNode& node = layout.node[layout.nodes];
    node.inputs = layout.chunks - chunk < 4 ? layout.chunks - chunk : 4;
    node.first_input = chunk;
    node.wants_p = layout.nodes != 0;  // nothing lies below the first node
    ++layout.nodes;
  }
}

inline void place_node(CompareLayout& layout, CompareNode& node, int& wire_offset) {
  node.wire_offset = wire_offset;
  node.mask_offset = layout.mask_planes;
  node.product_offset = layout.product_planes;
  wire_offset += node.wires();
  layout.mask_planes += node.wires();
  layout.product_planes += node.products();
}

inline void place_words(CompareLayout& layout) {
  const CompareUse use = layout.use;
  if (layout.wants_low) {
    layout.packed_bytes = (layout.shift + 7) / 8;
    layout.packed_arrays = use == CompareUse::kTruncate ? 1 : 2;
    layout.word_R = layout.word_arrays++;
    layout.word_b2 = layout.word_arrays++;
  }
  if (layout.wants_sign) layout.word_b = layout.word_arrays++;
  if (use != CompareUse::kTruncate) layout.word_bR = layout.word_arrays++;
  if (layout.wants_low && use != CompareUse::kTruncate) layout.word_bb2 = layout.word_arrays++;
}

}  // namespace compare_layout_detail

namespace compare_layout_detail {

inline CompareLayout make(CompareUse use, int shift, bool wide, int ring_bits, int chunk_bits,
                          int plane_words) {
  namespace detail = compare_layout_detail;
  CompareLayout layout;
  layout.wide = wide;
  layout.use = use;
  layout.ring_bits = ring_bits;
  layout.chunk_bits = chunk_bits;
  layout.plane_words = plane_words;
  layout.shift = shift;
  layout.wants_low = use == CompareUse::kTruncate || use == CompareUse::kReluTruncate ||
                     use == CompareUse::kTruncateTimesBit;
  layout.wants_sign = use == CompareUse::kReluTruncate || use == CompareUse::kRelu;
  BP_CHECK(!layout.wants_low || (shift >= 1 && shift <= ring_bits - 2), "shift out of range");
  if (layout.wants_low) detail::add_segment(layout, 0, shift);
  layout.low_chunks = layout.chunks;
  layout.low_nodes = layout.nodes;
  if (layout.wants_sign) detail::add_segment(layout, layout.wants_low ? shift : 0, ring_bits - 1);
  layout.wide = wide && layout.chunks > 0;
  if (layout.wide) {
    BP_CHECK(layout.chunks <= CompareNode::kMaxWideInputs, "too many chunks for one node");
    layout.nodes = 1;
    layout.node[0].inputs = layout.chunks;
  }

  if (layout.wants_sign) layout.b_plane = layout.mask_planes++;
  if (layout.wants_low) layout.b2_plane = layout.mask_planes++;
  for (int i = 0; i < layout.nodes; ++i) {
    detail::place_node(layout, layout.node[i], layout.leaf_wires);
  }
  layout.has_root = layout.nodes > 1;
  if (layout.has_root) {
    layout.root.inputs = layout.nodes;
    int wire_offset = 0;
    detail::place_node(layout, layout.root, wire_offset);
  }
  layout.final_bits = (layout.wants_sign ? 1 : 0) + (layout.wants_low ? 1 : 0);
  detail::place_words(layout);
  return layout;
}

}  // namespace compare_layout_detail

/// The layout for a use and shift (1 .. ring_bits-3 for the truncating uses, else 0): nodes of four
/// and a root. The defaults are the product's; the security tests take a toy ring.
inline CompareLayout make_compare_layout(CompareUse use, int shift, int ring_bits = 64,
                                         int chunk_bits = 4, int plane_words = 8) {
  return compare_layout_detail::make(use, shift, false, ring_bits, chunk_bits, plane_words);
}

/// Likewise, with one node for all chunks.
inline CompareLayout make_wide_compare_layout(CompareUse use, int shift, int ring_bits = 64,
                                              int chunk_bits = 8, int plane_words = 8) {
  return compare_layout_detail::make(use, shift, true, ring_bits, chunk_bits, plane_words);
}

/// What a plan of this profile takes: of the layouts with the fewest rounds that the profile allows
/// the smaller one.
inline CompareLayout make_compare_layout(CompareUse use, int shift, CompareProfile profile) {
  const CompareLayout narrow = make_compare_layout(use, shift);
  if (profile == CompareProfile::kLan) return narrow;
  const CompareLayout wide = make_wide_compare_layout(use, shift);
  return wide.rounds() < narrow.rounds() ? wide : narrow;
}

}  // namespace beaverpond
