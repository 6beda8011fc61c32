#include "online/protocol/value_store.h"

#include "offline/plan/entry_layout.h"
#include "online/protocol/schedule.h"

namespace beaverpond {

Result<ValueStore> ValueStore::create(const Program& program, const Plan& plan,
                                      const MemoryPlan& memory, Backend& backend) {
  ValueStore store;
  store.slots_.resize(program.values.size());
  store.alias_ = value_aliases(program);
  BP_ASSIGN(store.block_, backend.allocate(memory.size));
  for (ValueId id = 0; id < program.values.size(); ++id) {
    store.slots_[id].share = store.words(memory.values[id].share);
  }
  BP_TRY(store.allocate_states(program, backend));
  store.place_masks(plan, memory);
  return store;
}

Result<void> ValueStore::allocate_states(const Program& program, Backend& backend) {
  states_.resize(program.states);
  for (const Op& op : program.ops) {
    if (op.code != OpCode::kState) continue;
    const ElementCount count{program.value(op.out).shape.count()};
    Buffer& state = states_[op.slot];
    if (state.empty()) {
      BP_ASSIGN(state, backend.allocate(bytes_of_words(count)));
    }
    slots_[op.out].share = state.words();
  }
  return {};
}

void ValueStore::place_masks(const Plan& plan, const MemoryPlan& memory) {
  for (std::uint32_t index = 0; index < plan.entries.size(); ++index) {
    const PlanEntry& entry = plan.entries[index];
    if (entry.kind == EntryKind::kMask) slots_[entry.source].mask_entry = static_cast<int>(index);
    if (is_product(entry.kind)) slots_[plan.entries[entry.mask_y].source].second_factor = true;
  }
  for (ValueId id = 0; id < slots_.size(); ++id) {
    const MemoryPlan::OfValue& value = memory.values[id];
    slots_[id].mask = StoredWords(words(value.mask));
    slots_[id].opened = StoredWords(words(value.opened));
    slots_[id].shifted = StoredWords(words(value.shifted));
  }
}

void ValueStore::begin_run(const std::vector<bool>& kept) {
  for (ValueId id = 0; id < slots_.size(); ++id) {
    if (!kept.empty() && kept[id]) continue;
    ValueSlot& slot = slots_[id];
    slot.ready = slot.mask_sent = slot.mask_open = false;
  }
}

}  // namespace beaverpond
