// Where the bytes of one plan entry lie.
#pragma once

#include "beaverpond/compare_layout.h"
#include "offline/plan/plan.h"

namespace beaverpond {

/// Matrix, convolution and elementwise products of two masks.
bool is_product(EntryKind kind);

/// Comparisons, truncations and ReLU: what has a compare layout.
bool is_comparison(EntryKind kind);

/// The record layout of a comparison, truncation or ReLU entry. Other kinds are a broken invariant.
CompareLayout compare_layout(const PlanEntry& entry);

/// Words of a scalar triple's masks, in one stream: the first factor's, up to a multiple of 64
/// bytes, then the second's. With an odd count the words between are used by neither.
constexpr std::uint64_t triple_second_mask(std::uint64_t count) {
  return (count + 7) / 8 * 8;
}
constexpr std::uint64_t triple_mask_words(std::uint64_t count) {
  return triple_second_mask(count) + count;
}

/// Of a sign's correction: `count` words, then 56 bytes of digits an element.
constexpr std::uint64_t sign_correction_bytes(std::uint64_t count) {
  return count * (8 + 56);
}

/// Fills in every entry's offset and size, and the bundle's correction size.
void lay_out(Plan& plan);

}  // namespace beaverpond
