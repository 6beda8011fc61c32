#include "tests/oracle/softmax_oracle.h"

#include <cmath>

#include "tests/oracle/fixed_point.h"

namespace oracle {
namespace {

Word nearest(long double value) {
  return static_cast<Word>(static_cast<std::int64_t>(std::floor(value + 0.5L)));
}

long double scaled(long double value, int bits) {
  return std::ldexp(value, bits);
}

}  // namespace

Table exp_words(int divisor, int f) {
  Table table;
  for (int n = 0; n < 64; ++n) {
    table.push_back(nearest(scaled(std::exp((n - 63.0L) / divisor), f)));
  }
  return table;
}

std::uint64_t reciprocal_base(int j, int f) {
  return nearest(scaled(16.0L / j, 2 * f));
}

std::uint64_t reciprocal_slope(int j, int f) {
  return nearest(scaled((16.0L / (j + 1) - 16.0L / j) * 16, f));
}

std::uint64_t log_base(int j, int f) {
  return nearest(scaled(std::log(j / 16.0L), 2 * f));
}

std::uint64_t log_slope(int j, int f) {
  return nearest(scaled((std::log((j + 1) / 16.0L) - std::log(j / 16.0L)) * 16, f));
}

SoftmaxResult table_softmax(const std::vector<std::uint64_t>& logits, int label, int f) {
  const Table high = exp_words(4, f);
  const Table low = exp_words(256, f);
  Word max = logits[0];
  for (const Word u : logits) {
    if (is_negative(max - u)) max = u;
  }
  std::vector<Word> e;
  Word sum = 0;
  for (const Word u : logits) {
    const Word half_step = f > 8 ? power_of_two(f - 9) : 0;
    const Word x = u - max + 4095 * power_of_two(f - 8) + half_step;
    const Word i = is_negative(x) ? 0 : floor_divide(x, f - 8);
    const Word h = is_negative(x) ? 0 : floor_divide(x, f - 2);
    const Word l = i - 64 * h;
    e.push_back(round_divide(high.at(h) * low.at(l), f));
    sum += e.back();
  }
  const Word j = floor_divide(sum, f - 4);
  const Word rest = sum - j * power_of_two(f - 4);
  const int at = static_cast<int>(j);
  const Word rho = reciprocal_base(at, f) + reciprocal_slope(at, f) * rest;
  SoftmaxResult out;
  for (const Word word : e) out.p.push_back(round_divide(word * rho, 2 * f));
  const Word log_sum = log_base(at, f) + log_slope(at, f) * rest;
  out.loss = log_sum - (logits[static_cast<std::size_t>(label)] - max) * power_of_two(f);
  return out;
}

}  // namespace oracle
