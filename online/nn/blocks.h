// Composite operations on a Program: maximum, index of the maximum, softmax. Each is public in its
// shape and opens nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "beaverpond/program_builder.h"

namespace beaverpond {

/// One level of a tournament: neighbours meet, an odd last row passes.
struct MaxLevel {
  std::uint32_t rows = 0;  ///< before the level
  ValueId bit = kNoValue;  ///< [rows / 2, n]: the left one is not smaller
};

struct MaxTree {
  ValueId max = kNoValue;  ///< [1, n]
  std::vector<MaxLevel> levels;
};

/// Maximum over the rows of x [rows, n] in ceil(log2 rows) levels of 4 rounds: max(a, b) = b +
/// relu(a - b). Exact for words in [-2^62, 2^62). On a tie the left row wins.
MaxTree max_rows(ProgramBuilder& b, ValueId x);

/// The gradient [1, n] of the maximum handed to the winning row: [rows, n]. A round a level.
ValueId max_rows_grad(ProgramBuilder& b, const MaxTree& tree, ValueId gradient);

/// Index of the first largest row of x [rows, n], at scale 0: [n].
ValueId argmax_rows(ProgramBuilder& b, ValueId x);

/// `times` copies of x, one after the other: [n] or [1, n] to [times, n].
ValueId repeat_rows(ProgramBuilder& b, ValueId x, std::uint32_t times);

/// floor(x * 2^f / y) for 0 <= x < y < 2^61, at scale f: SecureNN's Division. Bit by bit from the
/// top, each a comparison and two products with its bit: 5f rounds and more.
ValueId divide(ProgramBuilder& b, ValueId x, ValueId y, int fraction_bits);

/// SecureNN's stand-in for the softmax: relu(u) / (2^-f + sum of relu(u)) by rows of `scores`
/// [batch, classes] at scale f. The 2^-f makes it zero where no score is above zero.
ValueId normalised_relu(ProgramBuilder& b, ValueId scores, int fraction_bits);

struct Softmax {
  ValueId probabilities = kNoValue;  ///< [batch, classes] at scale f
  ValueId below_max = kNoValue;      ///< [classes, batch]: logit less the largest, at scale f
  ValueId sum = kNoValue;            ///< [batch]: of exp(below_max), in [1, classes], at scale f
  ValueId sum_index = kNoValue;      ///< [batch]: floor(16 sum)
  ValueId sum_rest = kNoValue;       ///< [batch]: sum - sum_index / 16, at scale f
};

inline constexpr int kSoftmaxMinFractionBits = 8;
inline constexpr int kSoftmaxMaxFractionBits = 20;
inline constexpr std::uint32_t kSoftmaxMaxClasses = 255;

/// Softmax of the rows of `logits` [batch, classes] at scale f, by dealt tables: exp from two
/// tables of 64 words to 1/256 of its argument (what lies 16 below the largest counts as 16), 1/sum
/// by lines over sixteenths. Largest error of a probability about 2^-10 (online/nn/README.md).
Softmax softmax(ProgramBuilder& b, ValueId logits, int fraction_bits);

/// Cross-entropy summed over the batch, one word at scale 2f: sum of log(sum) less the label's
/// below_max. `onehot` [batch, classes] at scale f.
ValueId cross_entropy(ProgramBuilder& b, const Softmax& s, ValueId onehot, int fraction_bits);

}  // namespace beaverpond
