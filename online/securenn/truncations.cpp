#include "online/securenn/truncations.h"

namespace beaverpond::securenn {

std::vector<std::vector<std::uint32_t>> entries_of_operations(const Program& program,
                                                              const Plan& plan) {
  std::vector<std::vector<std::uint32_t>> entries(program.ops.size());
  for (std::uint32_t index = 0; index < plan.entries.size(); ++index) {
    const PlanEntry& entry = plan.entries[index];
    if (entry.kind != EntryKind::kMask) entries[entry.source].push_back(index);
  }
  return entries;
}

void ReadyTruncations::begin(const std::vector<bool>& kept) {
  kept_ = kept;
  ready_.assign(program_.values.size(), false);
  truncated_.assign(program_.ops.size(), false);
  for (std::uint32_t index = 0; index < program_.ops.size(); ++index) {
    const OpCode code = program_.ops[index].code;
    const bool at_hand = code == OpCode::kInput || code == OpCode::kState || this->kept(index);
    if (at_hand) done(index);
  }
}

bool ReadyTruncations::kept(std::uint32_t index) const {
  const Op& op = program_.ops[index];
  return !kept_.empty() && op.out != kNoValue && kept_[op.out];
}

bool ReadyTruncations::has_truncation(std::uint32_t index) const {
  return !entries_[index].empty() && plan_.entries[entries_[index][0]].kind == EntryKind::kTruncate;
}

std::vector<std::uint32_t> ReadyTruncations::take(std::uint32_t index) {
  std::vector<std::uint32_t> found;
  if (!has_truncation(index) || truncated_[index]) return found;
  for (std::uint32_t i = index; i < program_.ops.size(); ++i) {
    if (!has_truncation(i) || truncated_[i] || kept(i)) continue;
    if (!ready_[program_.ops[i].inputs[0]]) continue;
    truncated_[i] = true;
    found.push_back(i);
  }
  return found;
}

void ReadyTruncations::done(std::uint32_t index) {
  const Op& op = program_.ops[index];
  if (op.out != kNoValue) ready_[op.out] = true;
}

}  // namespace beaverpond::securenn
