#include "online/protocol/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "kernels/backend.h"
#include "offline/plan/entry_layout.h"

namespace beaverpond {
namespace {

constexpr std::uint64_t kAlignWords = 8;
constexpr std::uint32_t kNone = 0xffffffffu;

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
      : program_(program), plan_(plan), additive_(plan.protocol == Protocol::kAdditive) {
    memory_.values.resize(program.values.size());
    memory_.ops.resize(program.ops.size());
    entry_of_op_.assign(program.ops.size(), kNone);
    op_of_bit_.assign(program.values.size(), kNone);
    alias_.resize(program.values.size());
    std::iota(alias_.begin(), alias_.end(), ValueId{0});
    fixed_.assign(program.values.size(), false);
    if (program.members > 1) fixed_ = fixed_values(program);
    set_sizes();
  }

  MemoryPlan make() {
    collect();
    if (additive_) {
      find_deferred();
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
      if (op.code == OpCode::kReshape) alias_[op.out] = alias_[op.inputs[0]];
      if (op.bit != kNoValue) op_of_bit_[op.bit] = index;
      if (op.out == kNoValue || op.code == OpCode::kReshape || op.code == OpCode::kState) continue;
      memory_.values[op.out].share.words = program_.value(op.out).shape.count();
    }
    for (std::uint32_t index = 0; index < plan_.entries.size(); ++index) {
      const PlanEntry& entry = plan_.entries[index];
      if (entry.kind == EntryKind::kMask) {
        MemoryPlan::OfValue& value = memory_.values[entry.source];
        value.mask.words = value.opened.words = entry.count;
        continue;
      }
      entry_of_op_[entry.source] = index;
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

  /// A product whose result feeds only local operations and updates can be computed while a round
  /// is on its way.
  void find_deferred() {
    std::vector<bool> awaited(program_.values.size(), false);
    memory_.deferred.assign(program_.ops.size(), false);
    for (std::size_t i = program_.ops.size(); i-- > 0;) {
      const Op& op = program_.ops[i];
      const bool interactive = entry_of_op_[i] != kNone;
      const bool out_awaited = op.out != kNoValue && awaited[op.out];
      memory_.deferred[i] =
          interactive && is_product(plan_.entries[entry_of_op_[i]].kind) && !out_awaited;
      if (interactive || out_awaited) {
        for (const ValueId input : op.inputs) awaited[input] = true;
      }
    }
  }

  // ---- When it is touched: the engine's schedule (engine.cpp, engine_rounds.cpp) ----

  struct State {
    bool ready = false;
    bool mask_sent = false;
    bool mask_open = false;
  };
  struct Flight {
    std::uint32_t op = 0;
    ValueId opening = kNoValue;  ///< of this value's mask
    int rounds_left = 1;
  };

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
  State& state(ValueId id) { return states_[alias_[id]]; }
  void touch_inputs(const Op& op) {
    for (const ValueId id : op.inputs) {
      touch(value(id).share);
      if (op_of_bit_[id] == kNone) continue;
      touch(memory_.ops[op_of_bit_[id]].delta);
      touch(memory_.ops[op_of_bit_[id]].b);
    }
  }

  void walk(int run, RunTicks& ticks) {
    run_ = run;
    ticks_ = &ticks;
    ticks.of_op.assign(program_.ops.size(), RunTicks::kNever);
    started_.assign(program_.ops.size(), false);
    states_.assign(program_.values.size(), {});
    tick_ = 0;
    if (run > 0) keep_fixed_values();
    while (true) {
      advance();
      if (flights_.empty() && !put_off_.empty()) {
        ++tick_;
        compute_one_put_off();
        continue;
      }
      if (flights_.empty()) break;
      exchange();
    }
    ++tick_;
    for (const Op& op : program_.ops) {
      const bool last =
          op.code == OpCode::kReveal || op.code == OpCode::kUpdate || op.code == OpCode::kAssign;
      if (last) touch_inputs(op);
    }
  }

  void keep_fixed_values() {
    for (std::uint32_t i = 0; i < program_.ops.size(); ++i) {
      const Op& op = program_.ops[i];
      if (op.out == kNoValue || !fixed_[op.out]) continue;
      started_[i] = true;
      state(op.out) = {true, true, true};
      if (op.bit != kNoValue) state(op.bit).ready = true;
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
      if (!state(input).ready) return false;
    }
    if (entry_of_op_[index] == kNone) {
      ++tick_;
      ticks_->of_op[index] = tick_;
      touch_inputs(op);
      if (op.out == kNoValue) return true;
      touch(value(op.out).share);
      state(op.out).ready = true;
      return true;
    }
    const PlanEntry& entry = plan_.entries[entry_of_op_[index]];
    if (is_product(entry.kind)) return start_product(index, op);
    Flight flight;
    flight.op = index;
    if (is_comparison(entry.kind)) {
      flight.rounds_left = compare_layout(entry, plan_.profile).rounds();
    }
    flights_.push_back(flight);
    return true;
  }

  bool start_product(std::uint32_t index, const Op& op) {
    bool open = true;
    for (const ValueId input : op.inputs) {
      open = open && state(input).mask_open;
      if (state(input).mask_sent) continue;
      state(input).mask_sent = true;
      Flight flight;
      flight.op = index;
      flight.opening = input;
      flights_.push_back(flight);
    }
    if (!open) return false;
    if (memory_.deferred[index]) {
      put_off_.push_back(index);
    } else {
      ++tick_;
      compute_product(index);
    }
    return true;
  }

  void compute_product(std::uint32_t index) {
    const Op& op = program_.ops[index];
    ticks_->of_op[index] = tick_;
    for (const ValueId input : op.inputs) {
      touch(value(input).mask);
      touch(value(input).opened);
      touch(value(input).shifted);
    }
    touch(value(op.out).share);
    state(op.out).ready = true;
  }

  void compute_one_put_off() {
    const std::uint32_t index = put_off_.back();
    put_off_.pop_back();
    compute_product(index);
  }

  /// One tick: within a round, strands and a product that was put off come in an order of their
  /// own.
  void exchange() {
    ++tick_;
    if (!put_off_.empty()) compute_one_put_off();
    std::vector<Flight> still;
    for (Flight& flight : flights_) {
      const Op& op = program_.ops[flight.op];
      if (flight.opening != kNoValue) {
        const MemoryPlan::OfValue& opened = value(flight.opening);
        for (const MemoryPlace* place :
             {&opened.share, &opened.mask, &opened.opened, &opened.shifted}) {
          touch(*place);
        }
        state(flight.opening).mask_open = true;
        continue;
      }
      touch_inputs(op);
      touch(memory_.ops[flight.op].opened);
      touch(memory_.ops[flight.op].kept);
      if (--flight.rounds_left > 0) {
        still.push_back(flight);
        continue;
      }
      ticks_->of_op[flight.op] = tick_;
      touch(memory_.ops[flight.op].delta);
      touch(memory_.ops[flight.op].b);
      touch(value(op.out).share);
      state(op.out).ready = true;
      if (op.bit != kNoValue) state(op.bit).ready = true;
    }
    flights_ = std::move(still);
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
  std::vector<std::uint32_t> entry_of_op_;
  std::vector<std::uint32_t> op_of_bit_;  // by value: what made this bit
  std::vector<ValueId> alias_;            // a reshaped value is the value it came from
  std::vector<bool> fixed_;
  std::vector<Tensor> tensors_;  // by the address of their place

  int run_ = 0;
  std::uint32_t tick_ = 0;
  RunTicks* ticks_ = nullptr;
  std::vector<bool> started_;
  std::vector<State> states_;
  std::vector<Flight> flights_;
  std::vector<std::uint32_t> put_off_;
};

}  // namespace

MemoryPlan plan_memory(const Program& program, const Plan& plan) {
  return Planner(program, plan).make();
}

}  // namespace beaverpond
