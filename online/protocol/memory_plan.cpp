#include "online/protocol/memory_plan.h"

#include <algorithm>

#include "kernels/backend.h"
#include "offline/plan/entry_layout.h"
#include "online/protocol/schedule.h"

namespace beaverpond {
namespace {

constexpr std::uint64_t kAlignWords = 8;

/// From the first to the last tick at which a tensor is touched in a run; nothing in between may
/// touch its place.
struct Life {
  std::uint32_t begin = RunTicks::kNever;
  std::uint32_t end = 0;
  bool lived() const { return begin != RunTicks::kNever; }
};

struct Tensor {
  MemoryPlace* place = nullptr;
  Life lives[2];      ///< in the first run of a series and in the others
  bool kept = false;  ///< from run to run
};

bool meet(const Life& x, const Life& y) {
  return x.lived() && y.lived() && x.begin <= y.end && y.begin <= x.end;
}

bool conflict(const Tensor& x, const Tensor& y) {
  return x.kept || y.kept || meet(x.lives[0], y.lives[0]) || meet(x.lives[1], y.lives[1]);
}

class Planner {
 public:
  Planner(const Program& program, const Plan& plan)
      : program_(program),
        plan_(plan),
        additive_(plan.protocol == Protocol::kAdditive),
        entry_of_op_(entries_of_ops(program, plan)),
        alias_(value_aliases(program)) {
    memory_.values.resize(program.values.size());
    memory_.ops.resize(program.ops.size());
    op_of_bit_.assign(program.values.size(), kNoIndex);
    fixed_.assign(program.values.size(), false);
    if (program.members > 1) fixed_ = fixed_values(program);
    set_sizes();
  }

  MemoryPlan make() {
    collect();
    if (additive_) {
      walk(0, memory_.first);
      if (program_.members > 1) walk(1, memory_.later);
    }
    place();
    return std::move(memory_);
  }

 private:
  // ---- What there is ----

  void set_sizes() {
    for (std::uint32_t index = 0; index < program_.ops.size(); ++index) {
      const Op& op = program_.ops[index];
      if (op.bit != kNoValue) op_of_bit_[op.bit] = index;
      if (op.out == kNoValue || op.code == OpCode::kReshape || op.code == OpCode::kState) continue;
      memory_.values[op.out].share.words = program_.value(op.out).shape.count();
    }
    for (const PlanEntry& entry : plan_.entries) {
      if (entry.kind == EntryKind::kMask) {
        MemoryPlan::OfValue& value = memory_.values[entry.source];
        value.mask.words = value.opened.words = entry.count;
        continue;
      }
      if (is_product(entry.kind)) {
        const PlanEntry& second = plan_.entries[entry.mask_y];
        memory_.values[second.source].shifted.words = second.count;
      } else if (additive_ && is_comparison(entry.kind)) {
        const CompareLayout layout = compare_layout(entry, plan_.profile);
        MemoryPlan::OfOp& task = memory_.ops[entry.source];
        task.opened.words = entry.count;
        task.kept.words = compare_kept_words(layout, entry.count);
        if (!layout.wants_sign) continue;
        task.delta.words = packed_words(1, entry.count);
        task.b.words = entry.count;
      }
    }
  }

  void add(MemoryPlace& place, bool kept) {
    if (place.words > 0) tensors_.push_back({&place, {}, kept || !additive_});
  }

  void collect() {
    for (ValueId id = 0; id < memory_.values.size(); ++id) {
      MemoryPlan::OfValue& value = memory_.values[id];
      for (MemoryPlace* place : {&value.share, &value.mask, &value.opened, &value.shifted}) {
        add(*place, fixed_[id]);
      }
    }
    for (std::uint32_t index = 0; index < memory_.ops.size(); ++index) {
      MemoryPlan::OfOp& task = memory_.ops[index];
      const Op& op = program_.ops[index];
      const bool kept = op.out != kNoValue && fixed_[op.out];
      for (MemoryPlace* place : {&task.opened, &task.kept, &task.delta, &task.b}) {
        add(*place, kept);
      }
    }
    std::sort(tensors_.begin(), tensors_.end(),
              [](const Tensor& x, const Tensor& y) { return x.place < y.place; });
  }

  // ---- When it is touched ----

  void touch(const MemoryPlace& place) {
    if (place.words == 0) return;
    const auto at = std::lower_bound(
        tensors_.begin(), tensors_.end(), &place,
        [](const Tensor& tensor, const MemoryPlace* wanted) { return tensor.place < wanted; });
    Life& life = at->lives[run_];
    life.begin = std::min(life.begin, tick_);
    life.end = std::max(life.end, tick_);
  }
  MemoryPlan::OfValue& value(ValueId id) { return memory_.values[alias_[id]]; }
  void touch_inputs(const Op& op) {
    for (const ValueId id : op.inputs) {
      touch(value(id).share);
      if (op_of_bit_[id] == kNoIndex) continue;
      touch(memory_.ops[op_of_bit_[id]].delta);
      touch(memory_.ops[op_of_bit_[id]].b);
    }
  }

  void walk(int run, RunTicks& ticks) {
    RunSchedule schedule = schedule_run(program_, plan_, run > 0);
    run_ = run;
    ticks_ = &ticks;
    ticks.of_op.assign(program_.ops.size(), RunTicks::kNever);
    tick_ = 0;
    // One tick for all of a round: strands and a product that was put off come in an order of
    // their own.
    for (const ScheduleStep& step : schedule.steps) {
      ++tick_;
      if (step.op != kNoIndex) compute(step.op);
      for (const ScheduledOpening& opening : step.openings) exchange(opening);
    }
    ++tick_;
    for (const Op& op : program_.ops) {
      const bool last =
          op.code == OpCode::kReveal || op.code == OpCode::kUpdate || op.code == OpCode::kAssign;
      if (last) touch_inputs(op);
    }
    memory_.deferred = std::move(schedule.deferred);  // the same in all runs
  }

  void compute(std::uint32_t index) {
    const Op& op = program_.ops[index];
    ticks_->of_op[index] = tick_;
    if (entry_of_op_[index] == kNoIndex) {
      touch_inputs(op);
    } else {
      for (const ValueId input : op.inputs) {
        touch(value(input).mask);
        touch(value(input).opened);
        touch(value(input).shifted);
      }
    }
    if (op.out != kNoValue) touch(value(op.out).share);
  }

  void exchange(const ScheduledOpening& opening) {
    if (opening.mask_of != kNoValue) {
      const MemoryPlan::OfValue& opened = value(opening.mask_of);
      for (const MemoryPlace* place :
           {&opened.share, &opened.mask, &opened.opened, &opened.shifted}) {
        touch(*place);
      }
      return;
    }
    const Op& op = program_.ops[opening.op];
    const MemoryPlan::OfOp& task = memory_.ops[opening.op];
    touch_inputs(op);
    touch(task.opened);
    touch(task.kept);
    if (!opening.last) return;
    ticks_->of_op[opening.op] = tick_;
    touch(task.delta);
    touch(task.b);
    touch(value(op.out).share);
  }

  // ---- Where it lies ----

  /// The large ones first, each at the lowest place that no tensor of its time has.
  void place() {
    std::vector<const Tensor*> order;
    for (const Tensor& tensor : tensors_) order.push_back(&tensor);
    std::stable_sort(order.begin(), order.end(), [](const Tensor* x, const Tensor* y) {
      return x->place->words > y->place->words;
    });
    const auto end_of = [](const MemoryPlace& place) {
      return (place.first + place.words + kAlignWords - 1) / kAlignWords * kAlignWords;
    };
    std::uint64_t end = 0;
    std::vector<const Tensor*> placed;  // ascending
    for (const Tensor* tensor : order) {
      std::uint64_t at = 0;
      for (const Tensor* other : placed) {
        if (other->place->first >= at + tensor->place->words) break;
        if (conflict(*tensor, *other)) at = std::max(at, end_of(*other->place));
      }
      tensor->place->first = at;
      end = std::max(end, end_of(*tensor->place));
      memory_.apart.value += (tensor->place->words + kAlignWords - 1) / kAlignWords * 64;
      const auto before = std::upper_bound(
          placed.begin(), placed.end(), at,
          [](std::uint64_t first, const Tensor* other) { return first < other->place->first; });
      placed.insert(before, tensor);
    }
    memory_.size = ByteCount{end * 8};
  }

  const Program& program_;
  const Plan& plan_;
  const bool additive_;
  MemoryPlan memory_;
  const std::vector<std::uint32_t> entry_of_op_;
  const std::vector<ValueId> alias_;
  std::vector<std::uint32_t> op_of_bit_;  // by value: what made this bit
  std::vector<bool> fixed_;
  std::vector<Tensor> tensors_;  // by the address of their place

  int run_ = 0;
  std::uint32_t tick_ = 0;
  RunTicks* ticks_ = nullptr;
};

}  // namespace

MemoryPlan plan_memory(const Program& program, const Plan& plan) {
  return Planner(program, plan).make();
}

}  // namespace beaverpond
