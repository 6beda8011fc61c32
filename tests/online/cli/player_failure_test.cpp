// Players that die or hang in mid-training, and what is left of the pool afterwards.
#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <set>

#include "online/nn/emulate.h"
#include "online/nn/weight_file.h"
#include "online/session/session.h"
#include "tests/online/cli/cluster.h"
#include "tests/online/transport/recording_transport.h"

namespace beaverpond::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kPlayers = 3;
constexpr std::uint64_t kLeaseSteps = 16;
constexpr std::uint64_t kRecoverySteps = 64;  // whole leases: the next run starts at a new one
constexpr milliseconds kNoticeLimit{5000};

bool is_opening(const Tag& tag) {
  return tag.operation < kNonceOperation && tag.bundle != ~std::uint64_t{0};
}

/// What all runs of all players sent, with the order of the runs.
class Recordings {
 public:
  void add_run(const std::vector<std::string>& paths) {
    Run run;
    for (std::size_t player = 0; player < paths.size(); ++player) {
      for (const SentRecord& record : read_sent_log(paths[player])) {
        if (!is_opening(record.tag)) continue;
        run.sessions.insert(record.tag.session);
        run.bundles.insert(record.tag.bundle);
        by_player_[player].push_back(record);
        const std::pair key(record.tag.lane, record.tag.bundle);
        const auto [place, inserted] = session_of_.emplace(key, record.tag.session);
        EXPECT_EQ(place->second, record.tag.session)
            << "bundle " << record.tag.bundle << " was opened in two sessions";
      }
    }
    EXPECT_EQ(run.sessions.size(), 1u);
    ASSERT_FALSE(run.bundles.empty());
    // Runs begin with a new lease, so the numbers of a lease are known from the first.
    EXPECT_GE(*run.bundles.begin(), burned_below_) << "a bundle of an earlier lease came back";
    const std::uint64_t first = *run.bundles.begin();
    const std::uint64_t leases = (*run.bundles.rbegin() - first) / kLeaseSteps + 1;
    burned_below_ = first + leases * kLeaseSteps;
    last_count_ = run.bundles.size();
  }

  std::size_t last_count() const { return last_count_; }

  void expect_no_pad_twice() const {
    for (const auto& [player, records] : by_player_) {
      EXPECT_TRUE(opened_twice(records).empty()) << "player " << player;
    }
  }

 private:
  struct Run {
    std::set<std::uint64_t> sessions;
    std::set<std::uint64_t> bundles;
  };
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> session_of_;
  std::map<std::size_t, std::vector<SentRecord>> by_player_;
  std::uint64_t burned_below_ = 0;
  std::size_t last_count_ = 0;
};

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

  void judge(const std::string& run) {
    std::vector<std::string> paths;
    for (int player = 0; player < kPlayers; ++player) paths.push_back(record_path(run, player));
    recordings_.add_run(paths);
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
    judge(run);
  }

  void train_again(const std::string& run) {
    std::vector<Process> players = start(run, short_job_);
    for (int player = 0; player < kPlayers; ++player) {
      ASSERT_EQ(players[static_cast<std::size_t>(player)].wait(seconds(30)), 0)
          << read_text(cluster_.err_path(run, player));
      const auto weights = read_weights(weights_path(run, player));
      ASSERT_TRUE(weights.ok()) << weights.error().message;
      EXPECT_TRUE(*weights == twin_weights_) << "player " << player << " has other weights";
    }
    judge(run);
    EXPECT_EQ(recordings_.last_count(), kRecoverySteps);
  }

  Cluster cluster_{kPlayers};
  std::string long_job_;
  std::string short_job_;
  std::vector<WeightTensor> twin_weights_;
  Recordings recordings_;
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
  recordings_.expect_no_pad_twice();
}

}  // namespace
}  // namespace beaverpond::testing
