#include "online/protocol/cost.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "offline/plan/entry_layout.h"
#include "online/protocol/compare_stage.h"

namespace beaverpond {
namespace {

constexpr std::uint32_t kNone = 0xffffffffu;

/// The engine's data flow (engine.cpp, engine_rounds.cpp): whatever is ready starts, and all that
/// needs a message shares the next round. Products that are put off feed no round, so here they
/// are done at once.
class Schedule {
 public:
  Schedule(const Program& program, const Plan& plan, const RunCostOptions& options)
      : program_(program), plan_(plan), options_(options) {
    cost_.ops.resize(program.ops.size());
    cost_.op_of_entry.assign(plan.entries.size(), kNone);
    entry_of_op_.assign(program.ops.size(), kNone);
    mask_of_value_.assign(program.values.size(), kNone);
    started_.assign(program.ops.size(), false);
    values_.resize(program.values.size());
    alias_.resize(program.values.size());
    for (ValueId id = 0; id < alias_.size(); ++id) alias_[id] = id;
    for (const Op& op : program.ops) {
      if (op.code == OpCode::kReshape) alias_[op.out] = alias_[op.inputs[0]];
    }
    for (std::uint32_t index = 0; index < plan.entries.size(); ++index) {
      const PlanEntry& entry = plan.entries[index];
      if (entry.kind == EntryKind::kMask) {
        mask_of_value_[entry.source] = index;
      } else {
        entry_of_op_[entry.source] = index;
        cost_.op_of_entry[index] = entry.source;
      }
    }
  }

  RunCost run() {
    if (plan_.protocol != Protocol::kAdditive) {
      add_offline();
      count_layer_rounds(program_, cost_);
      return std::move(cost_);
    }
    keep_fixed_values();
    for (advance(); !in_flight_.empty(); advance()) exchange();
    BP_CHECK(std::find(started_.begin(), started_.end(), false) == started_.end(),
             "an operation never became ready");
    if (!options_.skip_reveals) reveal();
    add_offline();
    count_layer_rounds(program_, cost_);
    return std::move(cost_);
  }

 private:
  struct ValueState {
    bool ready = false;
    bool mask_sent = false;
    bool mask_open = false;
  };
  struct Flight {
    std::uint32_t op = 0;
    std::optional<ValueId> opening;       // of a mask
    std::optional<CompareLayout> layout;  // of a comparison; else a lookup
    CompareStage stage = CompareStage::kOpen;
  };

  ValueState& value(ValueId id) { return values_[alias_[id]]; }

  // As after the first run of a series, whose openings of masks are kept too.
  void keep_fixed_values() {
    if (program_.members > 1) fixed_ = fixed_values(program_);
    if (options_.member == 0) return;
    for (std::uint32_t i = 0; i < program_.ops.size(); ++i) {
      const Op& op = program_.ops[i];
      if (op.out == kNoValue || !fixed_[op.out]) continue;
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
    if (entry_of_op_[index] == kNone) {
      if (op.out != kNoValue) value(op.out).ready = true;
      return true;
    }
    const PlanEntry& entry = plan_.entries[entry_of_op_[index]];
    if (is_product(entry.kind)) return start_product(index, op);
    Flight flight;
    flight.op = index;
    if (is_comparison(entry.kind)) flight.layout = compare_layout(entry, plan_.profile);
    in_flight_.push_back(std::move(flight));
    return true;
  }

  bool start_product(std::uint32_t index, const Op& op) {
    bool open = true;
    for (const ValueId input : op.inputs) {
      ValueState& factor = value(input);
      open = open && factor.mask_open;
      if (factor.mask_sent) continue;
      factor.mask_sent = true;
      cost_.op_of_entry[mask_of_value_[alias_[input]]] = index;
      Flight flight;
      flight.op = index;
      flight.opening = input;
      in_flight_.push_back(std::move(flight));
    }
    if (open) value(op.out).ready = true;
    return open;
  }

  void exchange() {
    RoundCost round;
    std::vector<Flight> still;
    std::vector<std::pair<std::uint32_t, OpTraffic>> sent_by;
    OpTraffic together;  // what is not in pieces opens together
    for (Flight& flight : in_flight_) {
      const Op& op = program_.ops[flight.op];
      const std::uint64_t count = program_.value(flight.opening.value_or(op.out)).shape.count();
      const PieceCut cut = is_lookup(flight) ? PieceCut{1, count} : piece_cut(count);
      OpTraffic sent;
      if (cut.pieces > 1) {
        for (std::uint64_t first = 0; first < count; first += cut.piece_elements) {
          OpTraffic piece = opened_by(flight, std::min(cut.piece_elements, count - first));
          add_openings(round, piece);
          piece.large_words = large_words(piece, piece);
          sent += piece;
        }
        take_part(flight.op, sent);
      } else {
        sent = opened_by(flight, count);
        together += sent;
        sent_by.emplace_back(flight.op, sent);
      }
      flight.stage = flight.layout.has_value() ? after_stage(*flight.layout, flight.stage)
                                               : CompareStage::kDone;
      round.words += sent.opened_words;
      round.plane_words += sent.opened_plane_words;
      if (flight.opening.has_value()) {
        value(*flight.opening).mask_open = true;
      } else if (flight.stage != CompareStage::kDone) {
        still.push_back(std::move(flight));
      } else {
        value(op.out).ready = true;
        if (op.bit != kNoValue) value(op.bit).ready = true;
      }
    }
    for (auto& [op, sent] : sent_by) {
      sent.large_words = large_words(sent, together);
      take_part(op, sent);
    }
    in_flight_ = std::move(still);
    add_openings(round, together);
    cost_.rounds.push_back(std::move(round));
  }

  static bool is_lookup(const Flight& flight) {
    return !flight.layout.has_value() && !flight.opening.has_value();
  }
  static OpTraffic opened_by(const Flight& flight, std::uint64_t count) {
    OpTraffic sent;
    sent.opened_words = stage_words(flight.stage, count);
    if (flight.layout.has_value()) {
      sent.opened_plane_words = stage_plane_words(*flight.layout, flight.stage, count);
    }
    return sent;
  }
  /// Of what `part` opens as part of `whole`.
  static std::uint64_t large_words(const OpTraffic& part, const OpTraffic& whole) {
    return (is_large_opening(whole.opened_words) ? part.opened_words : 0) +
           (is_large_opening(whole.opened_plane_words) ? part.opened_plane_words : 0);
  }
  static void add_openings(RoundCost& round, const OpTraffic& sent) {
    for (const std::uint64_t words : {sent.opened_words, sent.opened_plane_words}) {
      if (words != 0) round.openings.push_back(words);
    }
  }

  void take_part(std::uint32_t op, const OpTraffic& sent) {
    OpCost& cost = cost_.ops[op];
    const auto round = static_cast<std::uint32_t>(cost_.rounds.size());
    if (cost.rounds.empty() || cost.rounds.back() != round) cost.rounds.push_back(round);
    cost.traffic += sent;
    cost.traffic.rounds = cost.rounds.size();
  }

  void reveal() {
    RoundCost round;
    bool any = false;
    for (std::uint32_t i = 0; i < program_.ops.size(); ++i) {
      const Op& op = program_.ops[i];
      if (op.code != OpCode::kReveal) continue;
      any = true;
      OpTraffic sent;
      sent.revealed_words = program_.value(op.inputs[0]).shape.count();
      take_part(i, sent);
      round.words += sent.revealed_words;
    }
    if (any) cost_.rounds.push_back(round);
  }

  void add_offline() {
    for (const PlanEntry& entry : plan_.entries) {
      if (entry.kind == EntryKind::kMask || (entry.head && options_.member > 0)) continue;
      OpCost& cost = cost_.ops[entry.source];
      cost.bundle_bytes += (entry.correction_size_bytes + 63) / 64 * 64;
      cost.multiply_adds += multiply_adds(entry);
    }
  }

  const Program& program_;
  const Plan& plan_;
  RunCostOptions options_;
  RunCost cost_;
  std::vector<std::uint32_t> entry_of_op_;
  std::vector<std::uint32_t> mask_of_value_;
  std::vector<bool> started_;
  std::vector<ValueState> values_;
  std::vector<ValueId> alias_;  // a reshaped value is the value it came from
  std::vector<bool> fixed_;
  std::vector<Flight> in_flight_;
};

}  // namespace

std::uint64_t multiply_adds(const PlanEntry& entry) {
  if (entry.kind == EntryKind::kMatMul) return std::uint64_t{entry.m} * entry.n * entry.k;
  if (entry.kind == EntryKind::kMultiply) return entry.count;
  if (!is_product(entry.kind)) return 0;
  return entry.conv.patch_rows() * entry.conv.patch_columns() * entry.conv.out_channels;
}

void count_layer_rounds(const Program& program, RunCost& cost) {
  const ProgramLayers layers = program_layers(program);
  std::vector<std::vector<bool>> in_round(layers.names.size(),
                                          std::vector<bool>(cost.rounds.size(), false));
  for (std::uint32_t i = 0; i < cost.ops.size(); ++i) {
    for (const std::uint32_t round : cost.ops[i].rounds) in_round[layers.of_op[i]][round] = true;
  }
  cost.layer_rounds.clear();
  for (const std::vector<bool>& rounds : in_round) {
    cost.layer_rounds.push_back(
        static_cast<std::uint64_t>(std::count(rounds.begin(), rounds.end(), true)));
  }
}

RunCost run_cost(const Program& program, const Plan& plan, const RunCostOptions& options) {
  BP_CHECK(options.member < program.members, "the series has this member");
  return Schedule(program, plan, options).run();
}

std::uint64_t sent_bytes(const Program& program, const RunCost& cost, int players, int rank) {
  std::uint64_t bytes = cost.sent_bytes;
  for (std::uint32_t i = 0; i < cost.ops.size(); ++i) {
    const std::uint64_t words = cost.ops[i].traffic.revealed_words;
    if (words == 0) continue;
    bytes += message_sent_bytes(words * 8) *
             static_cast<std::uint64_t>(receivers_besides(program.ops[i], players, rank));
  }
  for (const RoundCost& round : cost.rounds) {
    for (const std::uint64_t words : round.openings) {
      bytes += opening_sent_bytes(words, players, rank);
    }
  }
  return bytes;
}

}  // namespace beaverpond
