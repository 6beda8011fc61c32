// The rounds of a comparison, truncation or ReLU: what each sends. Shared by the engine, which
// sends it, and the cost model, which predicts it.
#pragma once

#include <cstdint>

#include "beaverpond/compare_layout.h"
#include "kernels/backend.h"

namespace beaverpond {

enum class CompareStage : std::uint8_t { kOpen, kLeaf, kRoot, kFinal, kDone };

constexpr CompareStage after_stage(const CompareLayout& layout, CompareStage stage) {
  switch (stage) {
    case CompareStage::kOpen:
      if (layout.nodes == 0) return CompareStage::kDone;
      if (layout.leaf_wires > 0) return CompareStage::kLeaf;
      return layout.has_root ? CompareStage::kRoot : CompareStage::kFinal;
    case CompareStage::kLeaf: return layout.has_root ? CompareStage::kRoot : CompareStage::kFinal;
    case CompareStage::kRoot: return CompareStage::kFinal;
    case CompareStage::kFinal:
    case CompareStage::kDone: break;
  }
  return CompareStage::kDone;
}

/// Words to be summed in this stage's round.
constexpr std::uint64_t stage_words(CompareStage stage, std::uint64_t count) {
  return stage == CompareStage::kOpen ? count : 0;
}

/// Words of bits to be XORed in this stage's round.
inline std::uint64_t stage_plane_words(const CompareLayout& layout, CompareStage stage,
                                       std::uint64_t count) {
  int planes = 0;
  if (stage == CompareStage::kLeaf) planes = layout.leaf_wires;
  if (stage == CompareStage::kRoot) planes = layout.root.wires();
  if (stage == CompareStage::kFinal) planes = layout.final_bits;
  return packed_words(static_cast<std::uint64_t>(planes), count);
}

}  // namespace beaverpond
