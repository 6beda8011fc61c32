// Where the tensors of a run lie in one block of memory, from Program and Plan alone: two that are
// never needed at the same time may lie in the same place.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "beaverpond/program.h"
#include "beaverpond/units.h"
#include "offline/plan/plan.h"

namespace beaverpond {

/// Of the block, in words: at a multiple of 64 bytes. No words: there is no such tensor.
struct MemoryPlace {
  std::uint64_t first = 0;
  std::uint64_t words = 0;
};

/// When what happens in a run: every local operation, every product and every round takes the next
/// tick, in the engine's order.
struct RunTicks {
  /// By operation: when its result is there; that of what a series keeps from its first run.
  std::vector<std::uint32_t> of_op;
  static constexpr std::uint32_t kNever = std::numeric_limits<std::uint32_t>::max();
};

struct MemoryPlan {
  struct OfValue {
    MemoryPlace share;                  ///< none of states, nor of reshaped values
    MemoryPlace mask, opened, shifted;  ///< as in ValueSlot
  };
  struct OfOp {
    MemoryPlace opened, kept, delta, b;  ///< of a comparison: as in CompareTask
  };
  std::vector<OfValue> values;
  std::vector<OfOp> ops;
  ByteCount size;              ///< of the block
  ByteCount apart;             ///< that all would take side by side
  RunTicks first, later;       ///< of the first run of a series, and of the others
  std::vector<bool> deferred;  ///< by operation: a product that is computed while a round travels
};

/// `plan` must be the plan of `program`. Of protocols other than the additive one the values alone,
/// side by side.
MemoryPlan plan_memory(const Program& program, const Plan& plan);

}  // namespace beaverpond
