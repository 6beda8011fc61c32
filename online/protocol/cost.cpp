#include "online/protocol/cost.h"

#include <algorithm>
#include <optional>

#include "offline/plan/entry_layout.h"
#include "online/protocol/schedule.h"

namespace beaverpond {
namespace {

class RunCounter {
 public:
  RunCounter(const Program& program, const Plan& plan, const RunCostOptions& options)
      : program_(program),
        plan_(plan),
        options_(options),
        additive_(plan.protocol == Protocol::kAdditive) {
    cost_.ops.resize(program.ops.size());
    cost_.op_of_entry.assign(plan.entries.size(), kNoIndex);
    layouts_.resize(program.ops.size());
    mask_of_value_.assign(program.values.size(), kNoIndex);
    for (std::uint32_t index = 0; index < plan.entries.size(); ++index) {
      const PlanEntry& entry = plan.entries[index];
      if (entry.kind == EntryKind::kMask) {
        mask_of_value_[entry.source] = index;
        continue;
      }
      cost_.op_of_entry[index] = entry.source;
      if (additive_ && is_comparison(entry.kind)) {
        layouts_[entry.source] = compare_layout(entry, plan.profile);
      }
    }
  }

  RunCost run() {
    if (additive_) {
      const RunSchedule schedule = schedule_run(program_, plan_, options_.member > 0);
      for (const ScheduleStep& step : schedule.steps) {
        if (!step.openings.empty()) exchange(step.openings);
      }
      if (!options_.skip_reveals) reveal();
    }
    add_offline();
    count_layer_rounds(program_, cost_);
    return std::move(cost_);
  }

 private:
  void exchange(const std::vector<ScheduledOpening>& openings) {
    RoundCost round;
    std::vector<std::pair<std::uint32_t, OpTraffic>> sent_by;
    OpTraffic together;  // what is not in pieces opens together
    for (const ScheduledOpening& opening : openings) {
      const bool is_mask = opening.mask_of != kNoValue;
      if (is_mask) cost_.op_of_entry[mask_of_value_[opening.mask_of]] = opening.op;
      const bool is_lookup = !is_mask && !layouts_[opening.op].has_value();
      const ValueId opened = is_mask ? opening.mask_of : program_.ops[opening.op].out;
      const std::uint64_t count = program_.value(opened).shape.count();
      const PieceCut cut = is_lookup ? PieceCut{1, count} : piece_cut(count);
      OpTraffic sent;
      if (cut.pieces > 1) {
        for (std::uint64_t first = 0; first < count; first += cut.piece_elements) {
          OpTraffic piece = opened_by(opening, std::min(cut.piece_elements, count - first));
          add_openings(round, piece);
          piece.large_words = large_words(piece, piece);
          sent += piece;
        }
        take_part(opening.op, sent);
      } else {
        sent = opened_by(opening, count);
        together += sent;
        sent_by.emplace_back(opening.op, sent);
      }
      round.words += sent.opened_words;
      round.plane_words += sent.opened_plane_words;
    }
    for (auto& [op, sent] : sent_by) {
      sent.large_words = large_words(sent, together);
      take_part(op, sent);
    }
    add_openings(round, together);
    cost_.rounds.push_back(std::move(round));
  }

  OpTraffic opened_by(const ScheduledOpening& opening, std::uint64_t count) const {
    OpTraffic sent;
    sent.opened_words = stage_words(opening.stage, count);
    const std::optional<CompareLayout>& layout = layouts_[opening.op];
    if (opening.mask_of == kNoValue && layout.has_value()) {
      sent.opened_plane_words = stage_plane_words(*layout, opening.stage, count);
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
  const bool additive_;
  RunCost cost_;
  std::vector<std::uint32_t> mask_of_value_;
  std::vector<std::optional<CompareLayout>> layouts_;  // by operation: of comparisons
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
  return RunCounter(program, plan, options).run();
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

std::uint64_t message_steps(const RunCost& cost, int players) {
  std::uint64_t steps = 0;
  for (const RoundCost& round : cost.rounds) {
    std::uint64_t longest = 1;
    for (const std::uint64_t words : round.openings) {
      longest = std::max(longest, all_reduce_steps(players, opening_part_words(words)));
    }
    steps += longest;
  }
  return steps;
}

}  // namespace beaverpond
