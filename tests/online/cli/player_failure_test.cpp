// Players that die or hang in mid-training, and what is left of the pool afterwards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "online/nn/emulate.h"
#include "online/nn/weight_file.h"
#include "tests/online/cli/cluster.h"
#include "tests/online/session/opening_judge.h"

namespace beaverpond::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kPlayers = 3;
constexpr std::uint64_t kLeaseSteps = 16;
constexpr std::uint64_t kRecoverySteps = 64;  // whole leases: the next run starts at a new one
constexpr milliseconds kNoticeLimit{5000};

class PlayerFailure : public ::testing::Test {
 protected:
  void SetUp() override {
    JobText text;
    text.steps = 1000;  // never reached
    long_job_ = cluster_.write_job("long.toml", text);
    text.steps = kRecoverySteps;
    short_job_ = cluster_.write_job("short.toml", text);
    const std::string plan = cluster_.path("job.plan");
    ASSERT_EQ(cluster_.beaverpond({"plan", long_job_, "-o", plan}).code, 0);
    const Outcome made = cluster_.make_bundles(plan, 960);
    ASSERT_EQ(made.code, 0) << made.err;
    const Result<Job> job = read_job(short_job_);
    ASSERT_TRUE(job.ok()) << job.error().message;
    const Result<EmulateReport> twin = emulate(*job, {});
    ASSERT_TRUE(twin.ok()) << twin.error().message;
    twin_weights_ = twin->weights;
  }

  std::string record_path(const std::string& run, int player) const {
    return cluster_.home(player) + "/" + run + ".sent";
  }
  std::string weights_path(const std::string& run, int player) const {
    return cluster_.home(player) + "/" + run + ".weights";
  }

  std::vector<Process> start(const std::string& run, const std::string& job) {
    return cluster_.start_players(run, [&](int player) {
      return std::vector<std::string>{RECORDING_PLAYER, job,
                                      "--record",       record_path(run, player),
                                      "--weights-out",  weights_path(run, player)};
    });
  }

  std::vector<std::string> judge(const std::string& run) {
    std::vector<std::vector<SentRecord>> sent;
    for (int player = 0; player < kPlayers; ++player) {
      sent.push_back(read_sent_log(record_path(run, player)));
    }
    return judge_.add_run(sent);
  }

  /// All players but `victim` end within the limit, with exit code 3, and name it.
  void expect_survivors_notice(const std::string& run, std::vector<Process>& players, int victim) {
    const auto since = std::chrono::steady_clock::now();
    for (int player = 0; player < kPlayers; ++player) {
      if (player == victim) continue;
      EXPECT_EQ(players[static_cast<std::size_t>(player)].wait(seconds(20)),
                static_cast<int>(ErrorCode::kPeerLost))
          << "player " << player << ": " << read_text(cluster_.err_path(run, player));
      const auto waited = std::chrono::steady_clock::now() - since;
      EXPECT_LT(waited, kNoticeLimit) << "player " << player;
      const std::string err = read_text(cluster_.err_path(run, player));
      EXPECT_NE(err.find("peer-lost"), std::string::npos) << err;
      EXPECT_NE(err.find("player " + std::to_string(victim)), std::string::npos) << err;
    }
  }

  void fail_one(const std::string& run, int victim, int signal, int after_step) {
    std::vector<Process> players = start(run, long_job_);
    const std::string step = "\"step\":" + std::to_string(after_step) + ",";
    ASSERT_TRUE(wait_for_text(cluster_.out_path(run, 0), step, seconds(30)))
        << read_text(cluster_.err_path(run, 0));
    Process& failed = players[static_cast<std::size_t>(victim)];
    failed.send(signal);
    expect_survivors_notice(run, players, victim);
    if (signal == SIGSTOP) {
      // It wakes up among the dead: no hang, and nothing more is spent.
      failed.send(SIGCONT);
      EXPECT_EQ(failed.wait(kNoticeLimit), static_cast<int>(ErrorCode::kPeerLost))
          << read_text(cluster_.err_path(run, victim));
    } else {
      EXPECT_EQ(failed.wait(seconds(5)), 128 + signal);
    }
    EXPECT_THAT(judge(run), ::testing::IsEmpty());
  }

  /// To the end, on what is left in the pools; gives the twin's weights.
  void train_again(const std::string& run) {
    std::vector<Process> players = start(run, short_job_);
    for (int player = 0; player < kPlayers; ++player) {
      ASSERT_EQ(players[static_cast<std::size_t>(player)].wait(seconds(30)), 0)
          << read_text(cluster_.err_path(run, player));
      const auto weights = read_weights(weights_path(run, player));
      ASSERT_TRUE(weights.ok()) << weights.error().message;
      EXPECT_TRUE(*weights == twin_weights_) << "player " << player << " has other weights";
    }
    EXPECT_THAT(judge(run), ::testing::IsEmpty());
    EXPECT_EQ(judge_.last_count(), kRecoverySteps);
  }

  Cluster cluster_{kPlayers};
  std::string long_job_;
  std::string short_job_;
  std::vector<WeightTensor> twin_weights_;
  OpeningJudge judge_{kLeaseSteps};
};

TEST_F(PlayerFailure, SurvivorsNameTheLostPlayerAndNoBundleIsOpenedTwice) {
  int number = 0;
  for (const int signal : {SIGKILL, SIGSTOP}) {
    for (int victim = 0; victim < kPlayers; ++victim) {
      SCOPED_TRACE(std::string(signal == SIGKILL ? "SIGKILL" : "SIGSTOP") + " of player " +
                   std::to_string(victim));
      // Other places in a lease and in a step each time.
      const int after_step = 20 + 5 * number;
      fail_one("fail" + std::to_string(number), victim, signal, after_step);
      if (HasFatalFailure()) return;
      train_again("again" + std::to_string(number));
      if (HasFatalFailure()) return;
      ++number;
    }
  }
  EXPECT_EQ(judge_.pads_used_twice(), 0u);
}

/// Puts an older copy of some players' pools back between two runs.
class Rollback : public PlayerFailure {
 protected:
  void copy_pools(const std::string& from, const std::string& to, int players) const {
    for (int player = 0; player < players; ++player) {
      std::filesystem::remove_all(cluster_.home(player) + to);
      std::filesystem::copy(cluster_.home(player) + from, cluster_.home(player) + to,
                            std::filesystem::copy_options::recursive);
    }
  }
};

TEST_F(Rollback, OnePlayerThatRemembersIsEnough) {
  copy_pools("/pool", "/old-pool", kPlayers - 1);
  train_again("first");
  copy_pools("/old-pool", "/pool", kPlayers - 1);
  train_again("second");
  const std::string err = read_text(cluster_.err_path("second", 0));
  EXPECT_NE(err.find("an old snapshot was put back"), std::string::npos) << err;
  EXPECT_EQ(judge_.pads_used_twice(), 0u);
}

TEST_F(Rollback, TheJudgeSeesWhatNobodyRemembers) {
  // All pools at once: nothing in the players can notice (a new membership epoch is due). This is
  // the judge's own test.
  copy_pools("/pool", "/old-pool", kPlayers);
  train_again("first");
  copy_pools("/old-pool", "/pool", kPlayers);
  std::vector<Process> players = start("second", short_job_);
  for (Process& player : players) ASSERT_EQ(player.wait(seconds(30)), 0);
  EXPECT_THAT(judge("second"), ::testing::Contains("a bundle of an earlier lease came back"));
  EXPECT_GT(judge_.pads_used_twice(), 0u);
}

}  // namespace
}  // namespace beaverpond::testing
