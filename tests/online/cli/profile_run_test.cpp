// Jobs of other profiles by the real programs: few rounds, and plans that the players choose.
#include <gtest/gtest.h>

#include "tests/online/cli/cluster.h"

namespace beaverpond::testing {
namespace {

using Arguments = std::vector<std::string>;

class ProfileRun : public ::testing::Test {
 protected:
  std::string job(const std::string& profile, std::uint64_t steps) const {
    JobText text;
    text.steps = steps;
    text.profile = profile;
    return cluster_.write_job(profile + std::to_string(steps) + ".toml", text);
  }
  void plan(const std::string& job) const {
    ASSERT_EQ(cluster_.beaverpond({"plan", job, "-o", cluster_.path("x.plan")}).code, 0);
  }
  /// Trains, and compares the weights with the plaintext twin's.
  Outcome train(const std::string& job) const {
    const std::string twin = cluster_.path("twin.weights");
    EXPECT_EQ(cluster_.beaverpond({"emulate", job, "--weights-out", twin}).code, 0);
    const std::string weights = cluster_.path("private.weights");
    Outcome outcome = cluster_.beaverpond(
        {"launch", "--homes", cluster_.folder(), "train", job, "--weights-out", weights});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(read_text(weights), read_text(twin));
    EXPECT_FALSE(read_text(twin).empty());
    return outcome;
  }

  Cluster cluster_{3};
};

TEST_F(ProfileRun, FewRoundsTrainTheSameWeights) {
  const std::string file = job("wan", 6);
  plan(file);
  ASSERT_EQ(cluster_.make_bundles(cluster_.path("x.plan"), 6).code, 0);
  train(file);
}

TEST_F(ProfileRun, PlayersTakeWhatTheirPoolsHave) {
  const std::string file = job("auto", 6);
  plan(file);  // two files
  ASSERT_EQ(cluster_.make_bundles(cluster_.path("x.wan.plan"), 6).code, 0);
  EXPECT_NE(train(file).err.find("profile wan"), std::string::npos);
}

TEST_F(ProfileRun, OnANearNetworkPlayersTakeTheSmallPlanOfTwo) {
  const std::string file = job("auto", 3);
  plan(file);
  ASSERT_EQ(cluster_.make_bundles(cluster_.path("x.plan"), 3).code, 0);
  const Outcome outcome = train(file);
  EXPECT_NE(outcome.err.find("profile lan"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace beaverpond::testing
