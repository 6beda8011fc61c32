// Builds a Program and checks every shape as it goes.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "beaverpond/program.h"
#include "beaverpond/result.h"

namespace beaverpond {

/// A value and the bit that its sign left behind.
struct ValueAndBit {
  ValueId value = kNoValue;
  ValueId bit = kNoValue;
};

/// Appends operations to a Program. Each method returns the id of the value it makes. The first
/// mistake (shapes that do not fit, scales that differ, a shift outside 1..61) is remembered with
/// the layer's name; every later call is then a no-op, and finish() returns that error (kConfig).
class ProgramBuilder {
 public:
  /// Names the layer that following operations belong to.
  void set_layer(std::string name) { layer_ = std::move(name); }

  /// `fixed`: given once for all members of a series.
  ValueId input(std::uint32_t owner, Shape shape, int scale_bits, bool fixed = false);
  /// A persistent tensor; slots are numbered in the order of these calls.
  ValueId state(Shape shape, int scale_bits, bool fixed = false);
  ValueId truncate(ValueId x, std::uint32_t shift, bool round_to_nearest);
  ValueAndBit relu_truncate(ValueId x, std::uint32_t shift, bool round_to_nearest);
  ValueId truncate_times_bit(ValueId x, ValueId bit, std::uint32_t shift, bool round_to_nearest);
  ValueAndBit relu(ValueId x);
  ValueId multiply_bit(ValueId x, ValueId bit);
  ValueId bit_to_word(ValueId bit);
  ValueId matmul(ValueId x, ValueId y, bool transpose_x = false, bool transpose_y = false);
  ValueId conv2d(ValueId images, ValueId weights, const Conv2dShape& shape);
  ValueId conv2d_grad_weight(ValueId images, ValueId gradient, const Conv2dShape& shape);
  ValueId conv2d_grad_input(ValueId gradient, ValueId weights, const Conv2dShape& shape);
  ValueId multiply(ValueId x, ValueId y);
  ValueId add(ValueId x, ValueId y);
  ValueId subtract(ValueId x, ValueId y);
  ValueId add_row(ValueId x, ValueId row);
  ValueId sum_rows(ValueId x);
  ValueId shift_left(ValueId x, std::uint32_t shift);
  ValueId concat_rows(const std::vector<ValueId>& parts);
  ValueId reshape(ValueId x, Shape shape);
  /// [taps, pixels]: what each tap of the window sees.
  ValueId window(ValueId images, const Pool2dShape& shape);
  /// Images in which every pixel is the sum of the taps that saw it.
  ValueId window_grad(ValueId taps, const Pool2dShape& shape);
  /// Rows begin, begin + step, .. of x's first dimension, `count` of them.
  ValueId rows(ValueId x, std::uint32_t begin, std::uint32_t step, std::uint32_t count);
  /// `count` rows, zero but for x's, which lie at begin, begin + step, ..
  ValueId spread_rows(ValueId x, std::uint32_t begin, std::uint32_t step, std::uint32_t count);
  ValueId transpose(ValueId x);
  /// Public words at x's scale: one for all elements, or one each.
  ValueId add_public(ValueId x, std::vector<std::uint64_t> words);
  /// Public words at scale `scale_bits`, which x's scale grows by.
  ValueId multiply_public(ValueId x, std::vector<std::uint64_t> words, int scale_bits);
  /// table[x], element by element: x is taken as an integer in 0..table.size()-1, whatever its
  /// scale; the table's size is a power of two up to 2^12.
  ValueId lookup(ValueId x, std::vector<std::uint64_t> table, int scale_bits);
  /// What the tables of a softmax stand for: for the float twin only, plans refuse them. x [n, c].
  ValueId exact_softmax(ValueId x);
  ValueId exact_cross_entropy(ValueId x, ValueId onehot, int scale_bits);
  /// The state that state() returned as `state_value` becomes y, of the same shape and scale.
  void assign(ValueId state_value, ValueId y);
  /// state := x - m * y, where x is the value that state() returned and m is given at run time.
  void update(ValueId state_value, ValueId y);
  /// Players whose bit is set in `receivers` learn x. Returns the reveal's slot.
  std::uint32_t reveal(ValueId x, std::uint64_t receivers);

  /// Runs of one bundle; a series if above 1.
  void set_members(std::uint32_t members) { program_.members = members; }
  const Value& value(ValueId id) const { return program_.value(id); }

  Result<Program> finish();

 private:
  bool failed() const { return error_.has_value(); }
  ValueId fail(const std::string& what);
  bool usable(ValueId id, ValueKind kind, const char* what);
  ValueId add_value(ValueKind kind, Shape shape, int scale_bits);
  Op& add_op(OpCode code, std::vector<ValueId> inputs);
  ValueId unary(OpCode code, ValueId x, Shape shape, int scale_bits);
  ValueId truncation(OpCode code, std::vector<ValueId> inputs, std::uint32_t shift, bool round);
  ValueId conv(OpCode code, ValueId x, ValueId y, const Conv2dShape& shape);
  ValueId elementwise(OpCode code, ValueId x, ValueId y);
  ValueId with_public(OpCode code, ValueId x, std::vector<std::uint64_t> words, int scale_bits);
  const Op* state_for_change(ValueId state_value, ValueId y, const char* what);

  Program program_;
  std::string layer_;
  std::optional<Error> error_;
};

}  // namespace beaverpond
