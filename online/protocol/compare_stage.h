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

/// How a comparison or the opening of a mask of many elements is cut into pieces that open one
/// after the other, so that one computes while another's words travel. A function of the count
/// alone: all players cut alike.
struct PieceCut {
  std::uint64_t pieces = 1;
  std::uint64_t piece_elements = 0;  ///< of each but the last, which may have fewer
};

/// A piece has at least so many elements (smaller messages gained nothing more: bench/README.md),
/// and a device is waited for once a piece and round, so that there are never many.
inline constexpr std::uint64_t kPieceElements = std::uint64_t{1} << 16;
inline constexpr std::uint64_t kMaxPieces = 16;

constexpr PieceCut piece_cut(std::uint64_t count) {
  const std::uint64_t most = count / kPieceElements;
  const std::uint64_t pieces = most < kMaxPieces ? most : kMaxPieces;
  if (pieces < 2) return {1, count};
  constexpr std::uint64_t kBlock = 512;  // elements that lie in one record
  const std::uint64_t elements = (count + pieces * kBlock - 1) / (pieces * kBlock) * kBlock;
  return {(count + elements - 1) / elements, elements};
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
