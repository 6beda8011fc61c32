// The examples' jobs on the CUDA module and NCCL, from pools on disk: the weights are the plaintext
// twin's, bit for bit.
#include <gtest/gtest.h>

#include "online/nn/emulate.h"
#include "online/session/session.h"
#include "tests/fake_cuda/jobs/gpu_players.h"
#include "tests/fake_cuda/nccl/standin.h"
#include "tests/online/session/opening_judge.h"

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
  Job job = small_job(c.example, c.rows, c.steps);
  job.pool.prg = c.prg;
  GpuPlayers players(std::move(job));
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

/// A small convolution and two dense layers among SecureNN's players: the weights.
void train_by_securenn(Job job, Protocol protocol, const char* dealer, const GpuSetting& setting) {
  job.protocol = protocol;
  const std::uint64_t steps = job.training.steps;
  GpuPlayers players(std::move(job));
  const Result<EmulateReport> twin = emulate(players.job(), {});
  ASSERT_TRUE(twin.ok()) << twin.error().message;
  const Result<void> made = players.make_bundles(steps, dealer);
  ASSERT_TRUE(made.ok()) << made.error().message;
  const std::vector<GpuRun> runs = players.train({}, setting);
  for (std::size_t rank = 0; rank < runs.size(); ++rank) {
    const GpuRun& run = runs[rank];
    ASSERT_FALSE(run.error.has_value()) << run.error->message;
    EXPECT_TRUE(run.report.weights == twin->weights);
    // In the clear between devices goes what players 0 and 1 open to each other, nothing of the
    // assistant's.
    std::uint64_t in_the_clear = 0;
    for (const Sent& sent : run.over_gpus) in_the_clear += sent.memory == MemoryKind::kDevice;
    EXPECT_EQ(in_the_clear > 0, setting.transport == "nccl" && rank < 2) << rank;
  }
  EXPECT_EQ(fake_nccl::misuse(), std::vector<std::string>());
  EXPECT_EQ(fake_cuda::counts().unwiped_frees, 0u);
}

Job tiny_convolution() {
  Job job = small_job("chameleon.toml", 1, 1);
  job.model.layers[0].channels = 1;
  job.model.layers[2].units = 4;
  return job;
}

TEST(SecurennJob, OnGpusOverNccl) {
  Job job = small_job("netA.toml", 1, 1);
  job.pool.prg = PrgKind::kChaCha20;
  train_by_securenn(std::move(job), Protocol::kSecurenn, "cuda:0", {});
}

TEST(SecurennJob, FusedOnGpusOverNccl) {
  train_by_securenn(tiny_convolution(), Protocol::kSecurennFused, "cuda:1", {});
}

TEST(SecurennJob, OnDifferentDevicesOverTls) {
  for (std::size_t on_cpu = 0; on_cpu < kGpuPlayers; ++on_cpu) {
    SCOPED_TRACE("player " + std::to_string(on_cpu) + " on a CPU");
    GpuSetting setting;
    setting.transport = "tls";
    setting.devices[on_cpu] = "cpu";
    const auto protocol = on_cpu == 1 ? Protocol::kSecurennFused : Protocol::kSecurenn;
    train_by_securenn(tiny_convolution(), protocol, "cpu", setting);
  }
}

TEST(Job, OpeningsGoFromDeviceToDeviceAndAllElseOverTls) {
  constexpr std::uint64_t kSteps = 3;
  Job job = small_job("chameleon.toml", 1, kSteps);
  job.model.layers[0].channels = 1;
  job.model.layers[2].units = 4;
  job.reveal.loss_every = kSteps;
  GpuPlayers players(std::move(job));
  const Result<void> made = players.make_bundles(kSteps, "cpu");
  ASSERT_TRUE(made.ok()) << made.error().message;
  // Behind player 0's second step nobody can have come to the loss of the third.
  std::vector<fake_cuda::Counts> counts;
  GpuRunHooks hooks;
  hooks.after_step = [&](int rank, const TrainProgress&) {
    if (rank == 0) counts.push_back(fake_cuda::counts());
  };
  const std::vector<GpuRun> runs = players.train(hooks);
  std::uint64_t openings = 0;
  for (const GpuRun& run : runs) {
    ASSERT_FALSE(run.error.has_value()) << run.error->message;
    std::uint64_t opened_bytes = 0;
    for (const Sent& sent : run.over_gpus) {
      const bool opening = sent.way == Way::kReduce;
      EXPECT_EQ(sent.memory, opening ? MemoryKind::kDevice : MemoryKind::kHost)
          << "operation " << sent.record.tag.operation;
      openings += opening ? 1 : 0;
      opened_bytes += opening ? sent.record.size_bytes : 0;
    }
    EXPECT_EQ(opened_bytes,
              8 * (run.report.engine.opened_words + run.report.engine.opened_plane_words));
    // Shares of inputs are drawn from pair keys, so the keys are what travels of them.
    std::uint64_t keys = 0;
    std::uint64_t losses = 0;
    std::uint64_t weights = 0;
    for (const Sent& sent : run.over_tls) {
      const Tag& tag = sent.record.tag;
      EXPECT_EQ(sent.memory, MemoryKind::kHost);
      EXPECT_NE(sent.way, Way::kReduce) << "an opening over TLS";
      keys += tag.operation == kPairKeysOperation ? 1 : 0;
      losses += sent.way == Way::kSend && is_opening(tag) ? 1 : 0;
      weights += sent.way == Way::kSend && tag.bundle == ~std::uint64_t{0} ? 1 : 0;
    }
    EXPECT_EQ(keys, kGpuPlayers - 1u);
    EXPECT_EQ(losses, kGpuPlayers - 1u);
    EXPECT_EQ(weights, (kGpuPlayers - 1u) * players.setup().parameters.size());
  }
  EXPECT_GT(openings, 0u);
  // Besides the openings only each player's first sum; and nothing of a step came to the host.
  EXPECT_EQ(static_cast<std::uint64_t>(fake_nccl::calls()), openings + kGpuPlayers);
  ASSERT_EQ(counts.size(), kSteps);
  EXPECT_EQ(counts[1].bytes_to_host, counts[0].bytes_to_host);
  EXPECT_GT(fake_cuda::counts().bytes_to_host, counts[1].bytes_to_host);
  EXPECT_EQ(fake_cuda::counts().unwiped_frees, 0u);
}

}  // namespace
}  // namespace beaverpond::testing
