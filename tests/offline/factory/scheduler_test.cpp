#include "offline/factory/scheduler.h"

#include <gtest/gtest.h>

#include <cmath>

namespace beaverpond::testing {
namespace {

SteadyTime at(double seconds) {
  return SteadyTime{} + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                            std::chrono::duration<double>(seconds));
}

TEST(RateMeter, IsTheMeanOverAMinute) {
  RateMeter meter;
  EXPECT_EQ(meter.per_second(), 0);
  for (int i = 0; i <= 300; ++i) meter.observe(at(i), 1000 + 16 * static_cast<unsigned>(i / 4));
  EXPECT_NEAR(meter.per_second(), 4, 0.3);
  // The rate follows within the window when consumption stops.
  for (int i = 301; i <= 362; ++i) meter.observe(at(i), 1000 + 16 * 75);
  EXPECT_EQ(meter.per_second(), 0);
}

TEST(RateMeter, OneLeaseIsNoFlood) {
  RateMeter meter;
  meter.observe(at(0), 0);
  meter.observe(at(0.01), 16);
  EXPECT_LE(meter.per_second(), 16 / 5.0);
}

TEST(RateMeter, ManyObservationsASecondKeepTheWindow) {
  RateMeter meter;
  for (int i = 0; i <= 10000; ++i) meter.observe(at(0.01 * i), static_cast<unsigned>(i));
  EXPECT_NEAR(meter.per_second(), 100, 2);
}

TEST(Marks, TheLargerOfBundlesAndSecondsCounts) {
  Demand demand;
  demand.low_bundles = 10;
  demand.high_bundles = 20;
  demand.low_seconds = 30;
  demand.high_seconds = 60;
  demand.floor_per_second = 0.5;
  EXPECT_EQ(marks_of(demand, 0).low, 15u);  // 30 s at the floor
  EXPECT_EQ(marks_of(demand, 0).high, 30u);
  EXPECT_EQ(marks_of(demand, 4).low, 120u);  // 30 s at what is consumed
  EXPECT_EQ(marks_of(demand, 4).high, 240u);
  demand.floor_per_second = 0;
  EXPECT_EQ(marks_of(demand, 0.1).low, 10u);  // bundles
  EXPECT_EQ(marks_of(demand, 0.1).high, 20u);
  const Marks none = marks_of({}, 0);
  EXPECT_EQ(none.low, 1u);
  EXPECT_EQ(none.high, 1u);
}

TEST(Scheduler, TakesTheClassThatRunsDryFirst) {
  const double never = std::numeric_limits<double>::infinity();
  const auto level = [](bool filling, std::uint64_t bundles, std::uint64_t low, double seconds) {
    return ClassLevel{filling, bundles, {low, 2 * low}, seconds};
  };
  EXPECT_FALSE(earliest_deadline({}).has_value());
  EXPECT_FALSE(earliest_deadline({level(false, 0, 10, 0)}).has_value());
  EXPECT_EQ(earliest_deadline({level(true, 100, 10, 50), level(true, 5, 10, 70)}), 0u);
  EXPECT_EQ(earliest_deadline({level(true, 100, 10, 90), level(true, 500, 10, 70)}), 1u);
  EXPECT_EQ(earliest_deadline({level(true, 1, 10, never), level(true, 500, 10, 70)}), 1u);
  EXPECT_EQ(earliest_deadline({level(true, 5, 10, never), level(true, 30, 100, never)}), 1u);
  EXPECT_EQ(earliest_deadline({level(false, 0, 10, 0), level(true, 9, 10, never)}), 1u);
}

}  // namespace
}  // namespace beaverpond::testing
