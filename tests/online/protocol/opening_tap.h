// What a player sees opened, and whether it looks uniform.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "tests/online/protocol/engine_harness.h"
#include "tests/online/transport/forwarding_transport.h"

namespace beaverpond::testing {

/// Keeps what every all-reduce opened on this player.
class OpeningTap final : public ForwardingTransport {
 public:
  struct Opening {
    ReduceOp op;
    std::span<std::uint64_t> words;
  };
  explicit OpeningTap(Transport& inner) : ForwardingTransport(inner) {}

  Operation start_all_reduce(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                             StreamRef stream) override {
    class Copying final : public Operation::Pending {
     public:
      Copying(OpeningTap& tap, Opening opening, Operation inner)
          : tap_(tap), opening_(opening), inner_(std::move(inner)) {}
      Result<void> wait(Deadline deadline) override {
        Result<void> result = inner_.wait(deadline);
        WordVector& to = opening_.op == ReduceOp::kSum ? tap_.words : tap_.planes;
        to.insert(to.end(), opening_.words.begin(), opening_.words.end());
        return result;
      }

     private:
      OpeningTap& tap_;
      Opening opening_;
      Operation inner_;
    };
    return Operation(std::make_unique<Copying>(
        *this, Opening{op, words}, ForwardingTransport::start_all_reduce(words, op, tag, stream)));
  }
  WordVector words;
  WordVector planes;
};

/// Chi-square statistic of the words' bytes against uniform; 255 degrees of freedom.
inline double chi_square(const WordVector& words) {
  std::array<double, 256> counts{};
  for (const std::uint64_t word : words) {
    for (int byte = 0; byte < 8; ++byte) counts[(word >> (8 * byte)) & 0xff] += 1;
  }
  const double expected = static_cast<double>(words.size()) * 8 / 256;
  double sum = 0;
  for (const double count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}
// Quantiles of chi-square with 255 degrees of freedom at 1e-6 on either side (Wilson-Hilferty).
inline constexpr double kHigh = 377.2;
inline constexpr double kLow = 161.5;

inline bool uniform(const WordVector& words) {
  const double statistic = chi_square(words);
  return statistic > kLow && statistic < kHigh;
}

/// Share of ones at each of the 64 bit positions, as the largest deviation in standard deviations.
inline double worst_bit(const WordVector& words) {
  double worst = 0;
  const auto n = static_cast<double>(words.size());
  for (int bit = 0; bit < 64; ++bit) {
    double ones = 0;
    for (const std::uint64_t word : words) ones += static_cast<double>((word >> bit) & 1);
    worst = std::max(worst, std::abs(ones - n / 2) / std::sqrt(n / 4));
  }
  return worst;
}

}  // namespace beaverpond::testing
