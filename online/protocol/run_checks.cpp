#include "online/protocol/run_checks.h"

#include <string>

namespace beaverpond {

Result<void> check_plan(const Program& program, const Plan& plan, Protocol protocol) {
  BP_ASSIGN(const Plan expected, make_plan(program, plan.prg, plan.profile, protocol));
  if (plan_hash(expected) == plan_hash(plan)) return {};
  return make_error(ErrorCode::kRosterMismatch,
                    "the plan is not the plan of this program; make it again from the same job");
}

Result<void> check_players(const Program& program, int players) {
  for (const Op& op : program.ops) {
    const bool outside =
        (op.code == OpCode::kInput && op.owner >= static_cast<std::uint32_t>(players)) ||
        (op.code == OpCode::kReveal && players < 64 && (op.receivers >> players) != 0);
    if (!outside) continue;
    return make_error(ErrorCode::kConfig, "layer '" + op.layer + "': " + to_string(op.code) +
                                              " names a player outside 0.." +
                                              std::to_string(players - 1));
  }
  return {};
}

Result<void> check_alive(bool failed) {
  if (!failed) return {};
  return make_error(ErrorCode::kCancelled,
                    "an earlier run of this engine failed; start a new session with a new engine");
}

Result<void> check_order(const Bundle& bundle, const std::optional<std::uint64_t>& last) {
  if (!bundle.empty() && (!last.has_value() || bundle.number() > *last)) return {};
  return make_error(ErrorCode::kConfig,
                    "this bundle is empty or not newer than the last one; take the next bundle "
                    "of a lease");
}

Result<void> check_inputs(const Program& program, const RunInputs& inputs, std::uint32_t member,
                          int rank) {
  if (inputs.inputs.size() != program.inputs) {
    return make_error(ErrorCode::kConfig, "this program takes " + std::to_string(program.inputs) +
                                              " inputs, not " +
                                              std::to_string(inputs.inputs.size()));
  }
  for (const Op& op : program.ops) {
    if (op.code != OpCode::kInput || static_cast<int>(op.owner) != rank) continue;
    if (op.fixed && member > 0) continue;
    const std::uint64_t want = program.value(op.out).shape.count();
    if (inputs.inputs[op.slot].size() == want) continue;
    return make_error(ErrorCode::kConfig, "input " + std::to_string(op.slot) + " has " +
                                              std::to_string(inputs.inputs[op.slot].size()) +
                                              " words where the program takes " +
                                              std::to_string(want));
  }
  return {};
}

}  // namespace beaverpond
