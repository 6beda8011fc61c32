// This player's shares of a program's values, and of their masks.
#pragma once

#include <cstdint>
#include <vector>

#include "beaverpond/program.h"
#include "kernels/backend.h"
#include "offline/plan/plan.h"

namespace beaverpond {

/// A value's share; and, where products use it, its mask's share and the opened difference.
struct ValueSlot {
  Words share;
  Buffer storage;      ///< empty for states and reshaped values, which are views
  bool ready = false;  ///< the share is there

  int mask_entry = -1;  ///< plan entry of its mask, or -1
  bool mask_sent = false;
  bool mask_open = false;
  std::uint64_t words_closed = 0;  ///< of a mask on its way: what is not yet open
  bool second_factor = false;      ///< some product has it on the right
  Buffer mask;                     ///< [A]: share of the mask
  Buffer opened;                   ///< E = X - A, public
  Buffer shifted;                  ///< A_i + E, on the designated player only
};

/// Owns the memory of all values of a program, allocated once.
class ValueStore {
 public:
  /// Errors: kOutOfMemory.
  static Result<ValueStore> create(const Program& program, const Plan& plan, Backend& backend);

  /// Forgets all values but those whose id is set in `kept` (empty: none).
  void begin_run(const std::vector<bool>& kept);

  ValueSlot& operator[](ValueId id) { return slots_[alias_[id]]; }
  Words state(std::uint32_t slot) { return states_[slot].words(); }

 private:
  Result<void> allocate_states(const Program& program, Backend& backend);
  Result<void> allocate_masks(const Plan& plan, Backend& backend);

  std::vector<ValueSlot> slots_;
  std::vector<ValueId> alias_;  ///< a reshaped value is the value it came from
  std::vector<Buffer> states_;
};

}  // namespace beaverpond
