// What every backend asks of the operands of comparisons and lookups before it does anything: sizes
// that fit the layout and the count, as in all other operations. A wrong one is a programming error
// and aborts (beaverpond/check.h); on a device it would be a write beyond somebody's memory.
#pragma once

#include <cstdint>

#include "beaverpond/check.h"
#include "kernels/backend.h"

namespace beaverpond {

namespace compare_sizes_detail {

inline std::uint64_t planes(int planes, std::uint64_t count) {
  return packed_words(static_cast<std::uint64_t>(planes), count);
}
inline int root_wires(const CompareLayout& layout) {
  return layout.has_root ? layout.root.wires() : 0;
}
inline bool takes_forward(CompareUse use) {
  return use == CompareUse::kTruncateTimesBit || use == CompareUse::kMultiplyBit;
}
inline void check_state(const CompareState& state) {
  BP_CHECK(state.opened.size() == state.count &&
               state.kept.size() >= compare_kept_words(*state.layout, state.count),
           "comparison: opened or kept words do not fit the count");
}

}  // namespace compare_sizes_detail

inline void check_compare_open(const CompareState& state, ConstWords x, Words out) {
  BP_CHECK(x.size() == state.count && out.size() == state.count,
           "compare_open: sizes do not fit the count");
}
inline void check_compare_leaves(const CompareState& state, Words out) {
  compare_sizes_detail::check_state(state);
  BP_CHECK(out.size() == compare_sizes_detail::planes(state.layout->leaf_wires, state.count),
           "compare_leaves: sizes do not fit the layout");
}
inline void check_compare_nodes(const CompareState& state, ConstWords leaf, Words out) {
  namespace sizes = compare_sizes_detail;
  sizes::check_state(state);
  BP_CHECK(leaf.size() == sizes::planes(state.layout->leaf_wires, state.count) &&
               out.size() == sizes::planes(sizes::root_wires(*state.layout), state.count),
           "compare_nodes: sizes do not fit the layout");
}
inline void check_compare_root(const CompareState& state, ConstWords root, Words out) {
  namespace sizes = compare_sizes_detail;
  sizes::check_state(state);
  BP_CHECK(root.size() == sizes::planes(sizes::root_wires(*state.layout), state.count) &&
               out.size() == sizes::planes(state.layout->final_bits, state.count),
           "compare_root: sizes do not fit the layout");
}
inline void check_compare_finish(const CompareState& state, ConstWords final, ConstWords x,
                                 const BitShare& forward, Words out, Words b) {
  namespace sizes = compare_sizes_detail;
  const CompareLayout& layout = *state.layout;
  const std::uint64_t count = state.count;
  BP_CHECK(state.opened.size() == count && out.size() == count && (b.empty() || b.size() == count),
           "compare_finish: sizes do not fit the count");
  BP_CHECK(final.size() == sizes::planes(layout.final_bits, count) &&
               (!layout.wants_sign || state.delta.size() == sizes::planes(1, count)),
           "compare_finish: planes do not fit the layout");
  BP_CHECK(layout.wants_low || x.size() == count, "compare_finish: x does not fit the count");
  BP_CHECK(!sizes::takes_forward(layout.use) ||
               (forward.delta.size() == sizes::planes(1, count) && forward.b.size() == count),
           "compare_finish: the earlier bit does not fit the count");
}
inline void check_bit_to_word(const BitShare& bit, Words out) {
  BP_CHECK(bit.delta.size() == packed_words(1, out.size()) && bit.b.size() == out.size(),
           "bit_to_word: sizes do not fit");
}
inline void check_deal_compare(const Backend::DealCompare& deal) {
  const CompareLayout& layout = *deal.layout;
  BP_CHECK(deal.correction.size() == layout.blocks(deal.count) * layout.correction_record_bytes(),
           "deal_compare: the correction does not fit the count");
  BP_CHECK(deal.designated >= 0 && static_cast<std::size_t>(deal.designated) < deal.seeds.size(),
           "deal_compare: the designated player has no seed");
  BP_CHECK(!compare_sizes_detail::takes_forward(layout.use) || deal.forward_layout != nullptr,
           "deal_compare: the use takes an earlier bit");
}
inline void check_lookup(int bits, ConstWords x, Words out) {
  BP_CHECK(bits >= 1 && bits <= 12 && x.size() == out.size(), "lookup: sizes do not fit");
}

}  // namespace beaverpond
