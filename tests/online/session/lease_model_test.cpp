// The lease protocol, exhaustively for few players and sessions.
#include "tests/online/session/model/lease_model.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "tests/soak.h"

namespace beaverpond::testing {
namespace {

constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

void expect_safe(const ModelOptions& options) {
  const ModelResult result = search_lease_model(options, kNoLimit);
  std::printf("%d players, %d sessions, %d rollbacks: %llu states, %llu transitions\n",
              options.players, options.sessions, options.rollbacks,
              static_cast<unsigned long long>(result.states),
              static_cast<unsigned long long>(result.transitions));
  EXPECT_TRUE(result.complete);
  EXPECT_EQ(result.violation, "");
  EXPECT_GT(result.spending_states, 100u);
}

void expect_found(ModelMutant mutant, int players, int sessions, int rollbacks,
                  bool any_rollback = false) {
  const ModelResult result =
      search_lease_model({players, sessions, rollbacks, any_rollback, mutant}, 3000000);
  EXPECT_NE(result.violation, "") << "not found in " << result.states << " states";
  std::printf("%s\n", result.violation.c_str());
}

TEST(LeaseModel, TwoPlayersNeverOpenABundleTwice) {
  expect_safe({2, 4, 2});
}

TEST(LeaseModel, OneOfTwoDisksMayBePutBackAtAnyTime) {
  ModelOptions options{2, 4, 1};
  options.any_rollback = true;
  expect_safe(options);
}

TEST(LeaseModel, ThreePlayersNeverOpenABundleTwice) {
  expect_safe({3, campaign_size(2, 3), 1});
}

TEST(LeaseModel, FourPlayersNeverOpenABundleTwice) {
  if (campaign_size(0, 1) == 0) GTEST_SKIP() << "in make soak";
  expect_safe({4, 2, 1});
}

TEST(LeaseModelMutant, DurableBeforeTheSyncIsFound) {
  expect_found(ModelMutant::kSendBeforeSync, 2, 2, 0);
}

TEST(LeaseModelMutant, StartingAtOnesOwnWatermarkIsFound) {
  expect_found(ModelMutant::kNobodyIsAsked, 2, 2, 1);
}

TEST(LeaseModelMutant, NotWaitingForTheOthersIsFound) {
  expect_found(ModelMutant::kDurableIsNotAwaited, 2, 3, 1, true);
}

TEST(LeaseModelMutant, LiveSetsWithoutTheOwnerAreFound) {
  expect_found(ModelMutant::kNoOwner, 4, 2, 0);
}

TEST(LeaseModelMutant, AnOwnerThatForgotAmongPlayersThatNeverKnewIsFound) {
  expect_found(ModelMutant::kNobodyRemembers, 3, 2, 1);
}

}  // namespace
}  // namespace beaverpond::testing
