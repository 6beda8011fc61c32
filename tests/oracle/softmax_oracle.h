// Softmax and cross-entropy of one sample by tables, as the protocol's description has them. The
// tables come from the mathematical functions in long double, rounded to nearest.
#pragma once

#include <cstdint>
#include <vector>

namespace oracle {

using Table = std::vector<std::uint64_t>;

/// Words n = 0..63: exp((n - 63) / divisor) at scale f.
Table exp_words(int divisor, int f);

/// A line through 1/S (or log S) on [j/16, (j+1)/16], by j from 16 to 16 * classes: the value at
/// the left end at scale 2f, the slope at scale f.
std::uint64_t reciprocal_base(int j, int f);
std::uint64_t reciprocal_slope(int j, int f);
std::uint64_t log_base(int j, int f);
std::uint64_t log_slope(int j, int f);

struct SoftmaxResult {
  std::vector<std::uint64_t> p;  ///< at scale f
  std::uint64_t loss = 0;        ///< -log p[label], at scale 2f
};

SoftmaxResult table_softmax(const std::vector<std::uint64_t>& logits, int label, int f);

}  // namespace oracle
