#include "online/nn/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "online/nn/chacha20_draws.h"

namespace beaverpond {
namespace {

using ::testing::ElementsAre;

std::int64_t as_signed(std::uint64_t word) {
  return static_cast<std::int64_t>(word);
}

TEST(ChaCha20Draws, BlockOfRfc8439Section232) {
  ChaCha20Draws::Key key{};
  for (std::uint32_t i = 0; i < 8; ++i) key[i] = 0x03020100 + 0x04040404 * i;
  const ChaCha20Draws::Block block = ChaCha20Draws::block(key, 1, {0x09000000, 0x4a000000, 0});
  EXPECT_THAT(block,
              ElementsAre(0xe4e7f110, 0x15593bd1, 0x1fdd0f50, 0xc47120a3, 0xc7f4d1c7, 0x0368c033,
                          0x9aaa2204, 0x4e6cd4c3, 0x466482d2, 0x09aa9f07, 0x05d7c214, 0xa2028bd9,
                          0xd19c12b5, 0xb94e16de, 0xe883d0cb, 0x4e3c50a2));
}

// Computed by a separate implementation.
TEST(ChaCha20Draws, WordsOfAStreamCrossBlocks) {
  ChaCha20Draws draws(ChaCha20Draws::key_of_seed(0x0123456789abcdef), {1, 2, 3});
  for (const std::uint64_t expected :
       std::vector<std::uint64_t>{0xbc6c2fafff4662e6, 0x8c1fe34ff0dd302e, 0x820f95f48ca9c695,
                                  0x5ba56a35d92cb71a, 0xcc0424400ed83569, 0xf12d2cbf5fa52b30,
                                  0x916ffe39d0d02747, 0x212c4a4f8f8bbe52, 0xb97a4d0859b534cb}) {
    EXPECT_EQ(draws.next(), expected);
  }
}

TEST(ChaCha20Draws, BoundsAreKeptAndReached) {
  ChaCha20Draws draws(ChaCha20Draws::key_of_seed(5), {0, 0, 0});
  std::vector<int> seen(7, 0);
  for (int i = 0; i < 7000; ++i) ++seen[draws.below(7)];
  for (const int count : seen) EXPECT_NEAR(count, 1000, 200);
  EXPECT_EQ(draws.below(1), 0u);
  // More than half of all words are cut off here: rejection has to work.
  for (int i = 0; i < 100; ++i) EXPECT_LT(draws.below((1ull << 63) + 1), (1ull << 63) + 1);
  bool low = false;
  bool high = false;
  for (int i = 0; i < 200; ++i) {
    const std::int64_t draw = as_signed(draws.symmetric(2));
    EXPECT_LE(draw, 2);
    EXPECT_GE(draw, -2);
    low = low || draw == -2;
    high = high || draw == 2;
  }
  EXPECT_TRUE(low && high);
}

TEST(Schedule, LimitIsTheRootOfSixOverFanIn) {
  EXPECT_EQ(initial_weight_limit(784, 48), 24623930933248u);
  EXPECT_EQ(initial_weight_limit(25, 48), 137894013435904u);
  EXPECT_EQ(initial_weight_limit(6, 16), 65536u);
  EXPECT_EQ(initial_weight_limit(7, 16), 60675u);
  EXPECT_EQ(initial_weight_limit(6, 54), std::uint64_t{1} << 54);
}

// Computed by a separate implementation, seed 1, f = 16, K = 16.
TEST(Schedule, InitialWeightsOfNetAAreKnown) {
  const std::vector<ModelParameter> parameters{
      {"dense1", false, false, {784, 128}, 784, 48}, {"dense1", true, false, {128}, 784, 48},
      {"dense2", false, false, {128, 128}, 128, 48}, {"dense2", true, false, {128}, 128, 48},
      {"dense3", false, true, {128, 10}, 128, 48},   {"dense3", true, true, {10}, 128, 48}};
  const auto states = initial_weights(parameters, 1);
  ASSERT_EQ(states.size(), 6u);
  const std::vector<std::vector<std::int64_t>> expected{
      {15306024241340, 14198327065688, 1252485369921},   {0, 0, 0},
      {18579893842810, -47777274566740, 37613724719722}, {0, 0, 0},
      {772982601158, -12682450727205, -10986158726734},  {0, 0, 0}};
  for (std::size_t slot = 0; slot < states.size(); ++slot) {
    EXPECT_EQ(states[slot].size(), parameters[slot].shape.count());
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(as_signed(states[slot][i]), expected[slot][i]) << slot << ":" << i;
    }
  }
  const auto limit = static_cast<std::int64_t>(initial_weight_limit(784, 48));
  for (const std::uint64_t word : states[0]) {
    EXPECT_LE(as_signed(word), limit);
    EXPECT_GE(as_signed(word), -limit);
  }
  EXPECT_NE(initial_weights(parameters, 2)[0], states[0]);
}

// Computed by a separate implementation.
TEST(Schedule, OrdersAreKnownAndDifferByEpochAndPlayer) {
  RowSchedule player0(1, 0, 10, 10);
  EXPECT_THAT(player0.rows_of_step(0), ElementsAre(5, 7, 4, 8, 3, 6, 2, 9, 1, 0));
  EXPECT_THAT(player0.rows_of_step(1), ElementsAre(2, 1, 9, 7, 5, 3, 8, 6, 4, 0));
  RowSchedule player2(1, 2, 10, 10);
  EXPECT_THAT(player2.rows_of_step(0), ElementsAre(3, 0, 1, 7, 5, 9, 8, 2, 4, 6));
}

TEST(Schedule, BatchesSpanEpochsAndStepsCanBeRedone) {
  RowSchedule rows(1, 0, 10, 4);
  EXPECT_THAT(rows.rows_of_step(2), ElementsAre(1, 0, 2, 1));  // the end of epoch 0, then epoch 1
  const std::vector<std::uint32_t> late = rows.rows_of_step(1001);
  EXPECT_THAT(rows.rows_of_step(0), ElementsAre(5, 7, 4, 8));
  EXPECT_EQ(rows.rows_of_step(1001), late);
}

TEST(Schedule, EveryEpochUsesEveryRowOnce) {
  RowSchedule rows(7, 3, 30, 5);
  for (std::uint64_t epoch = 0; epoch < 4; ++epoch) {
    std::vector<std::uint32_t> used;
    for (std::uint64_t step = 0; step < 6; ++step) {
      for (const std::uint32_t row : rows.rows_of_step(epoch * 6 + step)) used.push_back(row);
    }
    std::sort(used.begin(), used.end());
    for (std::uint32_t i = 0; i < 30; ++i) EXPECT_EQ(used[i], i);
  }
}

TEST(Schedule, OwnersOfASingleRowRepeatIt) {
  RowSchedule rows(7, 3, 1, 3);
  EXPECT_THAT(rows.rows_of_step(9), ElementsAre(0, 0, 0));
}

TEST(Schedule, MultiplierChangesAtItsStep) {
  TrainingConfig training;
  training.rates = {{0, 64}, {100, 20}, {200, 5}};
  EXPECT_EQ(training.multiplier_of_step(0), 64u);
  EXPECT_EQ(training.multiplier_of_step(99), 64u);
  EXPECT_EQ(training.multiplier_of_step(100), 20u);
  EXPECT_EQ(training.multiplier_of_step(5000), 5u);
}

}  // namespace
}  // namespace beaverpond
