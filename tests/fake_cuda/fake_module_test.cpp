// The programs on a GPU's backend, as users run them: the module is found and loaded, players are
// processes, and what they compute is the CPU's, bit for bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "kernels/product_rates.h"
#include "tests/online/cli/cluster.h"

namespace beaverpond::testing {
namespace {

using ::testing::HasSubstr;
using Arguments = std::vector<std::string>;

class FakeModule : public ::testing::Test {
 protected:
  // Programs look for the module as the system does; children inherit this.
  void SetUp() override { ASSERT_EQ(setenv("LD_LIBRARY_PATH", BEAVERPOND_FAKE_FOLDER, 1), 0); }
  void TearDown() override { unsetenv("LD_LIBRARY_PATH"); }
};

TEST_F(FakeModule, ThreePlayersTrainTheSameNetAsOnTheCpu) {
  std::string by_cpu;
  for (const std::string device : {"cpu", "cuda", "auto"}) {
    SCOPED_TRACE(device);
    const Cluster cluster(3);
    JobText text;
    text.steps = 3;
    const std::string job = cluster.write_job("job.toml", text);
    const std::string plan = cluster.path("job.plan");
    ASSERT_EQ(cluster.beaverpond({"plan", job, "-o", plan}).code, 0);
    Arguments make = cluster.factory_arguments("make", plan);
    make.insert(make.end(), {"--bundles", "3", "--segment-bundles", "3", "--device", device});
    const Outcome made = run_program(make, cluster.folder(), std::chrono::seconds(120));
    ASSERT_EQ(made.code, 0) << made.err;
    const std::string expected =
        device == "cpu" ? "computing on cpu" : "computing on cuda:0 (stand-in on host memory)";
    EXPECT_THAT(made.err + made.out, HasSubstr(expected));
    std::vector<Process> players = cluster.start_players("train", [&](int player) {
      return Arguments{BEAVERPOND_PROGRAM,
                       "train",
                       job,
                       "--device",
                       device,
                       "--weights-out",
                       cluster.home(player) + "/weights"};
    });
    for (int player = 0; player < 3; ++player) {
      ASSERT_EQ(players[static_cast<std::size_t>(player)].wait(std::chrono::seconds(120)), 0)
          << read_text(cluster.err_path("train", player));
      EXPECT_THAT(read_text(cluster.err_path("train", player)), HasSubstr(expected));
      const std::string weights = read_text(cluster.home(player) + "/weights");
      ASSERT_FALSE(weights.empty());
      if (by_cpu.empty()) by_cpu = weights;
      EXPECT_EQ(weights, by_cpu);
    }
  }
}

/// Rates that a GPU run kept: read where they lie, and shown; a file that is none is an error, also
/// where the device may be the CPU.
TEST_F(FakeModule, RatesOfProductsAreReadAndShown) {
  const Cluster cluster(3);
  const std::string job = cluster.write_job("job.toml", JobText{});
  const std::string plan = cluster.path("job.plan");
  ASSERT_EQ(cluster.beaverpond({"plan", job, "-o", plan}).code, 0);
  const std::string rates = cluster.path("rates.toml");
  ASSERT_EQ(setenv("BEAVERPOND_GPU_RATES", rates.c_str(), 1), 0);
  const DeviceRates row{"stand-in on host memory", {2000, 300000, 50, 8000, 400000, 20}};
  ASSERT_TRUE(save_product_rates(row, rates).ok());
  Arguments make = cluster.factory_arguments("make", plan);
  make.insert(make.end(), {"--bundles", "1", "--device", "auto"});
  const Outcome made = run_program(make, cluster.folder(), std::chrono::seconds(120));
  EXPECT_EQ(made.code, 0) << made.err;
  EXPECT_THAT(made.err + made.out, HasSubstr("(stand-in on host memory) with rates of " + rates));
  write_text(rates, "words_macs = many\n");
  const Outcome refused = run_program(make, cluster.folder(), std::chrono::seconds(120));
  unsetenv("BEAVERPOND_GPU_RATES");
  EXPECT_EQ(refused.code, static_cast<int>(ErrorCode::kConfig)) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr(rates + ", line 1"));
}

TEST_F(FakeModule, ADeviceThereIsNotIsAnErrorAndNotTheCpu) {
  const Cluster cluster(3);
  const std::string job = cluster.write_job("job.toml", JobText{});
  const std::string plan = cluster.path("job.plan");
  ASSERT_EQ(cluster.beaverpond({"plan", job, "-o", plan}).code, 0);
  Arguments make = cluster.factory_arguments("make", plan);
  make.insert(make.end(), {"--bundles", "1", "--device", "cuda:1"});
  const Outcome made = run_program(make, cluster.folder(), std::chrono::seconds(20));
  EXPECT_EQ(made.code, static_cast<int>(ErrorCode::kConfig)) << made.err;
  EXPECT_THAT(made.err, HasSubstr("no device cuda:1"));
}

}  // namespace
}  // namespace beaverpond::testing
