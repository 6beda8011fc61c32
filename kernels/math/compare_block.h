// One block of a comparison, round by round: the player's side and the dealer's. Pure functions
// over records in the layout of include/beaverpond/compare_layout.h; see compare.h for the
// formulas.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/math/compare.h"
#include "kernels/math/compare_wide.h"
#include "kernels/math/truncation.h"

namespace beaverpond::math {

/// Planes of shares that a player keeps between rounds, per block.
struct KeptPlanes {
  static constexpr int kG = 0;                               ///< G of every node
  static constexpr int kLow = 1;                             ///< in a wide layout: `low`
  static constexpr int kP = CompareLayout::kMaxNodes;        ///< P of every node
  static constexpr int kTop = 2 * CompareLayout::kMaxNodes;  ///< top bit of c (public)
  static constexpr int kCount = kTop + 1;
};

template <class Target, class R>
struct CompareBlock {
  using Plane = typename Target::Plane;
  using Math = Compare<Target>;
  using Wide = CompareWide<Target>;
  static constexpr int kElements = 64 * Target::kWords;
  static constexpr int kMaxWires = 36;
  static constexpr int kMaxProducts = 128;

  static BP_MATH_INLINE void load(const std::uint8_t* from, Plane* planes, int count) {
    std::memcpy(planes, from, sizeof(Plane) * static_cast<std::size_t>(count));
  }

  /// Plane i of planes that lie in memory.
  struct Lying {
    const std::uint8_t* at;
    BP_MATH_INLINE Plane operator()(int i) const {
      Plane plane;
      std::memcpy(&plane, at + sizeof(Plane) * static_cast<std::size_t>(i), sizeof plane);
      return plane;
    }
  };

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
      if (chunk.bits > Wide::kRowBits) {
        const Plane* const high = bits + chunk.low_bit + Wide::kRowBits;
        Math::one_hot(bits + chunk.low_bit, Wide::kRowBits, at);
        Wide::look_up(
            at, [high](int b) { return high[b]; }, chunk.bits - Wide::kRowBits,
            Lying{tables + sizeof(Plane) * static_cast<std::size_t>(chunk.table_offset)}, g[i],
            p[i]);
        continue;
      }
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
    if (layout.wide) {
      const CompareNode& node = layout.node[0];
      Wide::close(
          node.inputs, layout.low_chunks, [opened](int i) { return opened[i]; },
          Lying{mask_planes + sizeof(Plane) * static_cast<std::size_t>(node.mask_offset)},
          Lying{product_planes}, one, kept[KeptPlanes::kG], kept[KeptPlanes::kG],
          kept[KeptPlanes::kLow]);
      return;
    }
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
    if (layout.wide) low = kept[KeptPlanes::kLow];
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

  /// One word, 0 or 1, for every bit of a plane.
  static BP_MATH_INLINE void spread(const std::uint64_t* plane, std::uint64_t* words) {
    for (int w = 0; w < Target::kWords; ++w) {
      for (int i = 0; i < 64; ++i) words[64 * w + i] = (plane[w] >> i) & 1;
    }
  }

  template <int kBytes>
  static BP_MATH_INLINE void load_packed(const std::uint8_t* from, std::uint64_t* words) {
    for (int i = 0; i < kElements; ++i) {
      std::uint64_t word = 0;
      std::memcpy(&word, from + kBytes * i, kBytes);
      words[i] = word;
    }
  }
  template <int kBytes>
  static BP_MATH_INLINE void store_packed(const std::uint64_t* words, std::uint8_t* to) {
    for (int i = 0; i < kElements; ++i) std::memcpy(to + kBytes * i, &words[i], kBytes);
  }
  /// Packed words of `bytes` bytes each, one constant size per loop.
  static BP_MATH_INLINE void load_packed(const std::uint8_t* from, int bytes,
                                         std::uint64_t* words) {
    switch (bytes) {
      case 1: return load_packed<1>(from, words);
      case 2: return load_packed<2>(from, words);
      case 3: return load_packed<3>(from, words);
      case 4: return load_packed<4>(from, words);
      case 5: return load_packed<5>(from, words);
      case 6: return load_packed<6>(from, words);
      case 7: return load_packed<7>(from, words);
      default: return load_packed<8>(from, words);
    }
  }
  static BP_MATH_INLINE void store_packed(const std::uint64_t* words, int bytes, std::uint8_t* to) {
    switch (bytes) {
      case 1: return store_packed<1>(words, to);
      case 2: return store_packed<2>(words, to);
      case 3: return store_packed<3>(words, to);
      case 4: return store_packed<4>(words, to);
      case 5: return store_packed<5>(words, to);
      case 6: return store_packed<6>(words, to);
      case 7: return store_packed<7>(words, to);
      default: return store_packed<8>(words, to);
    }
  }

  /// A record's arrays of shares, as words. Arrays that the use lacks are not read.
  struct WordShares {
    alignas(64) std::uint64_t r_top[kElements];
    alignas(64) std::uint64_t b_r_top[kElements];
    const std::uint64_t* r_high;
    const std::uint64_t* b2;
    const std::uint64_t* b;
    const std::uint64_t* b_r;
    const std::uint64_t* b_b2;
  };
  /// `words` is the correction record from packed_offset on, 8-byte aligned.
  static BP_MATH_INLINE void load_shares(const CompareLayout& layout, const std::uint8_t* words,
                                         WordShares& shares) {
    if (layout.packed_arrays > 0) load_packed(words, layout.packed_bytes, shares.r_top);
    if (layout.packed_arrays > 1) {
      load_packed(words + layout.packed_array_bytes(), layout.packed_bytes, shares.b_r_top);
    }
    const std::uint8_t* arrays = words + (layout.words_offset() - layout.packed_offset());
    const auto array = [&](int index) {
      return reinterpret_cast<const std::uint64_t*>(
          arrays + layout.word_array_bytes() * static_cast<std::uint64_t>(index < 0 ? 0 : index));
    };
    shares.r_high = array(layout.word_R);
    shares.b2 = array(layout.word_b2);
    shares.b = array(layout.word_b);
    shares.b_r = array(layout.word_bR);
    shares.b_b2 = array(layout.word_bb2);
  }

  /// Shares of a floor(x / 2^s) block, and of its product with the bit whose share is `b`.
  static BP_MATH_INLINE void truncate_words(int shift, int count, const std::uint64_t* c,
                                            const std::uint64_t* lambda, const WordShares& m,
                                            std::uint64_t one, std::uint64_t* out) {
    for (int i = 0; i < count; ++i) {
      const PublicTruncation t = public_truncation<R>(c[i], lambda[i], shift);
      out[i] = truncated<R>(t, one, m.r_high[i], m.b2[i], m.r_top[i], shift);
    }
  }
  static BP_MATH_INLINE void truncate_times_bit_words(int shift, int count, const std::uint64_t* c,
                                                      const std::uint64_t* delta,
                                                      const std::uint64_t* lambda,
                                                      const std::uint64_t* b, const WordShares& m,
                                                      std::uint64_t one, std::uint64_t* out) {
    for (int i = 0; i < count; ++i) {
      const PublicTruncation t = public_truncation<R>(c[i], lambda[i], shift);
      const std::uint64_t y = truncated<R>(t, one, m.r_high[i], m.b2[i], m.r_top[i], shift);
      const std::uint64_t by =
          truncated_times_b<R>(t, b[i], m.b_r[i], m.b_b2[i], m.b_r_top[i], shift);
      out[i] = times_bit<R>(delta[i], y, by);
    }
  }
  /// b x = c b - b r.
  static BP_MATH_INLINE void times_bit_words(int count, const std::uint64_t* c,
                                             const std::uint64_t* delta, const std::uint64_t* b,
                                             const std::uint64_t* b_r, const std::uint64_t* x,
                                             std::uint64_t* out) {
    for (int i = 0; i < count; ++i) {
      out[i] = times_bit<R>(delta[i], x[i], opened_times_b(c[i], b[i], b_r[i]));
    }
  }

  /// The result's shares for `count` elements; `words` is the correction record from packed_offset
  /// on. delta and lambda are planes (null where the layout has none); one = 1 on the designated
  /// sub-share. `forward_b` is read by kTruncateTimesBit and kMultiplyBit, `x` by kRelu and
  /// kMultiplyBit.
  static BP_MATH_INLINE void finish(const CompareLayout& layout, int count, const std::uint64_t* c,
                                    const std::uint64_t* delta_plane,
                                    const std::uint64_t* lambda_plane, const std::uint8_t* words,
                                    std::uint64_t one, const std::uint64_t* x,
                                    const std::uint64_t* forward_b, std::uint64_t* out,
                                    std::uint64_t* b_out) {
    WordShares m;
    load_shares(layout, words, m);
    alignas(64) std::uint64_t delta[kElements];
    alignas(64) std::uint64_t lambda[kElements];
    if (delta_plane != nullptr) spread(delta_plane, delta);
    if (lambda_plane != nullptr) spread(lambda_plane, lambda);
    if (layout.wants_sign && b_out != nullptr) {
      for (int i = 0; i < count; ++i) b_out[i] = m.b[i];
    }
    const std::uint64_t* b = layout.wants_sign ? m.b : forward_b;
    switch (layout.use) {
      case CompareUse::kTruncate:
        return truncate_words(layout.shift, count, c, lambda, m, one, out);
      case CompareUse::kReluTruncate:
      case CompareUse::kTruncateTimesBit:
        return truncate_times_bit_words(layout.shift, count, c, delta, lambda, b, m, one, out);
      case CompareUse::kRelu:
      case CompareUse::kMultiplyBit: return times_bit_words(count, c, delta, b, m.b_r, x, out);
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
      const std::uint64_t at = sizeof(Plane) * static_cast<std::size_t>(chunk.table_offset);
      if (chunk.bits > Wide::kRowBits) {
        const Plane* const high = bits + chunk.low_bit + Wide::kRowBits;
        Math::one_hot(bits + chunk.low_bit, Wide::kRowBits, table);
        Wide::one_hot(
            table, [high](int b) { return high[b]; }, chunk.bits - Wide::kRowBits,
            [&](int v, const Plane& plane) {
              store(at + sizeof(Plane) * static_cast<std::size_t>(v), &plane, 1);
            });
        continue;
      }
      Math::one_hot(bits + chunk.low_bit, chunk.bits, table);
      store(at, table, 1 << chunk.bits);
    }
    if (layout.wide) deal_wide_products(layout, mask_planes, record);
    for (int i = 0; i <= layout.nodes && !layout.wide; ++i) {
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

  static BP_MATH_INLINE void deal_wide_products(const CompareLayout& layout,
                                                const std::uint8_t* mask_planes,
                                                std::uint8_t* record) {
    const CompareNode& node = layout.node[0];
    Plane masks[CompareNode::kMaxWideInputs - 1] = {};
    const Lying lying{mask_planes + sizeof(Plane) * static_cast<std::size_t>(node.mask_offset)};
    for (int i = 0; i + 1 < node.inputs; ++i) masks[i] = lying(i);
    const auto g_mask = [&](int j) { return lying(node.p_wires() + j); };
    std::uint8_t* const out = record + layout.products_offset();
    Wide::deal_products(node.inputs, masks, g_mask, [out](int i, const Plane& plane) {
      std::memcpy(out + sizeof(Plane) * static_cast<std::size_t>(i), &plane, sizeof plane);
    });
  }

  static BP_MATH_INLINE void deal_words(const CompareLayout& layout, const std::uint64_t* r,
                                        const std::uint8_t* mask_planes, const Plane& b_plane,
                                        std::uint8_t* record) {
    std::uint64_t planes[2][Target::kWords] = {};
    std::memcpy(planes[0], &b_plane, sizeof planes[0]);
    if (layout.wants_low) {
      std::memcpy(planes[1],
                  mask_planes + sizeof(Plane) * static_cast<std::size_t>(layout.b2_plane),
                  sizeof planes[1]);
    }
    alignas(64) std::uint64_t b[kElements];
    alignas(64) std::uint64_t b2[kElements];
    alignas(64) std::uint64_t high[kElements];
    alignas(64) std::uint64_t words[kElements];
    spread(planes[0], b);
    spread(planes[1], b2);
    for (int i = 0; i < kElements; ++i) high[i] = dealt_high(r[i], layout.wants_low, layout.shift);
    const auto put = [&](int array, const std::uint64_t* from) {
      if (array >= 0) std::memcpy(record + layout.word_offset(array), from, sizeof words);
    };
    put(layout.word_R, high);
    put(layout.word_b2, b2);
    put(layout.word_b, b);
    for (int i = 0; i < kElements; ++i) words[i] = dealt_times_b(b[i], high[i]);
    put(layout.word_bR, words);
    for (int i = 0; i < kElements; ++i) words[i] = dealt_bits(b[i], b2[i]);
    put(layout.word_bb2, words);
    for (int a = 0; a < layout.packed_arrays; ++a) {
      for (int i = 0; i < kElements; ++i) {
        words[i] = dealt_top<R>(r[i], a == 0 ? 1 : b[i]);
      }
      store_packed(words, layout.packed_bytes,
                   record + layout.packed_offset() +
                       layout.packed_array_bytes() * static_cast<std::uint64_t>(a));
    }
  }
};

}  // namespace beaverpond::math
