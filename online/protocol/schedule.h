// The engine's schedule (engine.cpp, engine_rounds.cpp) without its arithmetic, from Program and
// Plan alone: whatever is ready starts, and all that needs a message shares the next round. Shared
// by the cost model and the memory plan, which the engine checks while it runs.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "beaverpond/program.h"
#include "offline/plan/plan.h"
#include "online/protocol/compare_stage.h"

namespace beaverpond {

/// Of an operation or a plan entry: none.
inline constexpr std::uint32_t kNoIndex = std::numeric_limits<std::uint32_t>::max();

/// What opens in a round: a value's mask, or what a comparison or a lookup opens.
struct ScheduledOpening {
  std::uint32_t op = 0;        ///< of a mask: the operation that first needs it
  ValueId mask_of = kNoValue;  ///< the value whose mask it is, if it is one; never a reshaped one
  CompareStage stage = CompareStage::kOpen;  ///< of a comparison
  bool last = true;                          ///< after it the mask is open or the result there
};

/// What takes one tick: a local operation, a product, or a round.
struct ScheduleStep {
  std::uint32_t op = kNoIndex;  ///< in a round: a product that is computed while it travels, if any
  std::vector<ScheduledOpening> openings;  ///< of a round; all others have none
};

struct RunSchedule {
  std::vector<ScheduleStep> steps;  ///< but for reveals' messages and updates, which come last
  /// By operation: a product whose result feeds only local operations and updates, so that it can
  /// be computed while a round is on its way.
  std::vector<bool> deferred;
};

/// `plan` must be the additive plan of `program`. `later`: of a run after the first one of a
/// series, which has kept its fixed values and the openings of their masks.
RunSchedule schedule_run(const Program& program, const Plan& plan, bool later);

/// By value: a reshaped value is the value it came from.
std::vector<ValueId> value_aliases(const Program& program);
/// By operation: its plan entry, or kNoIndex.
std::vector<std::uint32_t> entries_of_ops(const Program& program, const Plan& plan);

}  // namespace beaverpond
