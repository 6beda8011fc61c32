// The examples' jobs on the CUDA module and NCCL, from pools on disk: the weights are the plaintext
// twin's, bit for bit.
#include <gtest/gtest.h>

#include <map>

#include "online/nn/emulate.h"
#include "online/session/session.h"
#include "tests/fake_cuda/jobs/gpu_players.h"
#include "tests/fake_cuda/nccl/standin.h"

namespace beaverpond::testing {
namespace {

struct Case {
  const char* example;
  std::uint32_t rows;
  std::uint64_t steps;
  PrgKind prg;
  const char* dealer;  ///< the factory's device
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.example << " by " << (c.prg == PrgKind::kChaCha20 ? "chacha20" : "aes128-ctr")
       << ", dealt on " << c.dealer;
}

class Jobs : public ::testing::TestWithParam<Case> {};

TEST_P(Jobs, WeightsAreBitIdenticalToTheTwins) {
  const Case& c = GetParam();
  GpuPlayers players(small_job(c.example, c.rows, c.steps), c.prg);
  const Result<EmulateReport> twin = emulate(players.job(), {});
  ASSERT_TRUE(twin.ok()) << twin.error().message;
  const Result<void> made = players.make_bundles(c.steps, c.dealer);
  ASSERT_TRUE(made.ok()) << made.error().message;
  for (const GpuRun& run : players.train()) {
    ASSERT_FALSE(run.error.has_value()) << run.error->message;
    EXPECT_TRUE(run.report.weights == twin->weights);
    EXPECT_EQ(weights_sha256(run.report.weights), twin->sha256);
  }
  EXPECT_EQ(fake_nccl::misuse(), std::vector<std::string>());
  EXPECT_EQ(fake_nccl::live_communicators(), 0);
}

INSTANTIATE_TEST_SUITE_P(Examples, Jobs,
                         ::testing::Values(Case{"netA.toml", 1, 2, PrgKind::kAes128Ctr, "cpu"},
                                           Case{"lenet.toml", 1, 1, PrgKind::kAes128Ctr, "cpu"},
                                           Case{"demo.toml", 1, 2, PrgKind::kChaCha20, "cuda:0"},
                                           Case{"chameleon.toml", 1, 2, PrgKind::kAes128Ctr,
                                                "cuda:1"}));

}  // namespace
}  // namespace beaverpond::testing
