// Whole-tensor loops over math::CompareBlock, expanding each block's material in cache. Included by
// one translation unit per instruction set, each with its own Target, so that no symbol is shared.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels/cpu/compare_kernels.h"
#include "kernels/cpu/prg.h"
#include "kernels/math/compare_block.h"

namespace beaverpond::cpu {

template <class Target>
struct CompareLoops {
  using Ring64 = math::Ring<64>;
  using Block = math::CompareBlock<Target, Ring64>;
  using Plane = typename Target::Plane;
  static constexpr std::uint64_t kElements = Block::kElements;
  static constexpr std::uint64_t kWords = Target::kWords;
  static constexpr std::size_t kMaxMaskPlanes = 48;
  // The tables of the largest layout, its products or its words, with room for an 8-byte read at
  // its end.
  static constexpr std::size_t kMaxRecord = kElements * 256 + 64;

  /// One player's records of one entry, block by block.
  class Records {
   public:
    explicit Records(const CompareState& state)
        : layout_(*state.layout),
          first_block_(state.first_block),
          material_(state.material),
          prg_(*state.material.seed, state.material.prg) {}

    /// Mask planes of a block.
    const std::uint8_t* masks(std::uint64_t block) {
      prg_.fill(material_.mask_stream,
                (first_block_ + block) * layout_.mask_record_bytes() + layout_.mask_planes_offset(),
                {masks_, layout_.plane_bytes() * static_cast<std::uint64_t>(layout_.mask_planes)});
      return masks_;
    }
    /// Bytes [from, to) of a block's correction record.
    const std::uint8_t* correction(std::uint64_t block, std::uint64_t from, std::uint64_t to) {
      const std::uint64_t offset =
          (first_block_ + block) * layout_.correction_record_bytes() + from;
      if (material_.correction != nullptr) return material_.correction + offset;
      prg_.fill(material_.correction_stream, offset, {record_, to - from});
      return record_;
    }

   private:
    const CompareLayout& layout_;
    const std::uint64_t first_block_;
    const Material& material_;
    Prg prg_;
    alignas(64) std::uint8_t masks_[kMaxMaskPlanes * sizeof(Plane)];
    alignas(64) std::uint8_t record_[kMaxRecord];
  };

  static std::uint64_t block_words(const CompareState& state, std::uint64_t block) {
    return std::min<std::uint64_t>(kWords, (state.count + 63) / 64 - block * kWords);
  }
  static std::uint64_t block_count(std::uint64_t count, std::uint64_t block) {
    return std::min<std::uint64_t>(kElements, count - block * kElements);
  }
  /// Where a block's planes start in a packed buffer of `planes` planes.
  static std::uint64_t packed_at(int planes, std::uint64_t block) {
    return block * kWords * static_cast<std::uint64_t>(planes);
  }

  static void pack(const Plane* planes, int count, std::uint64_t words, std::uint64_t* out) {
    for (int i = 0; i < count; ++i) {
      std::memcpy(out + words * static_cast<std::uint64_t>(i), &planes[i], words * 8);
    }
  }
  static void unpack(const std::uint64_t* in, int count, std::uint64_t words, Plane* planes) {
    for (int i = 0; i < count; ++i) {
      planes[i] = Target::splat(0);
      std::memcpy(&planes[i], in + words * static_cast<std::uint64_t>(i), words * 8);
    }
  }
  static Plane* kept(const CompareState& state, std::uint64_t block) {
    return reinterpret_cast<Plane*>(state.kept.data()) + block * math::KeptPlanes::kCount;
  }
  static Plane one(const CompareState& state) {
    return Target::splat(state.material.designated ? ~std::uint64_t{0} : 0);
  }

  static void leaves(const CompareState& state, Words out) {
    const CompareLayout& layout = *state.layout;
    Records records(state);
    alignas(64) std::uint64_t c[kElements];
    for (std::uint64_t block = 0; block < layout.blocks(state.count); ++block) {
      const std::uint64_t n = block_count(state.count, block);
      std::memset(c, 0, sizeof c);
      std::memcpy(c, state.opened.data() + block * kElements, n * 8);
      const std::uint8_t* masks = records.masks(block);
      const std::uint8_t* tables = records.correction(block, 0, layout.products_offset());
      Plane wires[Block::kMaxWires];
      Block::leaves(layout, c, tables, masks, kept(state, block), wires);
      pack(wires, layout.leaf_wires, block_words(state, block),
           out.data() + packed_at(layout.leaf_wires, block));
    }
  }

  static void nodes(const CompareState& state, ConstWords leaf, Words out) {
    const CompareLayout& layout = *state.layout;
    Records records(state);
    const int root_wires = layout.has_root ? layout.root.wires() : 0;
    for (std::uint64_t block = 0; block < layout.blocks(state.count); ++block) {
      Plane opened[Block::kMaxWires];
      Plane wires[Block::kMaxWires];
      const std::uint64_t words = block_words(state, block);
      unpack(leaf.data() + packed_at(layout.leaf_wires, block), layout.leaf_wires, words, opened);
      const std::uint8_t* masks = records.masks(block);
      const std::uint8_t* products =
          records.correction(block, layout.products_offset(), layout.top_plane_offset());
      Block::nodes(layout, opened, masks, products, one(state), kept(state, block), wires);
      pack(wires, root_wires, words, out.data() + packed_at(root_wires, block));
    }
  }

  static void root(const CompareState& state, ConstWords root_planes, Words out) {
    const CompareLayout& layout = *state.layout;
    Records records(state);
    const int root_wires = layout.has_root ? layout.root.wires() : 0;
    for (std::uint64_t block = 0; block < layout.blocks(state.count); ++block) {
      Plane opened[Block::kMaxWires];
      Plane bits[2];
      const std::uint64_t words = block_words(state, block);
      unpack(root_planes.data() + packed_at(root_wires, block), root_wires, words, opened);
      const std::uint8_t* masks = records.masks(block);
      const std::uint8_t* products =
          records.correction(block, layout.products_offset(), layout.packed_offset());
      const std::uint8_t* top = products + (layout.top_plane_offset() - layout.products_offset());
      Block::root(layout, opened, masks, products, top, one(state), kept(state, block), bits);
      pack(bits, layout.final_bits, words, out.data() + packed_at(layout.final_bits, block));
    }
  }

  static void finish(const CompareState& state, ConstWords final, ConstWords x,
                     const BitShare& forward, Words out, Words b) {
    const CompareLayout& layout = *state.layout;
    Records records(state);
    for (std::uint64_t block = 0; block < layout.blocks(state.count); ++block) {
      const std::uint64_t n = block_count(state.count, block);
      const std::uint64_t words = block_words(state, block);
      const std::uint64_t* planes = final.data() + packed_at(layout.final_bits, block);
      // Whole planes, since the last block's are shorter in the packed buffer.
      alignas(64) std::uint64_t delta[kWords] = {};
      alignas(64) std::uint64_t lambda[kWords] = {};
      const std::uint64_t* low = planes + (layout.wants_sign ? words : 0);
      if (layout.wants_low) std::memcpy(lambda, low, words * 8);
      const std::uint64_t first = block * kElements;
      if (layout.wants_sign) {
        std::memcpy(delta, planes, words * 8);
        std::memcpy(state.delta.data() + block * kWords, delta, words * 8);
      } else if (!forward.delta.empty()) {
        std::memcpy(delta, forward.delta.data() + block * kWords, words * 8);
      }
      const std::uint8_t* material =
          records.correction(block, layout.packed_offset(), layout.correction_record_bytes());
      Block::finish(layout, static_cast<int>(n), state.opened.data() + first, delta, lambda,
                    material, state.material.designated ? 1 : 0,
                    x.empty() ? nullptr : x.data() + first,
                    forward.b.empty() ? nullptr : forward.b.data() + first, out.data() + first,
                    b.empty() ? nullptr : b.data() + first);
    }
  }

  /// Takes the other players' streams out of the clear record: XOR for planes, minus for words.
  static void take_out(const CompareLayout& layout, const Prg& prg, std::uint64_t stream,
                       std::uint64_t record_offset, std::uint8_t* record, std::uint8_t* scratch) {
    const auto words = [record](std::uint64_t from, std::uint64_t to) {
      return std::span<std::uint64_t>(reinterpret_cast<std::uint64_t*>(record + from),
                                      (to - from) / 8);
    };
    const std::uint64_t packed = layout.packed_offset();
    const std::uint64_t arrays = layout.words_offset();
    prg.exclusive_or(stream, record_offset, words(0, packed));
    prg.subtract(stream, record_offset + arrays, words(arrays, layout.correction_record_bytes()));
    if (arrays == packed) return;
    prg.fill(stream, record_offset + packed, {scratch, arrays - packed});
    // Only the low packed_bytes of a difference are kept: mod 2^(8 bytes), a multiple of 2^shift.
    alignas(64) std::uint64_t words_of[2][kElements];
    for (std::uint64_t at = packed; at < arrays; at += layout.packed_array_bytes()) {
      Block::load_packed(record + at, layout.packed_bytes, words_of[0]);
      Block::load_packed(scratch + (at - packed), layout.packed_bytes, words_of[1]);
      for (std::uint64_t i = 0; i < kElements; ++i) words_of[0][i] -= words_of[1][i];
      Block::store_packed(words_of[0], layout.packed_bytes, record + at);
    }
  }

  static void deal(const Backend::DealCompare& job, std::span<const Prg* const> prgs) {
    const CompareLayout& layout = *job.layout;
    alignas(64) std::uint64_t mask_record[kElements + kMaxMaskPlanes * kWords];
    alignas(64) std::uint64_t forward_b[kWords] = {};
    alignas(64) std::uint8_t scratch[kElements * 16 + 64];
    const bool uses_forward = job.forward_layout != nullptr;
    for (std::uint64_t block = 0; block < layout.blocks(job.count); ++block) {
      std::memset(mask_record, 0, sizeof mask_record);
      std::memset(forward_b, 0, sizeof forward_b);
      for (const Prg* const player : prgs) {
        const Prg& prg = *player;
        const std::uint64_t offset = block * layout.mask_record_bytes();
        prg.add(job.mask_stream, offset, {mask_record, kElements});
        prg.exclusive_or(
            job.mask_stream, offset + layout.mask_planes_offset(),
            {mask_record + kElements, kWords * static_cast<std::uint64_t>(layout.mask_planes)});
        if (uses_forward)
          xor_forward_b(*job.forward_layout, prg, job.forward_mask_stream, block, forward_b);
      }
      Plane b = Target::splat(0);
      const auto* planes = reinterpret_cast<const std::uint8_t*>(mask_record + kElements);
      if (uses_forward) {
        std::memcpy(&b, forward_b, sizeof b);
      } else if (layout.wants_sign) {
        std::memcpy(&b, planes + layout.plane_bytes() * static_cast<std::uint64_t>(layout.b_plane),
                    sizeof b);
      }
      const std::uint64_t at = block * layout.correction_record_bytes();
      std::uint8_t* record = job.correction.data() + at;
      Block::deal(layout, mask_record, planes, b, record);
      for (std::size_t player = 0; player < prgs.size(); ++player) {
        if (static_cast<int>(player) == job.designated) continue;
        take_out(layout, *prgs[player], job.correction_stream, at, record, scratch);
      }
    }
  }

  static void xor_forward_b(const CompareLayout& forward, const Prg& prg, std::uint64_t stream,
                            std::uint64_t block, std::uint64_t* b) {
    const std::uint64_t offset =
        block * forward.mask_record_bytes() + forward.mask_planes_offset() +
        forward.plane_bytes() * static_cast<std::uint64_t>(forward.b_plane);
    prg.exclusive_or(stream, offset, {b, kWords});
  }

  static constexpr CompareKernels table(const char* name) {
    return {name, &leaves, &nodes, &root, &finish, &deal};
  }
};

}  // namespace beaverpond::cpu
