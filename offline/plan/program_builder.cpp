#include "beaverpond/program_builder.h"

#include <algorithm>

#include "offline/plan/builder_checks.h"

namespace beaverpond {
namespace {

constexpr std::uint32_t kMinShift = 1;
constexpr std::uint32_t kMaxShift = 61;
// A value of scale 62 has no integer bit left inside the domain of a truncation.
constexpr int kMaxScaleBits = 62;
constexpr std::uint32_t kMaxMembers = 1u << 16;

std::string shift_text(std::uint32_t shift) {
  return "shift " + std::to_string(shift) + " is outside 1..61";
}

}  // namespace

ValueId ProgramBuilder::fail(const std::string& what) {
  if (!failed()) {
    error_ = make_error(
        ErrorCode::kConfig,
        (layer_.empty() ? std::string("program") : "layer '" + layer_ + "'") + ": " + what);
  }
  return kNoValue;
}

bool ProgramBuilder::usable(ValueId id, ValueKind kind, const char* what) {
  if (failed()) return false;
  if (id >= program_.values.size()) {
    fail(std::string(what) + ": input is not a value of this program");
    return false;
  }
  if (program_.values[id].kind != kind) {
    fail(std::string(what) + ": input must be " +
         (kind == ValueKind::kWord ? "words, not bits" : "the bit of a relu, not words"));
    return false;
  }
  return true;
}

ValueId ProgramBuilder::add_value(ValueKind kind, Shape shape, int scale_bits) {
  if (failed()) return kNoValue;
  if (checked_count(shape) == 0) return fail("shape " + shape.str() + " is empty or too large");
  if (scale_bits < 0 || scale_bits > kMaxScaleBits) {
    return fail("scale " + std::to_string(scale_bits) + " is outside 0..62; lower fraction_bits");
  }
  program_.values.push_back(Value{kind, shape, scale_bits});
  return static_cast<ValueId>(program_.values.size() - 1);
}

Op& ProgramBuilder::add_op(OpCode code, std::vector<ValueId> inputs) {
  Op& op = program_.ops.emplace_back();
  op.code = code;
  op.inputs = std::move(inputs);
  op.layer = layer_;
  return op;
}

ValueId ProgramBuilder::unary(OpCode code, ValueId x, Shape shape, int scale_bits) {
  const ValueId out = add_value(ValueKind::kWord, shape, scale_bits);
  if (!failed()) add_op(code, {x}).out = out;
  return out;
}

ValueId ProgramBuilder::truncation(OpCode code, std::vector<ValueId> inputs, std::uint32_t shift,
                                   bool round) {
  const Value x = program_.values[inputs[0]];
  if (shift < kMinShift || shift > kMaxShift) {
    return fail(std::string(to_string(code)) + ": " + shift_text(shift));
  }
  const ValueId out = add_value(ValueKind::kWord, x.shape, x.scale_bits - static_cast<int>(shift));
  if (failed()) return kNoValue;
  Op& op = add_op(code, std::move(inputs));
  op.out = out;
  op.shift = shift;
  op.round_to_nearest = round;
  return out;
}

ValueId ProgramBuilder::input(std::uint32_t owner, Shape shape, int scale_bits, bool fixed) {
  const ValueId out = add_value(ValueKind::kWord, shape, scale_bits);
  if (failed()) return kNoValue;
  Op& op = add_op(OpCode::kInput, {});
  op.out = out;
  op.fixed = fixed;
  op.owner = owner;
  op.slot = program_.inputs++;
  return out;
}

ValueId ProgramBuilder::state(Shape shape, int scale_bits, bool fixed) {
  const ValueId out = add_value(ValueKind::kWord, shape, scale_bits);
  if (failed()) return kNoValue;
  Op& op = add_op(OpCode::kState, {});
  op.out = out;
  op.fixed = fixed;
  op.slot = program_.states++;
  return out;
}

ValueId ProgramBuilder::truncate(ValueId x, std::uint32_t shift, bool round_to_nearest) {
  if (!usable(x, ValueKind::kWord, "truncate")) return kNoValue;
  return truncation(OpCode::kTruncate, {x}, shift, round_to_nearest);
}

ValueAndBit ProgramBuilder::relu_truncate(ValueId x, std::uint32_t shift, bool round_to_nearest) {
  if (!usable(x, ValueKind::kWord, "relu-truncate")) return {};
  const ValueId out = truncation(OpCode::kReluTruncate, {x}, shift, round_to_nearest);
  if (failed()) return {};
  const ValueId bit = add_value(ValueKind::kBit, program_.values[x].shape, 0);
  program_.ops.back().bit = bit;
  return {out, bit};
}

ValueId ProgramBuilder::truncate_times_bit(ValueId x, ValueId bit, std::uint32_t shift,
                                           bool round_to_nearest) {
  if (!usable(x, ValueKind::kWord, "truncate-times-bit")) return kNoValue;
  if (!usable(bit, ValueKind::kBit, "truncate-times-bit")) return kNoValue;
  if (program_.values[x].shape != program_.values[bit].shape) {
    return fail("truncate-times-bit: shapes " + program_.values[x].shape.str() + " and " +
                program_.values[bit].shape.str() + " differ");
  }
  return truncation(OpCode::kTruncateTimesBit, {x, bit}, shift, round_to_nearest);
}

ValueAndBit ProgramBuilder::relu(ValueId x) {
  if (!usable(x, ValueKind::kWord, "relu")) return {};
  const Value in = program_.values[x];
  const ValueId out = unary(OpCode::kRelu, x, in.shape, in.scale_bits);
  const ValueId bit = add_value(ValueKind::kBit, in.shape, 0);
  program_.ops.back().bit = bit;
  return {out, bit};
}

ValueId ProgramBuilder::multiply_bit(ValueId x, ValueId bit) {
  if (!usable(x, ValueKind::kWord, "multiply-bit")) return kNoValue;
  if (!usable(bit, ValueKind::kBit, "multiply-bit")) return kNoValue;
  const Value in = program_.values[x];
  if (in.shape != program_.values[bit].shape) {
    return fail("multiply-bit: shapes " + in.shape.str() + " and " +
                program_.values[bit].shape.str() + " differ");
  }
  const ValueId out = unary(OpCode::kMultiplyBit, x, in.shape, in.scale_bits);
  program_.ops.back().inputs.push_back(bit);
  return out;
}

ValueId ProgramBuilder::bit_to_word(ValueId bit) {
  if (!usable(bit, ValueKind::kBit, "bit-to-word")) return kNoValue;
  return unary(OpCode::kBitToWord, bit, program_.values[bit].shape, 0);
}

ValueId ProgramBuilder::matmul(ValueId x, ValueId y, bool transpose_x, bool transpose_y) {
  if (!usable(x, ValueKind::kWord, "matmul")) return kNoValue;
  if (!usable(y, ValueKind::kWord, "matmul")) return kNoValue;
  const Value& a = program_.values[x];
  const Value& b = program_.values[y];
  if (a.shape.rank != 2 || b.shape.rank != 2) {
    return fail("matmul: needs two matrices, got " + quoted_pair(a, b));
  }
  const std::uint32_t inner_a = a.shape[transpose_x ? 0 : 1];
  const std::uint32_t inner_b = b.shape[transpose_y ? 1 : 0];
  if (inner_a != inner_b) {
    return fail("matmul: inner sizes " + std::to_string(inner_a) + " and " +
                std::to_string(inner_b) + " differ (" + quoted_pair(a, b) + ")");
  }
  const Shape shape{a.shape[transpose_x ? 1 : 0], b.shape[transpose_y ? 0 : 1]};
  const ValueId out = unary(OpCode::kMatMul, x, shape, a.scale_bits + b.scale_bits);
  if (failed()) return kNoValue;
  Op& op = program_.ops.back();
  op.inputs.push_back(y);
  op.transpose_x = transpose_x;
  op.transpose_y = transpose_y;
  return out;
}

// x and y of one shape; sums need one scale, products add the scales.
ValueId ProgramBuilder::elementwise(OpCode code, ValueId x, ValueId y) {
  const std::string name = to_string(code);
  if (!usable(x, ValueKind::kWord, name.c_str())) return kNoValue;
  if (!usable(y, ValueKind::kWord, name.c_str())) return kNoValue;
  const Value& a = program_.values[x];
  const Value& b = program_.values[y];
  if (a.shape != b.shape) return fail(name + ": shapes differ: " + quoted_pair(a, b));
  const bool product = code == OpCode::kMultiply;
  if (!product && a.scale_bits != b.scale_bits) {
    return fail(name + ": scales differ: " + quoted_pair(a, b));
  }
  const ValueId out = unary(code, x, a.shape, product ? a.scale_bits + b.scale_bits : a.scale_bits);
  if (!failed()) program_.ops.back().inputs.push_back(y);
  return out;
}

ValueId ProgramBuilder::multiply(ValueId x, ValueId y) {
  return elementwise(OpCode::kMultiply, x, y);
}

ValueId ProgramBuilder::add(ValueId x, ValueId y) {
  return elementwise(OpCode::kAdd, x, y);
}

ValueId ProgramBuilder::subtract(ValueId x, ValueId y) {
  return elementwise(OpCode::kSubtract, x, y);
}

ValueId ProgramBuilder::add_row(ValueId x, ValueId row) {
  if (!usable(x, ValueKind::kWord, "add-row")) return kNoValue;
  if (!usable(row, ValueKind::kWord, "add-row")) return kNoValue;
  const Value& a = program_.values[x];
  const Value& b = program_.values[row];
  if (b.shape.rank != 1 || b.shape[0] != a.shape[a.shape.rank - 1]) {
    return fail("add-row: the row does not fit: " + quoted_pair(a, b));
  }
  if (a.scale_bits != b.scale_bits) return fail("add-row: scales differ: " + quoted_pair(a, b));
  const ValueId out = unary(OpCode::kAddRow, x, a.shape, a.scale_bits);
  program_.ops.back().inputs.push_back(row);
  return out;
}

ValueId ProgramBuilder::sum_rows(ValueId x) {
  if (!usable(x, ValueKind::kWord, "sum-rows")) return kNoValue;
  const Value in = program_.values[x];
  return unary(OpCode::kSumRows, x, Shape{in.shape[in.shape.rank - 1]}, in.scale_bits);
}

ValueId ProgramBuilder::shift_left(ValueId x, std::uint32_t shift) {
  if (!usable(x, ValueKind::kWord, "shift-left")) return kNoValue;
  if (shift < kMinShift || shift > kMaxShift) return fail("shift-left: " + shift_text(shift));
  const Value in = program_.values[x];
  const ValueId out =
      unary(OpCode::kShiftLeft, x, in.shape, in.scale_bits + static_cast<int>(shift));
  if (!failed()) program_.ops.back().shift = shift;
  return out;
}

ValueId ProgramBuilder::concat_rows(const std::vector<ValueId>& parts) {
  if (failed()) return kNoValue;
  if (parts.empty()) return fail("concat-rows: nothing to join");
  std::uint64_t rows = 0;
  for (const ValueId part : parts) {
    if (!usable(part, ValueKind::kWord, "concat-rows")) return kNoValue;
    const Value& first = program_.values[parts[0]];
    const Value& other = program_.values[part];
    Shape row_shape = other.shape;
    row_shape.dims[0] = first.shape.dims[0];
    if (row_shape != first.shape || other.scale_bits != first.scale_bits) {
      return fail("concat-rows: cannot join " + quoted_pair(first, other));
    }
    rows += other.shape.dims[0];
  }
  if (rows > UINT32_MAX) return fail("concat-rows: more than 2^32 rows");
  const Value first = program_.values[parts[0]];
  Shape shape = first.shape;
  shape.dims[0] = static_cast<std::uint32_t>(rows);
  const ValueId out = add_value(ValueKind::kWord, shape, first.scale_bits);
  if (!failed()) add_op(OpCode::kConcatRows, parts).out = out;
  return out;
}

ValueId ProgramBuilder::reshape(ValueId x, Shape shape) {
  if (!usable(x, ValueKind::kWord, "reshape")) return kNoValue;
  const Value in = program_.values[x];
  if (checked_count(shape) != in.shape.count()) {
    return fail("reshape: " + in.shape.str() + " has another count than " + shape.str());
  }
  return unary(OpCode::kReshape, x, shape, in.scale_bits);
}

std::uint32_t ProgramBuilder::reveal(ValueId x, std::uint64_t receivers) {
  if (!usable(x, ValueKind::kWord, "reveal")) return 0;
  if (receivers == 0) {
    fail("reveal: no receiver");
    return 0;
  }
  Op& op = add_op(OpCode::kReveal, {x});
  op.receivers = receivers;
  op.slot = program_.reveals++;
  return op.slot;
}

Result<Program> ProgramBuilder::finish() {
  if (program_.members == 0 || program_.members > kMaxMembers) {
    fail("a series has 1 to " + std::to_string(kMaxMembers) + " members");
  }
  if (failed()) return *error_;
  if (program_.ops.empty()) {
    return make_error(ErrorCode::kConfig, "program: it has no operation");
  }
  return std::move(program_);
}

}  // namespace beaverpond
