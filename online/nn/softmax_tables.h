// Tables of exp, 1/x and log for the softmax, computed with integers only, so that every machine
// has the same words.
#pragma once

#include <cstdint>
#include <vector>

namespace beaverpond {

/// Words n = 0..63 at scale f: exp((n - 63) / 2^step_bits). 0 <= step_bits <= 8, f <= 30.
std::vector<std::uint64_t> exp_table(int step_bits, int fraction_bits);

/// Lines through a function of S on [j/16, (j+1)/16], j = 16 .. 16 * classes: value(S) = base[j] +
/// slope[j] * (S - j/16), base at scale 2f, slope at scale f. The size is a power of two; what no S
/// in [1, classes] reaches is zero.
struct LineTable {
  std::vector<std::uint64_t> base;
  std::vector<std::uint64_t> slope;
};

LineTable reciprocal_table(std::uint32_t classes, int fraction_bits);
LineTable logarithm_table(std::uint32_t classes, int fraction_bits);

}  // namespace beaverpond
