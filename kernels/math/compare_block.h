// One block of a comparison, round by round: the player's side and the dealer's. Pure functions
// over records in the layout of include/beaverpond/compare_layout.h; see compare.h for the
// formulas.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/math/compare.h"
#include "kernels/math/truncation.h"

namespace beaverpond::math {

/// Planes of shares that a player keeps between rounds, per block.
struct KeptPlanes {
  static constexpr int kG = 0;                               ///< G of every node
  static constexpr int kP = CompareLayout::kMaxNodes;        ///< P of every node
  static constexpr int kTop = 2 * CompareLayout::kMaxNodes;  ///< top bit of c (public)
  static constexpr int kCount = kTop + 1;
};

template <class Target, class R>
struct CompareBlock {
  using Plane = typename Target::Plane;
  using Math = Compare<Target>;
  static constexpr int kElements = 64 * Target::kWords;
  static constexpr int kMaxWires = 36;
  static constexpr int kMaxProducts = 128;

  static BP_MATH_INLINE void load(const std::uint8_t* from, Plane* planes, int count) {
    std::memcpy(planes, from, sizeof(Plane) * static_cast<std::size_t>(count));
  }

  /// Bit planes of kElements words.
  static BP_MATH_INLINE void planes_of(const std::uint64_t* words, Plane* planes) {
    std::uint64_t lanes[64][Target::kWords];
    for (int w = 0; w < Target::kWords; ++w) {
      for (int i = 0; i < 64; ++i) lanes[i][w] = words[64 * w + i];
    }
    std::memcpy(planes, lanes, sizeof lanes);
    Math::transpose(planes);
  }

  /// Round 2: from the open words c to the shares of the leaf wires, masked.
  static BP_MATH_INLINE void leaves(const CompareLayout& layout, const std::uint64_t* c,
                                    const std::uint8_t* tables, const std::uint8_t* mask_planes,
                                    Plane* kept, Plane* wires) {
    Plane bits[64];
    planes_of(c, bits);
    kept[KeptPlanes::kTop] = bits[R::kRingBits - 1];
    Plane g[CompareLayout::kMaxChunks];
    Plane p[CompareLayout::kMaxChunks];
    for (int i = 0; i < layout.chunks; ++i) {
      const CompareChunk& chunk = layout.chunk[i];
      Plane at[16];
      Plane table[16];
      Math::one_hot(bits + chunk.low_bit, chunk.bits, at);
      load(tables + sizeof(Plane) * static_cast<std::size_t>(chunk.table_offset), table,
           1 << chunk.bits);
      Math::look_up(at, table, chunk.bits, g[i], p[i]);
    }
    for (int i = 0; i < layout.nodes; ++i) {
      const CompareNode& node = layout.node[i];
      Plane masks[kMaxWires];
      load(mask_planes + sizeof(Plane) * static_cast<std::size_t>(node.mask_offset), masks,
           node.wires());
      Plane* out = wires + node.wire_offset;
      Math::node_wires(node, g + node.first_input, p + node.first_input, out);
      for (int w = 0; w < node.wires(); ++w) out[w] ^= masks[w];
      kept[KeptPlanes::kG + i] = g[node.first_input + node.inputs - 1];
      kept[KeptPlanes::kP + i] = p[node.first_input];
    }
  }

  /// Shares of every leaf node's G and P, in place in `kept`; then the root's wires, masked.
  static BP_MATH_INLINE void nodes(const CompareLayout& layout, const Plane* opened,
                                   const std::uint8_t* mask_planes,
                                   const std::uint8_t* product_planes, Plane one, Plane* kept,
                                   Plane* wires) {
    for (int i = 0; i < layout.nodes; ++i) {
      const CompareNode& node = layout.node[i];
      Plane masks[kMaxWires];
      Plane products[kMaxProducts];
      load(mask_planes + sizeof(Plane) * static_cast<std::size_t>(node.mask_offset), masks,
           node.wires());
      load(product_planes + sizeof(Plane) * static_cast<std::size_t>(node.product_offset), products,
           node.products());
      Plane& G = kept[KeptPlanes::kG + i];
      Plane& P = kept[KeptPlanes::kP + i];
      Math::node_close(node, opened + node.wire_offset, masks, products, one, G, P, G, P);
    }
    if (!layout.has_root) return;
    Plane masks[kMaxWires];
    load(mask_planes + sizeof(Plane) * static_cast<std::size_t>(layout.root.mask_offset), masks,
         layout.root.wires());
    Math::node_wires(layout.root, kept + KeptPlanes::kG, kept + KeptPlanes::kP, wires);
    for (int w = 0; w < layout.root.wires(); ++w) wires[w] ^= masks[w];
  }

  /// Shares of delta = d ^ b and lambda = low ^ b2, as the layout wants them.
  static BP_MATH_INLINE void root(const CompareLayout& layout, const Plane* opened,
                                  const std::uint8_t* mask_planes,
                                  const std::uint8_t* product_planes, const std::uint8_t* top_plane,
                                  Plane one, const Plane* kept, Plane* out) {
    Plane less{};
    Plane low{};
    if (layout.nodes > 0) less = low = kept[KeptPlanes::kG];
    if (layout.has_root) {
      const CompareNode& node = layout.root;
      Plane masks[kMaxWires];
      Plane products[kMaxProducts];
      load(mask_planes + sizeof(Plane) * static_cast<std::size_t>(node.mask_offset), masks,
           node.wires());
      load(product_planes + sizeof(Plane) * static_cast<std::size_t>(node.product_offset), products,
           node.products());
      Plane unused;
      Math::node_close(node, opened, masks, products, one, kept[KeptPlanes::kG + node.inputs - 1],
                       one, less, unused);
      if (layout.low_nodes == layout.nodes) {
        low = less;
      } else if (layout.low_nodes > 1) {
        low = Math::low_from_root(node, layout.low_nodes, opened, masks, products, one,
                                  kept[KeptPlanes::kG + layout.low_nodes - 1]);
      }
    }
    int at = 0;
    if (layout.wants_sign) {
      // d = [x >= 0]: x = c - r, so its top bit is c_top ^ r_top ^ [c mod 2^(w-1) < r mod 2^(w-1)].
      Plane r_top;
      Plane b;
      load(top_plane, &r_top, 1);
      load(mask_planes + sizeof(Plane) * static_cast<std::size_t>(layout.b_plane), &b, 1);
      out[at++] = (one & ~kept[KeptPlanes::kTop]) ^ r_top ^ less ^ b;
    }
    if (layout.wants_low) {
      Plane b2;
      load(mask_planes + sizeof(Plane) * static_cast<std::size_t>(layout.b2_plane), &b2, 1);
      out[at++] = low ^ b2;
    }
  }

  static BP_MATH_INLINE std::uint64_t word(const std::uint8_t* array, int i) {
    std::uint64_t value;
    std::memcpy(&value, array + 8 * static_cast<std::size_t>(i), 8);
    return value;
  }
  /// A packed word; bytes of its neighbour come along above and are shifted out by the formulas.
  static BP_MATH_INLINE std::uint64_t packed(const std::uint8_t* array, int bytes, int i) {
    std::uint64_t value;
    std::memcpy(&value, array + static_cast<std::size_t>(bytes) * static_cast<std::size_t>(i), 8);
    return value;
  }
  static BP_MATH_INLINE std::uint64_t bit(const std::uint64_t* plane, int i) {
    return (plane[i >> 6] >> (i & 63)) & 1;
  }

  /// The result's shares for `count` elements; `words` is the correction record from packed_offset
  /// on. delta and lambda are planes; one = 1 on the designated sub-share. `forward_b` is read by
  /// kTruncateTimesBit and kMultiplyBit, `x` by kRelu and kMultiplyBit.
  static BP_MATH_INLINE void finish(const CompareLayout& layout, int count, const std::uint64_t* c,
                                    const std::uint64_t* delta, const std::uint64_t* lambda,
                                    const std::uint8_t* words, std::uint64_t one,
                                    const std::uint64_t* x, const std::uint64_t* forward_b,
                                    std::uint64_t* out, std::uint64_t* b_out) {
    const std::uint8_t* top = words;
    const std::uint8_t* b_top = words + layout.packed_array_bytes();
    const std::uint8_t* arrays =
        words + layout.packed_array_bytes() * static_cast<std::uint64_t>(layout.packed_arrays);
    const auto array = [&](int index) {
      return arrays + layout.word_array_bytes() * static_cast<std::uint64_t>(index < 0 ? 0 : index);
    };
    const std::uint8_t* const r_high = array(layout.word_R);
    const std::uint8_t* const b2 = array(layout.word_b2);
    const std::uint8_t* const dealt_b = array(layout.word_b);
    const std::uint8_t* const b_r = array(layout.word_bR);
    const std::uint8_t* const b_b2 = array(layout.word_bb2);
    const int shift = layout.shift;
    const int nb = layout.packed_bytes;
    if (layout.wants_sign && b_out != nullptr) {
      for (int i = 0; i < count; ++i) b_out[i] = word(dealt_b, i);
    }
    switch (layout.use) {
      case CompareUse::kTruncate:
        for (int i = 0; i < count; ++i) {
          const PublicTruncation t = public_truncation<R>(c[i], bit(lambda, i), shift);
          out[i] = truncated<R>(t, one, word(r_high, i), word(b2, i), packed(top, nb, i), shift);
        }
        return;
      case CompareUse::kReluTruncate:
        for (int i = 0; i < count; ++i) {
          const PublicTruncation t = public_truncation<R>(c[i], bit(lambda, i), shift);
          const std::uint64_t y =
              truncated<R>(t, one, word(r_high, i), word(b2, i), packed(top, nb, i), shift);
          const std::uint64_t by = truncated_times_b<R>(t, word(dealt_b, i), word(b_r, i),
                                                        word(b_b2, i), packed(b_top, nb, i), shift);
          out[i] = times_bit<R>(bit(delta, i), y, by);
        }
        return;
      case CompareUse::kTruncateTimesBit:
        for (int i = 0; i < count; ++i) {
          const PublicTruncation t = public_truncation<R>(c[i], bit(lambda, i), shift);
          const std::uint64_t y =
              truncated<R>(t, one, word(r_high, i), word(b2, i), packed(top, nb, i), shift);
          const std::uint64_t by = truncated_times_b<R>(t, forward_b[i], word(b_r, i),
                                                        word(b_b2, i), packed(b_top, nb, i), shift);
          out[i] = times_bit<R>(bit(delta, i), y, by);
        }
        return;
      case CompareUse::kRelu:
        for (int i = 0; i < count; ++i) {
          // b x = c b - b r
          const std::uint64_t bx = c[i] * word(dealt_b, i) - word(b_r, i);
          out[i] = times_bit<R>(bit(delta, i), x[i], bx);
        }
        return;
      case CompareUse::kMultiplyBit:
        for (int i = 0; i < count; ++i) {
          const std::uint64_t bx = c[i] * forward_b[i] - word(b_r, i);
          out[i] = times_bit<R>(bit(delta, i), x[i], bx);
        }
        return;
    }
  }

  /// The dealer: the clear content of one correction record, from the clear masks: r (words), the
  /// mask planes, and b of this or the forward entry. `record` receives correction_record_bytes.
  static BP_MATH_INLINE void deal(const CompareLayout& layout, const std::uint64_t* r,
                                  const std::uint8_t* mask_planes, const Plane& b_plane,
                                  std::uint8_t* record) {
    const auto store = [record](std::uint64_t offset, const Plane* planes, int count) {
      std::memcpy(record + offset, planes, sizeof(Plane) * static_cast<std::size_t>(count));
    };
    Plane bits[64];
    planes_of(r, bits);
    for (int i = 0; i < layout.chunks; ++i) {
      const CompareChunk& chunk = layout.chunk[i];
      Plane table[16];
      Math::one_hot(bits + chunk.low_bit, chunk.bits, table);
      store(sizeof(Plane) * static_cast<std::size_t>(chunk.table_offset), table, 1 << chunk.bits);
    }
    for (int i = 0; i <= layout.nodes; ++i) {
      if (i == layout.nodes && !layout.has_root) break;
      const CompareNode& node = i == layout.nodes ? layout.root : layout.node[i];
      Plane masks[kMaxWires];
      Plane products[kMaxProducts];
      load(mask_planes + sizeof(Plane) * static_cast<std::size_t>(node.mask_offset), masks,
           node.wires());
      Math::deal_products(node, masks, products);
      store(
          layout.products_offset() + sizeof(Plane) * static_cast<std::size_t>(node.product_offset),
          products, node.products());
    }
    if (layout.wants_sign) store(layout.top_plane_offset(), &bits[R::kRingBits - 1], 1);
    deal_words(layout, r, mask_planes, b_plane, record);
  }

  static BP_MATH_INLINE void deal_words(const CompareLayout& layout, const std::uint64_t* r,
                                        const std::uint8_t* mask_planes, const Plane& b_plane,
                                        std::uint8_t* record) {
    std::uint64_t b_bits[Target::kWords];
    std::uint64_t b2_bits[Target::kWords] = {};
    std::memcpy(b_bits, &b_plane, sizeof b_bits);
    if (layout.wants_low) {
      std::memcpy(b2_bits, mask_planes + sizeof(Plane) * static_cast<std::size_t>(layout.b2_plane),
                  sizeof b2_bits);
    }
    const auto put = [&](int array, int i, std::uint64_t value) {
      if (array >= 0) std::memcpy(record + layout.word_offset(array) + 8 * i, &value, 8);
    };
    const auto nb = static_cast<std::uint64_t>(layout.packed_bytes);
    for (int i = 0; i < kElements; ++i) {
      const std::uint64_t b = bit(b_bits, i);
      const std::uint64_t b2 = bit(b2_bits, i);
      const std::uint64_t top = r[i] >> (R::kRingBits - 1);
      const std::uint64_t high = layout.wants_low ? r[i] >> layout.shift : r[i];
      put(layout.word_R, i, high);
      put(layout.word_b2, i, b2);
      put(layout.word_b, i, b);
      put(layout.word_bR, i, b * high);
      put(layout.word_bb2, i, b & b2);
      const std::uint64_t packed_words[2] = {top, b & top};
      for (int a = 0; a < layout.packed_arrays; ++a) {
        std::memcpy(record + layout.packed_offset() +
                        layout.packed_array_bytes() * static_cast<std::uint64_t>(a) +
                        nb * static_cast<std::uint64_t>(i),
                    &packed_words[a], nb);
      }
    }
  }
};

}  // namespace beaverpond::math
