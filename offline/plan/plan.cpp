#include "offline/plan/plan.h"

#include <map>
#include <optional>

#include "offline/plan/entry_layout.h"

namespace beaverpond {
namespace {

std::uint64_t round_up_64(std::uint64_t bytes) {
  return (bytes + 63) / 64 * 64;
}

/// The entry kind that an operation needs, or nothing for local operations.
std::optional<EntryKind> entry_kind(OpCode code) {
  switch (code) {
    case OpCode::kTruncate: return EntryKind::kTruncate;
    case OpCode::kReluTruncate: return EntryKind::kReluTruncate;
    case OpCode::kTruncateTimesBit: return EntryKind::kTruncateTimesBit;
    case OpCode::kRelu: return EntryKind::kRelu;
    case OpCode::kMultiplyBit: return EntryKind::kMultiplyBit;
    case OpCode::kMatMul: return EntryKind::kMatMul;
    case OpCode::kConv2d: return EntryKind::kConv2d;
    case OpCode::kConv2dGradWeight: return EntryKind::kConv2dGradWeight;
    case OpCode::kConv2dGradInput: return EntryKind::kConv2dGradInput;
    case OpCode::kMultiply: return EntryKind::kMultiply;
    case OpCode::kLookup: return EntryKind::kLookup;
    default: return std::nullopt;
  }
}

class Planner {
 public:
  Planner(const Program& program, PrgKind prg, Protocol protocol) : program_(program) {
    plan_.prg = prg;
    plan_.protocol = protocol;
    plan_.members = program.members;
  }

  Result<Plan> run() {
    if (program_.members > 1) fixed_ = fixed_values(program_);
    for (std::uint32_t index = 0; index < program_.ops.size(); ++index) {
      const Op& op = program_.ops[index];
      if (op.code == OpCode::kReshape) {
        alias_[op.out] = resolve(op.inputs[0]);
        continue;
      }
      if (op.code == OpCode::kExactSoftmax || op.code == OpCode::kExactCrossEntropy) {
        return make_error(ErrorCode::kConfig, "layer '" + op.layer + "': " + to_string(op.code) +
                                                  " runs in plaintext only");
      }
      const std::optional<EntryKind> kind = entry_kind(op.code);
      if (!kind) continue;
      PlanEntry entry;
      entry.kind = *kind;
      entry.source = index;
      entry.count = program_.value(op.out).shape.count();
      entry.shift = op.shift;
      entry.head = is_fixed(op.out);
      if (is_product(*kind)) {
        add_product(op, entry);
      } else if (*kind == EntryKind::kLookup) {
        entry.table = table_of(op.words);
        plan_.entries.push_back(entry);
      } else if (plan_.protocol != Protocol::kAdditive) {
        add_securenn(op, entry);
      } else {
        BP_TRY(add_comparison(op, entry));
      }
    }
    lay_out(plan_);
    return std::move(plan_);
  }

 private:
  ValueId resolve(ValueId id) const {
    const auto it = alias_.find(id);
    return it == alias_.end() ? id : it->second;
  }

  bool is_fixed(ValueId id) const { return !fixed_.empty() && fixed_[id]; }

  std::uint32_t table_of(const std::vector<std::uint64_t>& words) {
    std::uint32_t index = 0;
    while (index < plan_.tables.size() && plan_.tables[index] != words) ++index;
    if (index == plan_.tables.size()) plan_.tables.push_back(words);
    return index;
  }

  /// One mask per value, however many products it takes part in.
  std::uint32_t mask_of(ValueId id) {
    const ValueId value = resolve(id);
    const auto it = mask_.find(value);
    if (it != mask_.end()) return it->second;
    PlanEntry entry;
    entry.kind = EntryKind::kMask;
    entry.source = value;
    entry.count = program_.value(value).shape.count();
    entry.head = is_fixed(value);
    const auto index = static_cast<std::uint32_t>(plan_.entries.size());
    plan_.entries.push_back(entry);
    mask_[value] = index;
    return index;
  }

  void add_product(const Op& op, PlanEntry entry) {
    entry.mask_x = mask_of(op.inputs[0]);
    entry.mask_y = mask_of(op.inputs[1]);
    entry.transpose_x = op.transpose_x;
    entry.transpose_y = op.transpose_y;
    entry.conv = op.conv;
    if (entry.kind == EntryKind::kMatMul) {
      const Shape& x = program_.value(op.inputs[0]).shape;
      const Shape& out = program_.value(op.out).shape;
      entry.m = out[0];
      entry.n = out[1];
      entry.k = op.transpose_x ? x[0] : x[1];
    }
    plan_.entries.push_back(entry);
  }

  /// A truncation is dealt; signs take the assistant, and products with bits a triple.
  void add_securenn(const Op& op, PlanEntry entry) {
    const auto add = [this, &entry](EntryKind kind) {
      entry.kind = kind;
      plan_.entries.push_back(entry);
    };
    if (op.shift > 0) add(EntryKind::kTruncate);
    entry.shift = 0;
    const bool product_with_bit =
        op.code == OpCode::kTruncateTimesBit || op.code == OpCode::kMultiplyBit;
    if (product_with_bit) add(EntryKind::kScalarTriple);
    if (op.bit == kNoValue) return;
    if (plan_.protocol == Protocol::kSecurennFused) return add(EntryKind::kOpenedSign);
    add(EntryKind::kConvertedSign);
    add(EntryKind::kScalarTriple);  // MSB = gamma ^ lambda
    add(EntryKind::kScalarTriple);  // ReLU = x * DReLU
  }

  Result<void> add_comparison(const Op& op, PlanEntry entry) {
    if (op.inputs.size() == 2) {
      const auto it = bit_entry_.find(op.inputs[1]);
      if (it == bit_entry_.end()) {
        return make_error(ErrorCode::kConfig, "layer '" + op.layer + "': the bit of a " +
                                                  to_string(op.code) +
                                                  " must come from a relu before it");
      }
      entry.forward = it->second;
    }
    const auto index = static_cast<std::uint32_t>(plan_.entries.size());
    if (op.bit != kNoValue) bit_entry_[op.bit] = index;
    plan_.entries.push_back(entry);
    return {};
  }

  const Program& program_;
  Plan plan_;
  std::map<ValueId, ValueId> alias_;
  std::map<ValueId, std::uint32_t> mask_;
  std::map<ValueId, std::uint32_t> bit_entry_;
  std::vector<bool> fixed_;  ///< by value; empty where there is no series
};

}  // namespace

std::vector<bool> fixed_values(const Program& program) {
  std::vector<bool> fixed(program.values.size(), false);
  for (const Op& op : program.ops) {
    bool all = op.fixed || !op.inputs.empty();
    for (const ValueId input : op.inputs) all = all && fixed[input];
    if (op.out != kNoValue) fixed[op.out] = all;
    if (op.bit != kNoValue) fixed[op.bit] = all;
  }
  return fixed;
}

const char* to_string(EntryKind kind) {
  switch (kind) {
    case EntryKind::kMask: return "mask";
    case EntryKind::kMatMul: return "matmul";
    case EntryKind::kConv2d: return "conv2d";
    case EntryKind::kConv2dGradWeight: return "conv2d-grad-weight";
    case EntryKind::kConv2dGradInput: return "conv2d-grad-input";
    case EntryKind::kMultiply: return "multiply";
    case EntryKind::kTruncate: return "truncate";
    case EntryKind::kReluTruncate: return "relu-truncate";
    case EntryKind::kTruncateTimesBit: return "truncate-times-bit";
    case EntryKind::kRelu: return "relu";
    case EntryKind::kMultiplyBit: return "multiply-bit";
    case EntryKind::kLookup: return "lookup";
    case EntryKind::kScalarTriple: return "scalar-triple";
    case EntryKind::kConvertedSign: return "converted-sign";
    case EntryKind::kOpenedSign: return "opened-sign";
  }
  return "unknown";
}

bool is_product(EntryKind kind) {
  return kind >= EntryKind::kMatMul && kind <= EntryKind::kMultiply;
}

bool is_comparison(EntryKind kind) {
  return kind >= EntryKind::kTruncate && kind <= EntryKind::kMultiplyBit;
}

CompareLayout compare_layout(const PlanEntry& entry) {
  const int shift = static_cast<int>(entry.shift);
  switch (entry.kind) {
    case EntryKind::kTruncate: return make_compare_layout(CompareUse::kTruncate, shift);
    case EntryKind::kReluTruncate: return make_compare_layout(CompareUse::kReluTruncate, shift);
    case EntryKind::kTruncateTimesBit:
      return make_compare_layout(CompareUse::kTruncateTimesBit, shift);
    case EntryKind::kRelu: return make_compare_layout(CompareUse::kRelu, 0);
    case EntryKind::kMultiplyBit: return make_compare_layout(CompareUse::kMultiplyBit, 0);
    default: break;
  }
  BP_CHECK(false, "only comparisons have a compare layout");
}

void lay_out(Plan& plan) {
  std::uint64_t offset = 0;
  // The head's corrections first, then those of member 0, member 1 ..
  for (const bool head : {true, false}) {
    const std::uint64_t begin = offset;
    for (PlanEntry& entry : plan.entries) {
      if (entry.head != head) continue;
      std::uint64_t size = 0;
      if (is_product(entry.kind)) {
        size = entry.count * 8;
      } else if (entry.kind == EntryKind::kLookup) {
        size = entry.count * plan.tables[entry.table].size() * 8;
      } else if (entry.kind == EntryKind::kScalarTriple) {
        size = entry.count * 8;
      } else if (entry.kind == EntryKind::kConvertedSign || entry.kind == EntryKind::kOpenedSign) {
        size = sign_correction_bytes(entry.count);
      } else if (entry.kind != EntryKind::kMask) {
        const CompareLayout layout = compare_layout(entry);
        size = layout.blocks(entry.count) * layout.correction_record_bytes();
      }
      entry.correction_offset_bytes = offset;
      entry.correction_size_bytes = size;
      offset += round_up_64(size);
    }
    plan.member_size_bytes = offset - begin;
  }
  offset += plan.member_size_bytes * (plan.members - std::uint64_t{1});
  plan.correction_size = ByteCount{offset};
}

Result<Plan> make_plan(const Program& program, PrgKind prg, Protocol protocol) {
  return Planner(program, prg, protocol).run();
}

}  // namespace beaverpond
