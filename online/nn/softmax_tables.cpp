#include "online/nn/softmax_tables.h"

#include <bit>

#include "beaverpond/check.h"

namespace beaverpond {
namespace {

__extension__ typedef unsigned __int128 Wide;

// Reals in [0, 8) with this many fractional bits; errors stay below 2^-50.
constexpr int kBits = 60;
constexpr std::uint64_t kOne = std::uint64_t{1} << kBits;
// Logarithms are sums of thousands of steps, each of which loses a little.
constexpr int kLogBits = 96;

std::uint64_t times(std::uint64_t a, std::uint64_t b) {
  return static_cast<std::uint64_t>((Wide{a} * b + (Wide{1} << (kBits - 1))) >> kBits);
}

// exp(-2^-bits) by its Taylor series.
std::uint64_t exp_of_minus_step(int bits) {
  const std::uint64_t x = kOne >> bits;
  std::uint64_t sum = kOne;
  std::uint64_t term = kOne;
  for (std::uint64_t n = 1; term != 0; ++n) {
    term = times(term, x) / n;
    sum = n % 2 == 1 ? sum - term : sum + term;
  }
  return sum;
}

// log((j + 1) / j) = 2 atanh(1 / (2j + 1)) by its series, with kLogBits fractional bits.
Wide log_step(std::uint64_t j) {
  const Wide d = 2 * j + 1;
  Wide power = (Wide{1} << kLogBits) / d;
  Wide sum = 0;
  for (std::uint64_t n = 1; power != 0; n += 2) {
    sum += power / n;
    power /= d * d;
  }
  return 2 * sum;
}

// From `from` fractional bits to `bits`, to nearest.
std::uint64_t rounded(Wide x, int from, int bits) {
  return static_cast<std::uint64_t>((x + (Wide{1} << (from - bits - 1))) >> (from - bits));
}

std::size_t table_size(std::uint32_t classes) {
  return std::bit_ceil(std::size_t{16} * classes + 1);
}

std::uint64_t rounded_ratio(std::uint64_t a, std::uint64_t b) {
  return (a + b / 2) / b;
}

}  // namespace

std::vector<std::uint64_t> exp_table(int step_bits, int fraction_bits) {
  BP_CHECK(step_bits >= 0 && step_bits <= 8 && fraction_bits <= 30, "exp_table: out of range");
  const std::uint64_t step = exp_of_minus_step(step_bits);
  std::vector<std::uint64_t> table(64);
  std::uint64_t value = kOne;
  for (std::size_t n = table.size(); n-- > 0;) {
    table[n] = rounded(value, kBits, fraction_bits);
    value = times(value, step);
  }
  return table;
}

LineTable reciprocal_table(std::uint32_t classes, int fraction_bits) {
  const std::size_t size = table_size(classes);
  LineTable table{std::vector<std::uint64_t>(size), std::vector<std::uint64_t>(size)};
  for (std::uint64_t j = 16; j <= std::uint64_t{16} * classes; ++j) {
    table.base[j] = rounded_ratio(std::uint64_t{16} << (2 * fraction_bits), j);
    table.slope[j] = 0 - rounded_ratio(std::uint64_t{256} << fraction_bits, j * (j + 1));
  }
  return table;
}

LineTable logarithm_table(std::uint32_t classes, int fraction_bits) {
  const std::size_t size = table_size(classes);
  LineTable table{std::vector<std::uint64_t>(size), std::vector<std::uint64_t>(size)};
  Wide log = 0;  // of j / 16; below 8 for up to 255 classes
  for (std::uint64_t j = 16; j <= std::uint64_t{16} * classes; ++j) {
    const Wide step = log_step(j);
    table.base[j] = rounded(log, kLogBits, 2 * fraction_bits);
    table.slope[j] = rounded(16 * step, kLogBits, fraction_bits);
    log += step;
  }
  return table;
}

}  // namespace beaverpond
