// What the factory makes next: pure arithmetic on levels, rates and marks. The clock is an
// argument.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace beaverpond {

using SteadyTime = std::chrono::steady_clock::time_point;

/// Bundles a second, from a count that only grows: a mean over a sliding window. A lease takes
/// several bundles at once, so that a window shorter than a few leases would jump.
class RateMeter {
 public:
  static constexpr std::chrono::seconds kWindow{60};
  /// A mean over less than this would make one lease look like a flood.
  static constexpr std::chrono::seconds kShortest{5};

  void observe(SteadyTime now, std::uint64_t total);
  double per_second() const { return rate_; }

 private:
  struct Sample {
    SteadyTime at;
    std::uint64_t total = 0;
  };
  std::deque<Sample> samples_;
  double rate_ = 0;
};

/// How much of a class to keep in the pools. Seconds are of planned demand: what is consumed now,
/// but at least `floor_per_second`. Of bundles and seconds the larger counts.
struct Demand {
  std::uint64_t low_bundles = 0;
  std::uint64_t high_bundles = 0;
  double low_seconds = 0;
  double high_seconds = 0;
  double floor_per_second = 0;
};

/// Filling begins below `low` and ends at `high`; 1 <= low <= high.
struct Marks {
  std::uint64_t low = 1;
  std::uint64_t high = 1;
};

Marks marks_of(const Demand& demand, double per_second);

/// Seconds until `level` bundles are spent; infinite where nothing is consumed or planned.
double seconds_left(const Demand& demand, double per_second, std::uint64_t level);

/// One class, as the scheduler sees it.
struct ClassLevel {
  bool filling = false;
  std::uint64_t level = 0;
  Marks marks;
  double seconds_left = 0;
};

/// Of the classes that are filling, the one that runs dry first; of several that nobody consumes,
/// the one with the smallest part of its low mark. Nothing if none is filling.
std::optional<std::size_t> earliest_deadline(const std::vector<ClassLevel>& classes);

}  // namespace beaverpond
