// Whatever fails in the middle of a step ends in its own error on every player, soon; and the pools
// it leaves behind train on, without a bundle that was opened before.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "online/nn/emulate.h"
#include "tests/fake_cuda/jobs/gpu_players.h"
#include "tests/fake_cuda/nccl/standin.h"
#include "tests/online/session/opening_judge.h"

namespace beaverpond::testing {
namespace {

using fake_cuda::Call;
using nccl::Status;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::uint64_t kLeaseSteps = 2;
constexpr std::uint64_t kBundles = 16;
/// Far below any patience of the players, far above what a busy machine makes of "at once".
constexpr double kSoon = 20.0;
constexpr int kRoundPatience = 60'000;
// Short patience must still outlast a player that waits for its turn on a busy machine.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kSlowness = 4;
#else
constexpr int kSlowness = 1;
#endif

/// The demo's convolution and two dense layers, with few channels and units.
Job tiny_job() {
  Job job = small_job("chameleon.toml", 1, 6);
  job.model.layers[0].channels = 1;
  job.model.layers[2].units = 4;
  job.reveal.loss_every = 1;
  job.pool.lease_steps = kLeaseSteps;
  job.network.round_timeout_ms = kRoundPatience;
  return job;
}

/// What a player is expected to end with.
struct Expected {
  ErrorCode code;
  std::optional<int> player;
  const char* words;
};

class JobFailures : public ::testing::Test {
 protected:
  void SetUp() override {
    const Result<void> made = players_.make_bundles(kBundles, "cpu");
    ASSERT_TRUE(made.ok()) << made.error().message;
  }
  void TearDown() override {
    fake_nccl::reset();
    EXPECT_EQ(fake_nccl::live_communicators(), 0);
  }

  /// Trains; `fail` is called once, at opening `number` of step `run` on player `rank`. An error
  /// that it returns is the end of that player. `prepare` is called before any player can have made
  /// that opening's call of NCCL, with the number that it will have.
  void train_until(int rank, std::uint64_t run, std::uint32_t number, const BeforeOpening& fail,
                   const std::function<void(int call)>& prepare = {}) {
    train_with([&](const Opening& opening) -> std::optional<Error> {
      if (opening.rank != rank || opening.run != run) return std::nullopt;
      // A round has two calls at most, so this one is of an earlier round than `number`'s.
      if (prepare && opening.number + 2 == number) prepare(opening.nccl_call + 2);
      return opening.number == number ? fail_now(opening, fail) : std::nullopt;
    });
  }
  /// The same at the first opening of bits of the step.
  void train_until_bits(int rank, std::uint64_t run, const BeforeOpening& fail) {
    train_with([&](const Opening& opening) -> std::optional<Error> {
      const bool here = opening.rank == rank && opening.run == run &&
                        opening.op == ReduceOp::kXor && failures_ == 0;
      return here ? fail_now(opening, fail) : std::nullopt;
    });
  }

  const std::optional<Error>& error_of(int rank) const {
    return runs_[static_cast<std::size_t>(rank)].error;
  }
  void expect(int rank, const Expected& expected) const {
    SCOPED_TRACE("player " + std::to_string(rank));
    const std::optional<Error>& error = error_of(rank);
    ASSERT_TRUE(error.has_value());
    EXPECT_STREQ(to_string(error->code), to_string(expected.code)) << error->message;
    EXPECT_EQ(error->player, expected.player) << error->message;
    EXPECT_THAT(error->message, HasSubstr(expected.words));
    expect_place(*error);
  }
  /// An error says in which step and in which layer it came.
  void expect_place(const Error& error) const {
    EXPECT_THAT(error.message, HasSubstr("step " + std::to_string(failed_in_) + ":"));
    EXPECT_THAT(error.operation, Not(IsEmpty())) << error.message;
  }
  /// Everybody but `lost` names it.
  void expect_others_name(int lost) const {
    for (int rank = 0; rank < kGpuPlayers; ++rank) {
      if (rank != lost) expect(rank, {ErrorCode::kPeerLost, lost, "player"});
    }
  }
  /// Who waits in vain says so, or names a player that did and left.
  void expect_timeouts() const {
    int timeouts = 0;
    for (int rank = 0; rank < kGpuPlayers; ++rank) {
      SCOPED_TRACE("player " + std::to_string(rank));
      const std::optional<Error>& error = error_of(rank);
      ASSERT_TRUE(error.has_value());
      expect_place(*error);
      if (error->code == ErrorCode::kTimeout) {
        ++timeouts;
        EXPECT_THAT(error->message, HasSubstr("not done over NCCL before the deadline"));
        continue;
      }
      EXPECT_EQ(error->code, ErrorCode::kPeerLost) << error->message;
      ASSERT_TRUE(error->player.has_value()) << error->message;
      EXPECT_NE(*error->player, rank);
    }
    EXPECT_GE(timeouts, 1);
  }
  void expect_all_ended_within(double seconds) const {
    for (const GpuRun& run : runs_) {
      EXPECT_LT(std::chrono::duration<double>(run.ended - failed_at_).count(), seconds);
    }
  }

  std::vector<std::string> judge(const std::vector<GpuRun>& runs) {
    std::vector<std::vector<SentRecord>> sent(runs.size());
    for (std::size_t rank = 0; rank < runs.size(); ++rank) {
      for (const Sent& one : runs[rank].over_gpus) sent[rank].push_back(one.record);
    }
    return judge_.add_run(sent);
  }

  /// All of the leases that were taken is gone on every player, and what is left is common to all.
  void expect_consistent_pools() const {
    const std::uint64_t burned = judge_.burned_below();
    std::vector<std::vector<PublishedRange>> left;
    for (int rank = 0; rank < kGpuPlayers; ++rank) {
      SCOPED_TRACE("player " + std::to_string(rank));
      Result<Pool> pool = players_.open_pool(rank);
      ASSERT_TRUE(pool.ok()) << pool.error().message;
      const Result<std::uint64_t> watermark = pool->watermark(players_.lane());
      ASSERT_TRUE(watermark.ok()) << watermark.error().message;
      EXPECT_EQ(*watermark, burned);
      const auto ranges = pool->ranges(players_.lane());
      ASSERT_TRUE(ranges.ok()) << ranges.error().message;
      left.push_back(*ranges);
    }
    for (const std::vector<PublishedRange>& ranges : left) EXPECT_EQ(ranges, left[0]);
    ASSERT_FALSE(left[0].empty());
    EXPECT_EQ(left[0].back().end(), kBundles);
  }

  /// Of the players that ended nothing stays on devices, and what was there is wiped. Not where an
  /// abort still hangs.
  static void expect_nothing_stays(std::optional<int> failed_device = std::nullopt) {
    for (int device = 0; device < kGpuPlayers; ++device) {
      if (device == failed_device) continue;  // what it holds goes with the process
      ASSERT_EQ(cudaSetDevice(device), cudaSuccess);
      ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    }
    const fake_cuda::Live live = fake_cuda::live();
    EXPECT_EQ(live.streams, 0u);
    EXPECT_EQ(live.events, 0u);
    EXPECT_EQ(live.pools, 0u);
    EXPECT_EQ(live.host_allocations, 0u);
    if (!failed_device.has_value()) {
      EXPECT_EQ(live.device_allocations, 0u);
    }
    EXPECT_EQ(fake_cuda::counts().unwiped_frees, 0u);
  }

  /// A new session, after the faults: on what is left in the pools, to the twin's weights.
  void expect_the_pools_train_on() {
    EXPECT_EQ(fake_nccl::misuse(), std::vector<std::string>());
    fake_nccl::reset();
    expect_consistent_pools();
    // As programs that are started again find their devices.
    fake_cuda::reset({.devices = kGpuPlayers});
    players_.job().training.steps = kLeaseSteps;
    players_.job().network.round_timeout_ms = kRoundPatience;
    const Result<EmulateReport> twin = emulate(players_.job(), {});
    ASSERT_TRUE(twin.ok()) << twin.error().message;
    const std::vector<GpuRun> runs = players_.train();
    for (const GpuRun& run : runs) {
      ASSERT_FALSE(run.error.has_value()) << run.error->message;
      EXPECT_EQ(weights_sha256(run.report.weights), twin->sha256);
    }
    EXPECT_THAT(judge(runs), IsEmpty());
    EXPECT_EQ(judge_.last_count(), kLeaseSteps);
    EXPECT_EQ(judge_.pads_used_twice(), 0u);
    expect_consistent_pools();
    EXPECT_EQ(fake_nccl::misuse(), std::vector<std::string>());
  }

  std::optional<Error> fail_now(const Opening& opening, const BeforeOpening& fail) {
    failed_at_ = std::chrono::steady_clock::now();
    failed_in_ = opening.run;
    failures_ += 1;
    return fail(opening);
  }

  void train_with(const BeforeOpening& before_opening) {
    failures_ = 0;
    GpuRunHooks hooks;
    hooks.before_opening = before_opening;
    runs_ = players_.train(hooks);
    ASSERT_EQ(failures_, 1) << "the place of the failure was not reached";
    EXPECT_EQ(fake_cuda::failures_left(), 0);
    EXPECT_THAT(judge(runs_), IsEmpty());
  }

  GpuPlayers players_{tiny_job()};
  std::vector<GpuRun> runs_;
  Deadline failed_at_;
  std::uint64_t failed_in_ = 0;
  std::atomic<int> failures_ = 0;
  OpeningJudge judge_{kLeaseSteps};
};

TEST_F(JobFailures, OutOfMemoryAmidAStepEndsThatPlayerAndTheOthersNameIt) {
  // Working memory has its size after the first step, so it is that step's that fails.
  train_until(1, 0, 2, [](const Opening&) {
    fake_cuda::fail_call(Call::kAllocate, 1, cudaErrorMemoryAllocation, 1);
    return std::nullopt;
  });
  expect(1, {ErrorCode::kOutOfMemory, std::nullopt, "use a smaller batch"});
  expect_others_name(1);
  expect_all_ended_within(kSoon);
  expect_nothing_stays();
  expect_the_pools_train_on();
}

TEST_F(JobFailures, OutOfMemoryOfTheTransportIsOneToo) {
  // What an opening of bits gathers has memory of its own, every time.
  train_until_bits(2, 1, [](const Opening&) {
    fake_cuda::fail_call(Call::kAllocate, 1, cudaErrorMemoryAllocation, 2);
    return std::nullopt;
  });
  expect(2, {ErrorCode::kOutOfMemory, std::nullopt, "use a smaller batch"});
  expect_others_name(2);
  expect_all_ended_within(kSoon);
  expect_nothing_stays();
  expect_the_pools_train_on();
}

TEST_F(JobFailures, AKernelThatDoesNotStartIsAFailedDevice) {
  train_until(2, 1, 3, [](const Opening&) {
    fake_cuda::fail_call(Call::kLaunch, 2, cudaErrorLaunchOutOfResources, 2);
    return std::nullopt;
  });
  expect(2, {ErrorCode::kDeviceFailed, std::nullopt, "cudaErrorLaunchOutOfResources"});
  expect_others_name(2);
  expect_all_ended_within(kSoon);
  expect_nothing_stays();
  expect_the_pools_train_on();
}

TEST_F(JobFailures, AKernelThatFaultsStopsItsDeviceOnly) {
  train_until(0, 1, 2, [](const Opening&) {
    fake_cuda::fail_kernel(2, cudaErrorIllegalAddress, 0);
    return std::nullopt;
  });
  expect(0, {ErrorCode::kDeviceFailed, std::nullopt, "cudaErrorIllegalAddress"});
  expect_others_name(0);
  expect_all_ended_within(kSoon);
  expect_nothing_stays(0);
  expect_the_pools_train_on();
}

TEST_F(JobFailures, ADeviceThatStopsUnderAnOpeningIsAFailedDevice) {
  train_until(1, 2, 1, [](const Opening&) {
    fake_cuda::stop_device(1, cudaErrorECCUncorrectable);
    return std::nullopt;
  });
  expect(1, {ErrorCode::kDeviceFailed, std::nullopt, "cudaErrorECCUncorrectable"});
  expect_others_name(1);
  expect_all_ended_within(kSoon);
  expect_nothing_stays(1);
  expect_the_pools_train_on();
}

TEST_F(JobFailures, ARemoteErrorNamesThePlayerThatLeft) {
  train_until(
      2, 1, 5, [](const Opening&) { return make_error(ErrorCode::kCancelled, "killed"); },
      [](int call) {
        fake_nccl::fail(0, call, Status::kRemoteError);
        fake_nccl::fail(1, call, Status::kRemoteError);
      });
  expect_others_name(2);
  expect_all_ended_within(kSoon);
  expect_nothing_stays();
  expect_the_pools_train_on();
}

TEST_F(JobFailures, ARemoteErrorThatNobodyExplainsIsAPeerLost) {
  players_.job().network.peer_timeout_ms = 3'000 * kSlowness;
  train_until(
      0, 1, 5, [](const Opening&) { return std::nullopt; },
      [](int call) {
        for (int rank = 0; rank < kGpuPlayers; ++rank) {
          fake_nccl::fail(rank, call, Status::kRemoteError);
        }
      });
  // Who gives up first blames nobody; the others may blame it, since it leaves.
  bool unexplained = false;
  for (int rank = 0; rank < kGpuPlayers; ++rank) {
    const std::optional<Error>& error = error_of(rank);
    ASSERT_TRUE(error.has_value());
    EXPECT_EQ(error->code, ErrorCode::kPeerLost) << error->message;
    if (error->player.has_value()) continue;
    unexplained = true;
    EXPECT_THAT(error->message, HasSubstr("remote process exited"));
  }
  EXPECT_TRUE(unexplained);
  expect_all_ended_within(4.0 * kSlowness + kSoon);
  expect_nothing_stays();
  expect_the_pools_train_on();
}

TEST_F(JobFailures, APartThatNeverComesIsATimeout) {
  players_.job().network.round_timeout_ms = 4'000 * kSlowness;
  train_until(1, 1, 4, [](const Opening& opening) {
    fake_nccl::never_arrive(1, opening.nccl_call);
    return std::nullopt;
  });
  expect_timeouts();
  expect_all_ended_within(4.0 * kSlowness + kSoon);
  expect_nothing_stays();
  expect_the_pools_train_on();
}

TEST_F(JobFailures, AnAbortThatHangsHangsNobody) {
  players_.job().network.round_timeout_ms = 4'000 * kSlowness;
  train_until(1, 1, 4, [](const Opening& opening) {
    fake_nccl::never_arrive(1, opening.nccl_call);
    for (int rank = 0; rank < kGpuPlayers; ++rank) fake_nccl::hang_aborts(rank);
    return std::nullopt;
  });
  expect_timeouts();
  for (int rank = 0; rank < kGpuPlayers; ++rank) {
    EXPECT_THAT(error_of(rank)->message, HasSubstr("abort did not return in 2000 ms"));
  }
  expect_all_ended_within(4.0 * kSlowness + kSoon);
  expect_the_pools_train_on();
}

TEST_F(JobFailures, APlayerThatDiesAmidAStepIsNamed) {
  for (int victim = 0; victim < kGpuPlayers; ++victim) {
    SCOPED_TRACE("player " + std::to_string(victim) + " dies");
    players_.job().training.steps = 6;
    // Other places in a lease and in a step each time.
    const auto place = static_cast<std::uint32_t>(victim);
    train_until(victim, place % kLeaseSteps, 1 + 2 * place,
                [](const Opening&) { return make_error(ErrorCode::kCancelled, "killed"); });
    expect(victim, {ErrorCode::kCancelled, std::nullopt, "killed"});
    expect_others_name(victim);
    expect_all_ended_within(kSoon);
    expect_nothing_stays();
    expect_the_pools_train_on();
    if (HasFailure()) return;
  }
}

TEST_F(JobFailures, TheJudgeSeesABundleThatIsOpenedTwice) {
  // All pools are put back at once, so that no player can notice: the judge's own test.
  players_.job().training.steps = kLeaseSteps;
  players_.keep_pools();
  EXPECT_THAT(judge(players_.train()), IsEmpty());
  players_.put_pools_back();
  EXPECT_THAT(judge(players_.train()),
              ::testing::Contains("a bundle of an earlier lease came back"));
  EXPECT_GT(judge_.pads_used_twice(), 0u);
}

}  // namespace
}  // namespace beaverpond::testing
