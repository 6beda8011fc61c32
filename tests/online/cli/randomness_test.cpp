// A whole run on a module in which every way to cuRAND is a trap: bundles are dealt, data shared,
// weights drawn, trained and revealed, and nobody steps on it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "kernels/device_module.h"
#include "tests/online/cli/cluster.h"

namespace beaverpond::testing {
namespace {

using Arguments = std::vector<std::string>;
using std::chrono::seconds;
using ::testing::HasSubstr;

class Randomness : public ::testing::Test {
 protected:
  /// The programs in a folder of their own, with that module beside them.
  void SetUp() override {
    std::filesystem::create_directory(cluster_.path("bin"));
    std::filesystem::copy_file(BEAVERPOND_PROGRAM, program_);
    std::filesystem::copy_file(TRIPLE_FACTORY, factory_);
    std::filesystem::copy_file(GUARDED_MODULE, cluster_.path("bin/") + kCudaModuleFile);
  }

  Outcome run(Arguments arguments) const {
    return run_program(arguments, cluster_.folder(), seconds(240));
  }

  Cluster cluster_{2};
  std::string program_ = cluster_.path("bin/beaverpond");
  std::string factory_ = cluster_.path("bin/triple-factory");
};

TEST_F(Randomness, TheTrapWorks) {
  const Outcome made = run({program_, "synthesize", "--images", "10", "--out",
                            cluster_.path("data"), "--device", "cuda"});
  EXPECT_EQ(made.code, 128 + SIGABRT) << made.err;
  EXPECT_THAT(made.err, HasSubstr("cuRAND was asked"));
}

TEST_F(Randomness, DealingSharingAndTrainingNeverStepOnIt) {
  JobText text;
  text.players = 2;
  text.steps = 2;
  text.network = "pool_timeout_ms = 60000\nconnect_timeout_ms = 60000";
  text.reveal = "weights = [\"player0\"]";
  const std::string job = cluster_.write_job("job.toml", text);
  const std::string plan = cluster_.path("job.plan");
  ASSERT_EQ(run({program_, "plan", job, "-o", plan}).code, 0);

  Arguments deal = cluster_.factory_arguments("make", plan);
  deal[0] = factory_;
  deal.insert(deal.end(), {"--bundles", "16", "--segment-bundles", "16", "--device", "cuda"});
  const Outcome dealt = run(deal);
  ASSERT_EQ(dealt.code, 0) << dealt.err;

  const std::string weights = cluster_.path("private.weights");
  const Outcome trained = run({program_, "launch", "--homes", cluster_.folder(), "train", job,
                               "--device", "cuda", "--weights-out", weights});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_THAT(trained.err, HasSubstr("computing on cuda:0"));
  EXPECT_THAT(trained.err, ::testing::Not(HasSubstr("cuRAND")));

  // The initial weights too: the same as where there is no module.
  const std::string expected = cluster_.path("plain.weights");
  ASSERT_EQ(cluster_.beaverpond({"emulate", job, "--weights-out", expected}).code, 0);
  EXPECT_TRUE(read_text(weights) == read_text(expected));
}

}  // namespace
}  // namespace beaverpond::testing
