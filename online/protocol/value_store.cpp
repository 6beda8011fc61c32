#include "online/protocol/value_store.h"

#include "offline/plan/entry_layout.h"

namespace beaverpond {

Result<ValueStore> ValueStore::create(const Program& program, const Plan& plan, Backend& backend) {
  ValueStore store;
  store.slots_.resize(program.values.size());
  store.alias_.resize(program.values.size());
  for (ValueId id = 0; id < program.values.size(); ++id) store.alias_[id] = id;
  BP_TRY(store.allocate_states(program, backend));
  for (const Op& op : program.ops) {
    if (op.code == OpCode::kReshape) store.alias_[op.out] = store.alias_[op.inputs[0]];
    if (op.out == kNoValue || op.code == OpCode::kReshape || op.code == OpCode::kState) continue;
    ValueSlot& slot = store.slots_[op.out];
    const ElementCount count{program.value(op.out).shape.count()};
    BP_ASSIGN(slot.storage, backend.allocate(bytes_of_words(count)));
    slot.share = slot.storage.words();
  }
  BP_TRY(store.allocate_masks(plan, backend));
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

Result<void> ValueStore::allocate_masks(const Plan& plan, Backend& backend) {
  for (std::uint32_t index = 0; index < plan.entries.size(); ++index) {
    const PlanEntry& entry = plan.entries[index];
    if (entry.kind == EntryKind::kMask) {
      ValueSlot& slot = slots_[entry.source];
      slot.mask_entry = static_cast<int>(index);
      const ByteCount size = bytes_of_words(ElementCount{entry.count});
      BP_ASSIGN(slot.mask, backend.allocate(size));
      BP_ASSIGN(slot.opened, backend.allocate(size));
    } else if (is_product(entry.kind)) {
      const PlanEntry& second = plan.entries[entry.mask_y];
      ValueSlot& slot = slots_[second.source];
      if (slot.second_factor) continue;
      slot.second_factor = true;
      BP_ASSIGN(slot.shifted, backend.allocate(bytes_of_words(ElementCount{second.count})));
    }
  }
  return {};
}

void ValueStore::begin_run(const std::vector<bool>& kept) {
  for (ValueId id = 0; id < slots_.size(); ++id) {
    if (!kept.empty() && kept[id]) continue;
    ValueSlot& slot = slots_[id];
    slot.ready = slot.mask_sent = slot.mask_open = false;
  }
}

}  // namespace beaverpond
