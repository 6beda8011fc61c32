// Which plan a run spends where the players choose: the rule, and that all come to the same.
#include "online/session/plan_choice.h"

#include <gtest/gtest.h>

#include <vector>

namespace beaverpond {
namespace {

constexpr std::uint64_t kMilli = 1'000'000;

/// Ten rounds less for 175 MB more: worth it from 10 ms a round.
std::vector<PlanOption> options() {
  return {{"lan", {}, 90, 200'000'000}, {"wan", {}, 80, 375'000'000}};
}

std::size_t choose(const std::vector<PlanVote>& votes) {
  return decide_plan(options(), votes);
}

TEST(PlanChoice, TheSlowestRoundDecidesWhatBothCouldServe) {
  EXPECT_EQ(choose({{9 * kMilli, {5, 5}}, {kMilli, {5, 5}}}), 0u);
  EXPECT_EQ(choose({{9 * kMilli, {5, 5}}, {11 * kMilli, {5, 5}}}), 1u);
  EXPECT_EQ(choose({{11 * kMilli, {5, 5}}, {kMilli, {5, 5}}, {kMilli, {5, 5}}}), 1u);
}

TEST(PlanChoice, WhatOnePoolLacksIsNotTakenWhateverARoundCosts) {
  EXPECT_EQ(choose({{100 * kMilli, {1, 7}}, {100 * kMilli, {1, 0}}}), 0u);
  EXPECT_EQ(choose({{kMilli, {0, 1}}, {kMilli, {3, 1}}}), 1u);
}

TEST(PlanChoice, EmptyPoolsWaitForThePlanThatSuitsTheNetwork) {
  EXPECT_EQ(choose({{kMilli, {0, 0}}, {kMilli, {0, 0}}}), 0u);
  EXPECT_EQ(choose({{50 * kMilli, {0, 0}}, {kMilli, {0, 0}}}), 1u);
  EXPECT_EQ(choose({{50 * kMilli, {1, 0}}, {kMilli, {0, 1}}}), 1u);  // none that all have
}

TEST(PlanChoice, EqualCostsTakeTheFirstAndAbsurdClocksDoNoHarm) {
  EXPECT_EQ(choose({{10 * kMilli, {1, 1}}, {0, {1, 1}}}), 0u);
  EXPECT_EQ(choose({{UINT64_MAX, {1, 1}}, {0, {1, 1}}}), 1u);
  EXPECT_EQ(choose({{0, {1, 1}}, {0, {1, 1}}}), 0u);
}

}  // namespace
}  // namespace beaverpond
