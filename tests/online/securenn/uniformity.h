// Whether columns of words and of digits mod 67 look uniform: statistics with thresholds that a
// correct protocol misses once in 10^9 runs of the whole test.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace beaverpond::testing {

/// Statistics that a test may take in all, so that the bounds below hold.
inline constexpr std::uint64_t kMostStatistics = 1'000'000;

/// Collects what deviates too far. Bits: by Hoeffding, a share of ones deviates by more than t
/// standard deviations with probability below 2 exp(-t^2 / 2), 6e-16 for 8.5. Cells: chi-square,
/// as a normal deviate by Wilson and Hilferty; 10 is 1e-23, eight orders of magnitude more than
/// needed, since the approximation is for cells that hold many, and ours hold 32 and more.
class Judge {
 public:
  static constexpr double kBitDeviations = 8.5;
  static constexpr double kCellDeviations = 10;

  /// `hits` of `all` trials that succeed with `probability`.
  void share(const std::string& name, std::uint64_t hits, std::uint64_t all, double probability) {
    ++statistics_;
    const auto n = static_cast<double>(all);
    const double off = std::abs(static_cast<double>(hits) - n * probability) * 2 / std::sqrt(n);
    if (all == 0 || off > kBitDeviations) found(name + ", share", off);
  }

  /// Counts that are to be alike.
  void cells(const std::string& name, std::span<const std::uint32_t> counts) {
    ++statistics_;
    double all = 0;
    for (const std::uint32_t count : counts) all += count;
    const double expected = all / static_cast<double>(counts.size());
    if (expected < 32) return found(name + ", too few to tell", expected);
    double sum = 0;
    for (const std::uint32_t count : counts) {
      sum += (count - expected) * (count - expected) / expected;
    }
    const auto freedom = static_cast<double>(counts.size() - 1);
    const double step = 2 / (9 * freedom);
    const double deviate = (std::cbrt(sum / freedom) - (1 - step)) / std::sqrt(step);
    if (std::abs(deviate) > kCellDeviations) found(name + ", cells", deviate);
  }

  /// Bits of words that hold a plane each, or interleaved: every plane, and all halves of bytes.
  void planes(const std::string& name, std::span<const std::uint64_t> column, std::size_t count) {
    const std::size_t each = column.size() / count;
    std::vector<std::uint32_t> halves(16);
    for (std::size_t plane = 0; plane < count; ++plane) {
      std::uint64_t ones[2] = {};
      for (std::size_t i = 0; i < each; ++i) {
        ones[0] += static_cast<std::uint64_t>(std::popcount(column[plane * each + i]));
        ones[1] += static_cast<std::uint64_t>(std::popcount(column[i * count + plane]));
        for (int at = 0; at < 64; at += 4) ++halves[(column[plane * each + i] >> at) & 15];
      }
      for (const std::uint64_t sum : ones) {
        share(name + ", plane " + std::to_string(plane), sum, 64 * each, 0.5);
      }
    }
    cells(name + ", halves of bytes", halves);
  }

  /// Every bit, and every byte, of words.
  void words(const std::string& name, std::span<const std::uint64_t> column) {
    for (int bit = 0; bit < 64; ++bit) {
      std::uint64_t ones = 0;
      for (const std::uint64_t word : column) ones += (word >> bit) & 1;
      share(name + ", bit " + std::to_string(bit), ones, column.size(), 0.5);
    }
    for (int byte = 0; byte < 8; ++byte) {
      std::vector<std::uint32_t> counts(256);
      for (const std::uint64_t word : column) ++counts[(word >> (8 * byte)) & 0xff];
      cells(name + ", byte " + std::to_string(byte), counts);
    }
  }

  /// Digits from `first` to 66, 64 an element, by place.
  void digits(const std::string& name, std::span<const std::uint8_t> column, unsigned first = 0) {
    for (std::size_t place = 0; place < 64; ++place) {
      std::vector<std::uint32_t> counts(67);
      for (std::size_t at = place; at < column.size(); at += 64) ++counts[column[at]];
      cells(name + ", digit " + std::to_string(place), std::span(counts).subspan(first));
    }
  }

  const std::vector<std::string>& findings() const { return findings_; }
  std::uint64_t statistics() const { return statistics_; }
  /// Whether something whose name holds `text` was found.
  bool found_in(const std::string& text) const {
    for (const std::string& finding : findings_) {
      if (finding.find(text) != std::string::npos) return true;
    }
    return false;
  }
  /// The first few, for messages.
  std::string summary() const {
    std::string text = std::to_string(findings_.size()) + " of " + std::to_string(statistics_);
    for (std::size_t i = 0; i < findings_.size() && i < 5; ++i) text += "\n  " + findings_[i];
    return text;
  }

 private:
  void found(const std::string& name, double deviation) {
    findings_.push_back(name + ": " + std::to_string(deviation));
  }

  std::vector<std::string> findings_;
  std::uint64_t statistics_ = 0;
};

}  // namespace beaverpond::testing
