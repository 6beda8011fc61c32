// Reals of data and weight files as fixed-point words and back, by integers only.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>

namespace beaverpond {

/// value * 2^scale_bits, rounded to nearest, halves away from zero. Nothing for NaN, infinities and
/// words of 2^limit_bits or more in size. scale_bits 0..62, limit_bits 1..62.
inline std::optional<std::uint64_t> fixed_word(double value, int scale_bits, int limit_bits) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const int exponent = static_cast<int>((bits >> 52) & 0x7ff);
  std::uint64_t size = bits & ((std::uint64_t{1} << 52) - 1);
  if (exponent == 0x7ff) return std::nullopt;
  if (exponent != 0) size |= std::uint64_t{1} << 52;
  const int shift = (exponent == 0 ? 1 : exponent) - 1075 + scale_bits;
  if (size == 0 || shift < -53) {
    size = 0;
  } else if (shift < 0) {
    size = (size + (std::uint64_t{1} << (-shift - 1))) >> -shift;
  } else if (std::bit_width(size) + shift > 63) {
    return std::nullopt;
  } else {
    size <<= shift;
  }
  if (size >> limit_bits != 0) return std::nullopt;
  return (bits >> 63) != 0 ? std::uint64_t{0} - size : size;
}

/// word / 2^scale_bits where a double holds it exactly, which every |word| <= 2^53 is.
inline std::optional<double> exact_real(std::uint64_t word, int scale_bits) {
  const auto value = static_cast<double>(static_cast<std::int64_t>(word));
  const double real = value / static_cast<double>(std::uint64_t{1} << scale_bits);
  if (fixed_word(real, scale_bits, 62) != word) return std::nullopt;
  return real;
}

}  // namespace beaverpond
