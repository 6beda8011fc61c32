// This player's shares of a program's values, and of their masks.
#pragma once

#include <cstdint>
#include <vector>

#include "beaverpond/program.h"
#include "kernels/backend.h"
#include "offline/plan/plan.h"
#include "online/protocol/memory_plan.h"

namespace beaverpond {

/// A tensor's part of the store's block.
class StoredWords {
 public:
  StoredWords() = default;
  explicit StoredWords(Words words) : words_(words) {}
  Words words() const { return words_; }
  std::span<std::uint8_t> bytes() const { return bytes_of(words_); }

 private:
  Words words_;
};

/// A value's share; and, where products use it, its mask's share and the opened difference.
struct ValueSlot {
  Words share;
  bool ready = false;  ///< the share is there

  int mask_entry = -1;  ///< plan entry of its mask, or -1
  bool mask_sent = false;
  bool mask_open = false;
  std::uint64_t words_closed = 0;  ///< of a mask on its way: what is not yet open
  bool second_factor = false;      ///< some product has it on the right
  StoredWords mask;                ///< [A]: share of the mask
  StoredWords opened;              ///< E = X - A, public
  StoredWords shifted;             ///< A_i + E, on the designated player only
};

/// Owns the memory of all values of a program, and of its comparisons: one block, allocated once.
/// What lies in it is there as long as the memory plan says, and then overwritten.
class ValueStore {
 public:
  /// Errors: kOutOfMemory.
  static Result<ValueStore> create(const Program& program, const Plan& plan,
                                   const MemoryPlan& memory, Backend& backend);
  /// The same for a protocol of another schedule than the engine's: a place for each value alone.
  static Result<ValueStore> create(const Program& program, const Plan& plan, Backend& backend) {
    return create(program, plan, plan_memory(program, plan), backend);
  }

  /// Forgets all values but those whose id is set in `kept` (empty: none).
  void begin_run(const std::vector<bool>& kept);

  ValueSlot& operator[](ValueId id) { return slots_[alias_[id]]; }
  Words state(std::uint32_t slot) { return states_[slot].words(); }
  Words words(const MemoryPlace& place) const {
    return block_.words().subspan(place.first, place.words);
  }

 private:
  Result<void> allocate_states(const Program& program, Backend& backend);
  void place_masks(const Plan& plan, const MemoryPlan& memory);

  std::vector<ValueSlot> slots_;
  std::vector<ValueId> alias_;  ///< a reshaped value is the value it came from
  std::vector<Buffer> states_;
  Buffer block_;
};

}  // namespace beaverpond
