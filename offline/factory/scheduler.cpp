#include "offline/factory/scheduler.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace beaverpond {
namespace {

/// More bundles than this are more than any disk holds; keeps doubles in range.
constexpr double kMostBundles = 1e15;

std::uint64_t bundles_in(double seconds, double per_second) {
  return static_cast<std::uint64_t>(std::min(std::ceil(seconds * per_second), kMostBundles));
}

}  // namespace

void RateMeter::observe(SteadyTime now, std::uint64_t total) {
  constexpr std::chrono::milliseconds kSpacing{200};
  if (samples_.size() >= 2 && now - samples_[samples_.size() - 2].at < kSpacing) {
    samples_.back() = {now, total};
  } else {
    samples_.push_back({now, total});
  }
  while (samples_.size() > 2 && now - samples_[1].at >= kWindow) samples_.pop_front();
  const Sample& first = samples_.front();
  const auto elapsed = std::max<std::chrono::duration<double>>(now - first.at, kShortest);
  const std::uint64_t grown = total - std::min(total, first.total);
  rate_ = static_cast<double>(grown) / elapsed.count();
}

Marks marks_of(const Demand& demand, double per_second) {
  const double rate = std::max(per_second, demand.floor_per_second);
  Marks marks;
  marks.low = std::max<std::uint64_t>(
      {std::uint64_t{1}, demand.low_bundles, bundles_in(demand.low_seconds, rate)});
  marks.high = std::max<std::uint64_t>(
      {marks.low, demand.high_bundles, bundles_in(demand.high_seconds, rate)});
  return marks;
}

double seconds_left(const Demand& demand, double per_second, std::uint64_t level) {
  const double rate = std::max(per_second, demand.floor_per_second);
  if (rate <= 0) return std::numeric_limits<double>::infinity();
  return static_cast<double>(level) / rate;
}

std::optional<std::size_t> earliest_deadline(const std::vector<ClassLevel>& classes) {
  std::optional<std::size_t> best;
  const auto part = [](const ClassLevel& c) {
    return static_cast<double>(c.level) / static_cast<double>(c.marks.low);
  };
  for (std::size_t i = 0; i < classes.size(); ++i) {
    if (!classes[i].filling) continue;
    if (!best.has_value()) {
      best = i;
      continue;
    }
    const ClassLevel& leader = classes[*best];
    const bool sooner = classes[i].seconds_left < leader.seconds_left;
    const bool equal = classes[i].seconds_left == leader.seconds_left;
    if (sooner || (equal && part(classes[i]) < part(leader))) best = i;
  }
  return best;
}

}  // namespace beaverpond
