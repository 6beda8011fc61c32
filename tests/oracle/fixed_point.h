// Words of Z mod 2^64 and the division that fixed point needs.
#pragma once

#include <cstdint>

namespace oracle {

using Word = std::uint64_t;

inline Word power_of_two(int n) {
  Word value = 1;
  while (n-- > 0) value *= 2;
  return value;
}

inline bool is_negative(Word x) {
  return static_cast<std::int64_t>(x) < 0;
}

/// floor(x / 2^shift) for a signed x.
inline Word floor_divide(Word x, int shift) {
  const auto divisor = static_cast<std::int64_t>(power_of_two(shift));
  const auto value = static_cast<std::int64_t>(x);
  std::int64_t quotient = value / divisor;
  if (value % divisor < 0) quotient -= 1;
  return static_cast<Word>(quotient);
}

/// To the nearest, halves upwards. shift 0 leaves x as it is.
inline Word round_divide(Word x, int shift) {
  if (shift == 0) return x;
  return floor_divide(x + power_of_two(shift - 1), shift);
}

}  // namespace oracle
