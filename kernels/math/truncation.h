// The word formulas of truncation and ReLU: everything after the bits are open. Exact for
// -2^(w-2) <= x < 2^(w-2) in Z mod 2^w.
//
// c = x + r is open; R = r >> s; r_top = top bit of r; low = [c mod 2^s < r mod 2^s].
// With c' = c + 2^(w-2): x + 2^(w-2) + r wraps exactly if r_top = 1 and c'_top = 0, so
//   floor(x / 2^s) = K - low - R + kappa 2^(w-s) r_top,
//   K = (c' >> s) - 2^(w-2-s),  kappa = 1 - c'_top.
// `lambda` = low ^ b2 is open, so low = lambda + (1 - 2 lambda) b2.
#pragma once

#include <cstdint>

namespace beaverpond::math {

/// Z mod 2^bits in 64-bit words; 64 is the product's ring.
template <int kBits>
struct Ring {
  static constexpr int kRingBits = kBits;
  static constexpr std::uint64_t reduce(std::uint64_t x) {
    return kBits == 64 ? x : x & ((std::uint64_t{1} << (kBits & 63)) - 1);
  }
};

/// What is public about one element once c and lambda are open.
struct PublicTruncation {
  std::uint64_t k_minus_lambda;  ///< K - lambda
  std::uint64_t kappa_mask;      ///< all ones if kappa = 1
  std::uint64_t low_sign;        ///< 1 - 2 lambda
};

template <class R>
constexpr PublicTruncation public_truncation(std::uint64_t c, std::uint64_t lambda, int shift) {
  const std::uint64_t shifted = R::reduce(c + (std::uint64_t{1} << (R::kRingBits - 2)));
  const std::uint64_t k = (shifted >> shift) - (std::uint64_t{1} << (R::kRingBits - 2 - shift));
  const std::uint64_t top = (shifted >> (R::kRingBits - 1)) & 1;
  return {k - lambda, top - 1, 1 - 2 * lambda};
}

/// Share of floor(x / 2^s); `one` = 1 on the designated sub-share. `top` = share of r_top.
template <class R>
constexpr std::uint64_t truncated(const PublicTruncation& t, std::uint64_t one,
                                  std::uint64_t r_high, std::uint64_t b2, std::uint64_t top,
                                  int shift) {
  const std::uint64_t wrap = t.kappa_mask & (top << (R::kRingBits - shift));
  return R::reduce(t.k_minus_lambda * one - r_high + wrap - t.low_sign * b2);
}

/// Share of b floor(x / 2^s), from the products of b with R, b2 and r_top.
template <class R>
constexpr std::uint64_t truncated_times_b(const PublicTruncation& t, std::uint64_t b,
                                          std::uint64_t b_r_high, std::uint64_t b_b2,
                                          std::uint64_t b_top, int shift) {
  const std::uint64_t wrap = t.kappa_mask & (b_top << (R::kRingBits - shift));
  return R::reduce(t.k_minus_lambda * b - b_r_high + wrap - t.low_sign * b_b2);
}

/// Share of b x from the open c = x + r and shares of b and b r.
constexpr std::uint64_t opened_times_b(std::uint64_t c, std::uint64_t b, std::uint64_t b_r) {
  return c * b - b_r;
}

// What the dealer deals of one element with mask r and bits b, b2, each 0 or 1: words R, b R, b b2,
// and r_top or b r_top.
constexpr std::uint64_t dealt_high(std::uint64_t r, bool wants_low, int shift) {
  return wants_low ? r >> shift : r;
}
constexpr std::uint64_t dealt_times_b(std::uint64_t b, std::uint64_t high) {
  return (0 - b) & high;
}
constexpr std::uint64_t dealt_bits(std::uint64_t b, std::uint64_t b2) {
  return b & b2;
}
template <class R>
constexpr std::uint64_t dealt_top(std::uint64_t r, std::uint64_t times) {
  return (r >> (R::kRingBits - 1)) & times;
}

/// Share of d v from the open delta = d ^ b and shares of v and b v: d = delta + (1 - 2 delta) b.
template <class R>
constexpr std::uint64_t times_bit(std::uint64_t delta, std::uint64_t v, std::uint64_t b_v) {
  return R::reduce(delta * v + (1 - 2 * delta) * b_v);
}

}  // namespace beaverpond::math
