// The part of ProgramBuilder that changes states.
#include "beaverpond/program_builder.h"
#include "offline/plan/builder_checks.h"

namespace beaverpond {

/// The operation that made a state, if `y` may take its place or change it.
const Op* ProgramBuilder::state_for_change(ValueId state_value, ValueId y, const char* what) {
  if (!usable(state_value, ValueKind::kWord, what)) return nullptr;
  if (!usable(y, ValueKind::kWord, what)) return nullptr;
  const Op* state = nullptr;
  for (const Op& op : program_.ops) {
    if (op.code == OpCode::kState && op.out == state_value) state = &op;
  }
  if (state == nullptr) {
    fail(std::string(what) + ": the first operand is not a state");
    return nullptr;
  }
  for (const Op& op : program_.ops) {
    // A second change would silently undo the first, since both start from the same value.
    if ((op.code == OpCode::kUpdate || op.code == OpCode::kAssign) && op.slot == state->slot) {
      fail(std::string(what) + ": the state is updated twice");
      return nullptr;
    }
  }
  const Value& a = program_.values[state_value];
  const Value& b = program_.values[y];
  if (a.shape != b.shape) {
    fail(std::string(what) + ": shapes differ: " + quoted_pair(a, b));
    return nullptr;
  }
  if (state->fixed) {
    fail(std::string(what) + ": the state is fixed for a whole series");
    return nullptr;
  }
  return state;
}

void ProgramBuilder::update(ValueId state_value, ValueId y) {
  // The scales differ on purpose: their ratio is the learning rate's power of two.
  const Op* state = state_for_change(state_value, y, "update");
  if (state == nullptr) return;
  const std::uint32_t slot = state->slot;
  add_op(OpCode::kUpdate, {state_value, y}).slot = slot;
}

void ProgramBuilder::assign(ValueId state_value, ValueId y) {
  const Op* state = state_for_change(state_value, y, "assign");
  if (state == nullptr) return;
  const Value& a = program_.values[state_value];
  const Value& b = program_.values[y];
  if (a.scale_bits != b.scale_bits) {
    fail("assign: scales differ: " + quoted_pair(a, b));
    return;
  }
  const std::uint32_t slot = state->slot;
  add_op(OpCode::kAssign, {y}).slot = slot;
}

}  // namespace beaverpond
