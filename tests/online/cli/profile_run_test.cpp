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
  Outcome train(const std::string& job, const Arguments& more = {}) const {
    const std::string twin = cluster_.path("twin.weights");
    EXPECT_EQ(cluster_.beaverpond({"emulate", job, "--weights-out", twin}).code, 0);
    const std::string weights = cluster_.path("private.weights");
    Arguments arguments = {"launch",        "--homes", cluster_.folder(), "train", job,
                           "--weights-out", weights};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Outcome outcome = cluster_.beaverpond(arguments);
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

TEST_F(ProfileRun, DealingTimesAreShownOfThePlanThatWasChosen) {
  const std::string file = job("auto", 2);
  plan(file);
  ASSERT_EQ(cluster_.make_bundles(cluster_.path("x.wan.plan"), 4).code, 0);
  for (const bool chosen : {true, false}) {
    SCOPED_TRACE(chosen);
    const Outcome times = run_program(
        {TRIPLE_FACTORY, "profile", "--plan", cluster_.path(chosen ? "x.wan.plan" : "x.plan"),
         "--players", "3", "--bundles", "1", "--json"},
        cluster_.folder());
    ASSERT_EQ(times.code, 0) << times.err;
    write_text(cluster_.path("dealing.json"), times.out);
    const Outcome outcome = train(file, {"--profile", "--dealing", cluster_.path("dealing.json")});
    EXPECT_NE(outcome.err.find("mean of 2 steps"), std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.err.find("dealing ms") != std::string::npos, chosen) << outcome.err;
    EXPECT_EQ(outcome.err.find("the players chose profile wan") != std::string::npos, !chosen);
  }
  // Both at once: the run takes its own, the plan shows both, and two of one are a mistake.
  std::vector<std::string> both;
  for (const char* name : {"x.plan", "x.wan.plan"}) {
    const Outcome times = run_program({TRIPLE_FACTORY, "profile", "--plan", cluster_.path(name),
                                       "--players", "3", "--bundles", "1", "--json"},
                                      cluster_.folder());
    const std::string path = cluster_.path(std::string(name) + ".json");
    write_text(path, times.out);
    both.insert(both.end(), {"--dealing", path});
  }
  const auto planned = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"plan"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.push_back(file);
    return cluster_.beaverpond(arguments);
  };
  const Outcome two = planned(both);
  EXPECT_EQ(two.code, 0) << two.err;
  EXPECT_NE(two.out.find("core hours"), std::string::npos) << two.out;
  EXPECT_NE(two.out.find(" MB, dealt in "), std::string::npos) << two.out;
  const Outcome wide = planned({both[2], both[3], "--json"});
  EXPECT_NE(wide.out.find("\"wan_dealing_seconds\":"), std::string::npos) << wide.out << wide.err;
  EXPECT_EQ(wide.out.find("\"dealing_seconds\":0."), std::string::npos) << wide.out;
  const Outcome twice = planned({both[0], both[1], both[0], both[1]});
  EXPECT_EQ(twice.code, static_cast<int>(ErrorCode::kConfig));
  EXPECT_NE(twice.err.find("once for each plan"), std::string::npos) << twice.err;
}

}  // namespace
}  // namespace beaverpond::testing
