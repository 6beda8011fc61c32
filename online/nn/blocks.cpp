#include "online/nn/blocks.h"

#include "online/nn/softmax_tables.h"

namespace beaverpond {
namespace {

constexpr std::uint64_t kMinusOne = ~std::uint64_t{0};

// Odd rows do without a partner.
struct Pairs {
  ValueId left = kNoValue;
  ValueId right = kNoValue;
  ValueId rest = kNoValue;
};

Pairs split(ProgramBuilder& b, ValueId x, std::uint32_t rows) {
  const std::uint32_t pairs = rows / 2;
  return {b.rows(x, 0, 2, pairs), b.rows(x, 1, 2, pairs),
          rows % 2 == 1 ? b.rows(x, rows - 1, 1, 1) : kNoValue};
}

ValueId join(ProgramBuilder& b, ValueId winners, ValueId rest) {
  return rest == kNoValue ? winners : b.concat_rows({winners, rest});
}

std::uint32_t rows_of(const ProgramBuilder& b, ValueId x) {
  return x == kNoValue ? 1 : b.value(x).shape[0];  // kNoValue: the builder has failed
}

}  // namespace

MaxTree max_rows(ProgramBuilder& b, ValueId x) {
  MaxTree tree;
  std::uint32_t rows = rows_of(b, x);
  for (; rows > 1; rows = (rows + 1) / 2) {
    const Pairs p = split(b, x, rows);
    const ValueAndBit more = b.relu(b.subtract(p.left, p.right));
    x = join(b, b.add(p.right, more.value), p.rest);
    tree.levels.push_back({rows, more.bit});
  }
  tree.max = x;
  return tree;
}

ValueId max_rows_grad(ProgramBuilder& b, const MaxTree& tree, ValueId gradient) {
  for (std::size_t i = tree.levels.size(); i-- > 0;) {
    const MaxLevel& level = tree.levels[i];
    const std::uint32_t pairs = level.rows / 2;
    const ValueId both = level.rows % 2 == 1 ? b.rows(gradient, 0, 1, pairs) : gradient;
    const ValueId left = b.multiply_bit(both, level.bit);
    const ValueId right = b.subtract(both, left);
    ValueId out =
        b.add(b.spread_rows(left, 0, 2, level.rows), b.spread_rows(right, 1, 2, level.rows));
    if (level.rows % 2 == 1) {
      const ValueId rest = b.rows(gradient, pairs, 1, 1);
      out = b.add(out, b.spread_rows(rest, level.rows - 1, 1, level.rows));
    }
    gradient = out;
  }
  return gradient;
}

ValueId argmax_rows(ProgramBuilder& b, ValueId x) {
  std::uint32_t rows = rows_of(b, x);
  if (x == kNoValue) return x;
  const std::uint32_t n = b.value(x).shape[1];
  ValueId index = kNoValue;
  const auto constant = [&](ValueId any_bit, std::uint64_t word) {
    return b.add_public(b.multiply_public(b.rows(any_bit, 0, 1, 1), {0}, 0), {word});
  };
  for (; rows > 1; rows = (rows + 1) / 2) {
    const Pairs p = split(b, x, rows);
    const ValueAndBit more = b.relu(b.subtract(p.left, p.right));
    x = join(b, b.add(p.right, more.value), p.rest);
    if (index == kNoValue) {
      // Rows 2i and 2i + 1 met: the winner is 2i + 1 less the bit.
      const ValueId bit = b.bit_to_word(more.bit);
      std::vector<std::uint64_t> right;
      for (std::uint32_t i = 0; i < rows / 2; ++i) right.insert(right.end(), n, 2 * i + 1);
      const ValueId winners = b.add_public(b.multiply_public(bit, {kMinusOne}, 0), right);
      index = join(b, winners, p.rest == kNoValue ? kNoValue : constant(bit, rows - 1));
      continue;
    }
    const Pairs q = split(b, index, rows);
    const ValueId step = b.multiply_bit(b.subtract(q.left, q.right), more.bit);
    index = join(b, b.add(q.right, step), q.rest);
  }
  return b.reshape(index, {n});
}

ValueId repeat_rows(ProgramBuilder& b, ValueId x, std::uint32_t times) {
  if (x == kNoValue) return x;
  const auto n = static_cast<std::uint32_t>(b.value(x).shape.count());
  return b.concat_rows(std::vector<ValueId>(times, b.reshape(x, {1, n})));
}

ValueId divide(ProgramBuilder& b, ValueId x, ValueId y, int fraction_bits) {
  ValueId rest = x;
  ValueId quotient = kNoValue;
  for (int i = fraction_bits - 1; i >= 0; --i) {
    const ValueId twice = b.add(rest, rest);
    const ValueId bit = b.relu(b.subtract(twice, y)).bit;
    const ValueId digit =
        b.multiply_public(b.bit_to_word(bit), {std::uint64_t{1} << i}, fraction_bits);
    quotient = quotient == kNoValue ? digit : b.add(quotient, digit);
    if (i > 0) rest = b.subtract(twice, b.multiply_bit(y, bit));
  }
  return quotient;
}

ValueId normalised_relu(ProgramBuilder& b, ValueId scores, int fraction_bits) {
  if (scores == kNoValue) return kNoValue;
  const std::uint32_t batch = b.value(scores).shape[0];
  const std::uint32_t classes = b.value(scores).shape[1];
  const ValueId u = b.relu(b.transpose(scores)).value;  // [classes, batch]
  const ValueId sum = b.add_public(b.reshape(b.sum_rows(u), {batch}), {1});
  return b.transpose(divide(b, u, repeat_rows(b, sum, classes), fraction_bits));
}

Softmax softmax(ProgramBuilder& b, ValueId logits, int fraction_bits) {
  if (logits == kNoValue) return {};
  const std::uint32_t batch = b.value(logits).shape[0];
  const std::uint32_t classes = b.value(logits).shape[1];
  const auto f = static_cast<std::uint32_t>(fraction_bits);
  BP_CHECK(fraction_bits >= kSoftmaxMinFractionBits && fraction_bits <= kSoftmaxMaxFractionBits &&
               classes >= 2 && classes <= kSoftmaxMaxClasses,
           "softmax: checked when the job is read");
  Softmax s;
  const ValueId u = b.transpose(logits);  // [classes, batch]
  const ValueId max = b.reshape(max_rows(b, u).max, {batch});
  s.below_max = b.add_row(u, b.multiply_public(max, {kMinusOne}, 0));

  // i = round(256 below_max) + 4095, at least 0; i = 64 h + l.
  const std::uint64_t offset = (std::uint64_t{4095} << (f - 8)) + ((std::uint64_t{1} << f) >> 9);
  const ValueId x = b.add_public(s.below_max, {offset});
  const ValueId i = f == 8 ? b.relu(x).value : b.relu_truncate(x, f - 8, false).value;
  const ValueId h = b.relu_truncate(x, f - 2, false).value;
  const ValueId l = b.subtract(i, b.shift_left(h, 6));
  const ValueId high = b.lookup(h, exp_table(2, fraction_bits), fraction_bits);
  const ValueId low = b.lookup(l, exp_table(8, fraction_bits), fraction_bits);
  const ValueId e = b.truncate(b.multiply(high, low), f, true);

  s.sum = b.sum_rows(e);
  s.sum_index = b.truncate(s.sum, f - 4, false);
  s.sum_rest = b.subtract(s.sum, b.shift_left(s.sum_index, f - 4));
  const LineTable reciprocal = reciprocal_table(classes, fraction_bits);
  const ValueId base = b.lookup(s.sum_index, reciprocal.base, 2 * fraction_bits);
  const ValueId slope = b.lookup(s.sum_index, reciprocal.slope, fraction_bits);
  const ValueId rho = b.add(base, b.multiply(slope, s.sum_rest));
  const ValueId p = b.truncate(b.multiply(e, repeat_rows(b, rho, classes)), 2 * f, true);
  s.probabilities = b.transpose(p);
  return s;
}

ValueId cross_entropy(ProgramBuilder& b, const Softmax& s, ValueId onehot, int fraction_bits) {
  if (s.sum == kNoValue || onehot == kNoValue) return kNoValue;
  const std::uint32_t batch = b.value(onehot).shape[0];
  const std::uint32_t classes = b.value(onehot).shape[1];
  const LineTable logarithm = logarithm_table(classes, fraction_bits);
  const ValueId base = b.lookup(s.sum_index, logarithm.base, 2 * fraction_bits);
  const ValueId slope = b.lookup(s.sum_index, logarithm.slope, fraction_bits);
  const ValueId log_sum = b.add(base, b.multiply(slope, s.sum_rest));
  const ValueId labels = b.multiply(b.transpose(onehot), s.below_max);
  const ValueId of_labels = b.sum_rows(b.reshape(labels, {classes * batch, 1}));
  return b.subtract(b.sum_rows(b.reshape(log_sum, {batch, 1})), of_labels);
}

}  // namespace beaverpond
