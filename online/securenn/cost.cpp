#include "online/securenn/cost.h"

#include <utility>

#include "kernels/math/securenn.h"
#include "offline/plan/entry_layout.h"
#include "online/protocol/compare_stage.h"
#include "online/securenn/link.h"
#include "online/securenn/truncations.h"

namespace beaverpond {
namespace securenn {
namespace {

/// The engine's order (engine.cpp, holder.cpp, assistant.cpp, sign.cpp, assist.cpp), message by
/// message.
class Walk {
 public:
  Walk(const Program& program, const Plan& plan, const RunCostOptions& options)
      : program_(program),
        plan_(plan),
        options_(options),
        cost_(run_cost(program, plan, options)),
        entries_(entries_of_operations(program, plan)),
        truncations_(program, plan, entries_),
        alias_(program.values.size()),
        open_(program.values.size(), false),
        mask_of_value_(program.values.size(), kNoMask) {
    for (ValueId id = 0; id < alias_.size(); ++id) alias_[id] = id;
    for (const Op& op : program.ops) {
      if (op.code == OpCode::kReshape) alias_[op.out] = alias_[op.inputs[0]];
    }
    for (std::uint32_t index = 0; index < plan.entries.size(); ++index) {
      const PlanEntry& entry = plan.entries[index];
      if (entry.kind == EntryKind::kMask) mask_of_value_[entry.source] = index;
    }
  }

  RunCost run() {
    std::vector<bool> kept;
    if (options_.member > 0) kept = fixed_values(program_);
    for (ValueId id = 0; id < kept.size(); ++id) {
      if (kept[id]) open_[alias_[id]] = true;
    }
    truncations_.begin(kept);
    share_inputs();
    for (std::uint32_t index = 0; index < program_.ops.size(); ++index) {
      if (truncations_.kept(index)) continue;
      truncate(truncations_.take(index));
      execute(index);
      truncations_.done(index);
    }
    if (!options_.skip_reveals) reveal();
    count_layer_rounds(program_, cost_);
    return std::move(cost_);
  }

 private:
  static constexpr std::uint32_t kNoMask = 0xffffffffu;

  bool assists() const { return options_.rank == kAssistant; }
  std::uint64_t count_of(const Op& op) const { return program_.value(op.out).shape.count(); }

  void part(std::uint32_t op, std::uint64_t bytes) {
    OpCost& cost = cost_.ops[op];
    const auto round = static_cast<std::uint32_t>(cost_.rounds.size());
    if (cost.rounds.empty() || cost.rounds.back() != round) cost.rounds.push_back(round);
    cost.traffic.rounds = cost.rounds.size();
    cost.traffic.sent_bytes += bytes;
  }
  void message(std::uint64_t bytes) { cost_.sent_bytes += message_sent_bytes(bytes); }
  void end_round() { cost_.rounds.emplace_back(); }
  /// A round of one operation, with one message of the player's, or none.
  void round(std::uint32_t op, std::uint64_t bytes) {
    part(op, bytes);
    message(bytes);
    end_round();
  }

  void share_inputs() {
    bool any = false;
    for (std::uint32_t index = 0; index < program_.ops.size(); ++index) {
      const Op& op = program_.ops[index];
      if (op.code != OpCode::kInput || truncations_.kept(index)) continue;
      any = true;
      const bool sends = assists() && op.owner == kAssistant;
      const std::uint64_t bytes = sends ? 8 * count_of(op) : 0;
      part(index, bytes);
      message(bytes);
    }
    if (any) end_round();
  }

  void truncate(const std::vector<std::uint32_t>& ops) {
    if (assists()) return;
    std::vector<CompareLayout> layouts;
    std::vector<CompareStage> stages(ops.size(), CompareStage::kOpen);
    for (const std::uint32_t op : ops) {
      layouts.push_back(compare_layout(plan_.entries[entries_[op][0]], plan_.profile));
    }
    while (true) {
      std::uint64_t words = 0;
      std::uint64_t planes = 0;
      for (std::size_t i = 0; i < ops.size(); ++i) {
        const std::uint64_t count = count_of(program_.ops[ops[i]]);
        const std::uint64_t own_words = stage_words(stages[i], count);
        const std::uint64_t own_planes = stage_plane_words(layouts[i], stages[i], count);
        if (own_words + own_planes > 0) part(ops[i], 8 * (own_words + own_planes));
        words += own_words;
        planes += own_planes;
        stages[i] = after_stage(layouts[i], stages[i]);
      }
      if (words + planes == 0) return;
      message(8 * words);
      message(8 * planes);
      end_round();
    }
  }

  void execute(std::uint32_t index) {
    const Op& op = program_.ops[index];
    if (op.bit != kNoValue) return sign(index);
    switch (op.code) {
      case OpCode::kTruncateTimesBit:
      case OpCode::kMultiplyBit: return multiply(index);
      case OpCode::kLookup:
        if (!assists()) round(index, 8 * count_of(op));
        return;
      case OpCode::kTruncate: return;
      default:
        if (!entries_[index].empty()) product(index);
    }
  }

  void multiply(std::uint32_t index) {
    if (!assists()) round(index, 16 * count_of(program_.ops[index]));
  }

  void sign(std::uint32_t index) {
    const std::uint64_t n = count_of(program_.ops[index]);
    const std::uint64_t words = 8 * n;
    const std::uint64_t digits = kPackedBytes * n;
    if (plan_.protocol == Protocol::kSecurennFused) {
      round(index, assists() ? 0 : words);      // c
      round(index, assists() ? 0 : digits);     // terms
      round(index, assists() ? 2 * words : 0);  // t and r t
      return;
    }
    round(index, assists() ? 0 : words);  // 2x, masked
    part(index, assists() ? digits + words : 0);
    message(assists() ? digits : 0);
    message(assists() ? words : 0);
    end_round();
    round(index, assists() ? 0 : digits);  // terms
    round(index, assists() ? words : 0);   // eta'
    round(index, assists() ? 0 : words);   // 2y + x
    round(index, assists() ? 0 : digits);  // terms
    round(index, assists() ? words : 0);   // gamma
    round(index, assists() ? 0 : 2 * words);
    multiply(index);  // x DReLU(x)
  }

  void product(std::uint32_t index) {
    std::uint64_t sent = 0;
    for (const ValueId input : program_.ops[index].inputs) {
      const ValueId id = alias_[input];
      if (open_[id]) continue;
      open_[id] = true;
      cost_.op_of_entry[mask_of_value_[id]] = index;
      if (assists()) continue;
      const std::uint64_t bytes = 8 * program_.value(id).shape.count();
      part(index, bytes);
      message(bytes);
      sent += bytes;
    }
    if (sent > 0) end_round();
  }

  void reveal() {
    bool any = false;
    for (std::uint32_t index = 0; index < program_.ops.size(); ++index) {
      const Op& op = program_.ops[index];
      if (op.code != OpCode::kReveal) continue;
      any = true;
      const int receivers = assists() ? 0 : receivers_besides(op, kPlayers, options_.rank);
      const std::uint64_t bytes = 8 * program_.value(op.inputs[0]).shape.count();
      part(index, bytes * static_cast<std::uint64_t>(receivers));
      for (int to = 0; to < receivers; ++to) message(bytes);
    }
    if (any) end_round();
  }

  const Program& program_;
  const Plan& plan_;
  RunCostOptions options_;
  RunCost cost_;
  std::vector<std::vector<std::uint32_t>> entries_;
  ReadyTruncations truncations_;
  std::vector<ValueId> alias_;  // a reshaped value is the value it came from
  std::vector<bool> open_;      // by value: X - A is
  std::vector<std::uint32_t> mask_of_value_;
};

}  // namespace
}  // namespace securenn

RunCost securenn_run_cost(const Program& program, const Plan& plan, const RunCostOptions& options) {
  return securenn::Walk(program, plan, options).run();
}

}  // namespace beaverpond
