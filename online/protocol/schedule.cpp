#include "online/protocol/schedule.h"

#include <algorithm>
#include <numeric>

#include "offline/plan/entry_layout.h"

namespace beaverpond {
namespace {

class Scheduler {
 public:
  Scheduler(const Program& program, const Plan& plan)
      : program_(program),
        plan_(plan),
        entry_of_op_(entries_of_ops(program, plan)),
        alias_(value_aliases(program)),
        started_(program.ops.size(), false),
        values_(program.values.size()) {
    find_deferred();
  }

  RunSchedule make(bool later) {
    if (later) keep_fixed_values();
    while (true) {
      advance();
      if (in_flight_.empty() && put_off_.empty()) break;
      schedule_.steps.emplace_back();
      compute_one_put_off();
      exchange();
    }
    BP_CHECK(std::find(started_.begin(), started_.end(), false) == started_.end(),
             "an operation never became ready");
    return std::move(schedule_);
  }

 private:
  struct ValueState {
    bool ready = false;
    bool mask_sent = false;
    bool mask_open = false;
  };

  ValueState& value(ValueId id) { return values_[alias_[id]]; }

  void find_deferred() {
    std::vector<bool> awaited(program_.values.size(), false);
    schedule_.deferred.assign(program_.ops.size(), false);
    for (std::size_t i = program_.ops.size(); i-- > 0;) {
      const Op& op = program_.ops[i];
      const bool interactive = entry_of_op_[i] != kNoIndex;
      const bool out_awaited = op.out != kNoValue && awaited[op.out];
      schedule_.deferred[i] =
          interactive && is_product(plan_.entries[entry_of_op_[i]].kind) && !out_awaited;
      if (interactive || out_awaited) {
        for (const ValueId input : op.inputs) awaited[input] = true;
      }
    }
  }

  void keep_fixed_values() {
    const std::vector<bool> fixed = fixed_values(program_);
    for (std::uint32_t i = 0; i < program_.ops.size(); ++i) {
      const Op& op = program_.ops[i];
      if (op.out == kNoValue || !fixed[op.out]) continue;
      started_[i] = true;
      value(op.out) = {true, true, true};
      if (op.bit != kNoValue) value(op.bit).ready = true;
    }
  }

  void advance() {
    for (bool progress = true; progress;) {
      progress = false;
      for (std::uint32_t i = 0; i < program_.ops.size(); ++i) {
        if (!started_[i] && start(i)) progress = started_[i] = true;
      }
    }
  }

  bool start(std::uint32_t index) {
    const Op& op = program_.ops[index];
    for (const ValueId input : op.inputs) {
      if (!value(input).ready) return false;
    }
    if (entry_of_op_[index] == kNoIndex) {
      schedule_.steps.push_back({index, {}});
      if (op.out != kNoValue) value(op.out).ready = true;
      return true;
    }
    if (is_product(plan_.entries[entry_of_op_[index]].kind)) return start_product(index, op);
    in_flight_.push_back({index, kNoValue, CompareStage::kOpen, true});
    return true;
  }

  bool start_product(std::uint32_t index, const Op& op) {
    bool open = true;
    for (const ValueId input : op.inputs) {
      ValueState& factor = value(input);
      open = open && factor.mask_open;
      if (factor.mask_sent) continue;
      factor.mask_sent = true;
      in_flight_.push_back({index, alias_[input], CompareStage::kOpen, true});
    }
    if (!open) return false;
    if (schedule_.deferred[index]) {
      put_off_.push_back(index);
    } else {
      schedule_.steps.push_back({index, {}});
      value(op.out).ready = true;
    }
    return true;
  }

  void compute_one_put_off() {
    if (put_off_.empty()) return;
    const std::uint32_t index = put_off_.back();
    put_off_.pop_back();
    schedule_.steps.back().op = index;
    value(program_.ops[index].out).ready = true;
  }

  void exchange() {
    std::vector<ScheduledOpening> still;
    for (ScheduledOpening& opening : in_flight_) {
      const CompareStage next = after(opening);
      opening.last = next == CompareStage::kDone;
      if (!opening.last) {
        still.push_back({opening.op, kNoValue, next, true});
        continue;
      }
      if (opening.mask_of != kNoValue) {
        value(opening.mask_of).mask_open = true;
        continue;
      }
      const Op& op = program_.ops[opening.op];
      value(op.out).ready = true;
      if (op.bit != kNoValue) value(op.bit).ready = true;
    }
    schedule_.steps.back().openings = std::move(in_flight_);
    in_flight_ = std::move(still);
  }

  CompareStage after(const ScheduledOpening& opening) const {
    const PlanEntry& entry = plan_.entries[entry_of_op_[opening.op]];
    if (opening.mask_of != kNoValue || !is_comparison(entry.kind)) return CompareStage::kDone;
    return after_stage(compare_layout(entry, plan_.profile), opening.stage);
  }

  const Program& program_;
  const Plan& plan_;
  const std::vector<std::uint32_t> entry_of_op_;
  const std::vector<ValueId> alias_;
  RunSchedule schedule_;
  std::vector<bool> started_;
  std::vector<ValueState> values_;
  std::vector<ScheduledOpening> in_flight_;
  std::vector<std::uint32_t> put_off_;
};

}  // namespace

RunSchedule schedule_run(const Program& program, const Plan& plan, bool later) {
  return Scheduler(program, plan).make(later);
}

std::vector<ValueId> value_aliases(const Program& program) {
  std::vector<ValueId> alias(program.values.size());
  std::iota(alias.begin(), alias.end(), ValueId{0});
  for (const Op& op : program.ops) {
    if (op.code == OpCode::kReshape) alias[op.out] = alias[op.inputs[0]];
  }
  return alias;
}

std::vector<std::uint32_t> entries_of_ops(const Program& program, const Plan& plan) {
  std::vector<std::uint32_t> entries(program.ops.size(), kNoIndex);
  for (std::uint32_t index = 0; index < plan.entries.size(); ++index) {
    const PlanEntry& entry = plan.entries[index];
    if (entry.kind != EntryKind::kMask) entries[entry.source] = index;
  }
  return entries;
}

}  // namespace beaverpond
