// Where the bytes of one plan entry lie.
#pragma once

#include "beaverpond/compare_layout.h"
#include "offline/plan/plan.h"

namespace beaverpond {

/// Matrix, convolution and elementwise products of two masks.
bool is_product(EntryKind kind);

/// Comparisons, truncations and ReLU: what has a compare layout.
bool is_comparison(EntryKind kind);

/// The record layout of a comparison, truncation or ReLU entry in a plan of that profile. Other
/// kinds are a broken invariant.
CompareLayout compare_layout(const PlanEntry& entry, CompareProfile profile);

/// Fills in every entry's offset and size, and the bundle's correction size.
void lay_out(Plan& plan);

}  // namespace beaverpond
