// Players and the factory killed at random, again and again, as a supervisor that restarts them
// would see it: no bundle is opened in two sessions, and nobody has to repair anything.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "online/nn/emulate.h"
#include "online/nn/weight_file.h"
#include "online/session/session.h"
#include "tests/online/cli/cluster.h"
#include "tests/online/transport/recording_transport.h"
#include "tests/soak.h"

namespace beaverpond::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr int kPlayers = 3;

class KillCampaign : public ::testing::Test {
 protected:
  void SetUp() override {
    JobText text;
    text.network = "pool_timeout_ms = 1500\nconnect_timeout_ms = 4000";
    text.steps = 100000;  // never reached
    long_job_ = cluster_.write_job("long.toml", text);
    text.steps = 32;
    text.network = "pool_timeout_ms = 20000";
    short_job_ = cluster_.write_job("short.toml", text);
    plan_ = cluster_.path("job.plan");
    ASSERT_EQ(cluster_.beaverpond({"plan", long_job_, "-o", plan_}).code, 0);
  }

  /// The factory, started again if it is not there.
  void keep_factory() {
    if (factory_.has_value() && factory_->wait(milliseconds(0)) == Process::kHung) return;
    factory_.reset();
    factory_.emplace(cluster_.start_factory(plan_, 64, 128, 16));
  }

  std::string record_path(int player) const { return cluster_.home(player) + "/sent"; }
  std::string weights_path(int player) const { return cluster_.home(player) + "/weights"; }

  std::vector<Process> start_players(const std::string& job) {
    for (int player = 0; player < kPlayers; ++player) {
      std::filesystem::remove(record_path(player));
    }
    return cluster_.start_players("run", [&](int player) {
      return std::vector<std::string>{RECORDING_PLAYER, job,
                                      "--record",       record_path(player),
                                      "--weights-out",  weights_path(player)};
    });
  }

  /// Adds what the last run sent to what is known, and judges it.
  void judge() {
    for (int player = 0; player < kPlayers; ++player) {
      std::vector<SentRecord> openings;
      for (SentRecord& record : read_sent_log(record_path(player))) {
        if (record.tag.operation >= kNonceOperation || record.tag.bundle == ~std::uint64_t{0}) {
          continue;
        }
        const std::pair place(record.tag.lane, record.tag.bundle);
        const auto [at, fresh] = session_of_.emplace(place, record.tag.session);
        EXPECT_EQ(at->second, record.tag.session)
            << "bundle " << record.tag.bundle << " was opened in two sessions";
        openings.push_back(std::move(record));
      }
      EXPECT_TRUE(opened_twice(openings).empty()) << "player " << player;
    }
  }

  /// One run that does not end by itself.
  void cycle(milliseconds delay) {
    keep_factory();
    std::vector<Process> players = start_players(long_job_);
    std::this_thread::sleep_for(delay);
    const std::uint64_t what = random_() % 8;
    if (what < 2) kill_factory();
    if (what != 0) {  // in one case of eight only the factory dies
      const std::uint64_t victims = what == 7 ? 7 : std::uint64_t{1} << random_() % kPlayers;
      for (int player = 0; player < kPlayers; ++player) {
        if ((victims >> player & 1) != 0) kill(players[static_cast<std::size_t>(player)]);
      }
    } else {
      keep_factory();
      std::this_thread::sleep_for(milliseconds(200));
      kill(players[random_() % kPlayers]);
    }
    // The others notice; whoever is still connecting is killed too.
    for (int player = 0; player < kPlayers; ++player) {
      Process& process = players[static_cast<std::size_t>(player)];
      const int code = process.wait(milliseconds(1500));
      if (code == Process::kHung) {
        kill(process);
        continue;
      }
      EXPECT_TRUE(is_expected(code)) << "player " << player << " ended with " << code << ": "
                                     << read_text(cluster_.err_path("run", player));
    }
    judge();
  }

  /// Killed, or failed because another player was.
  static bool is_expected(int code) {
    return code == 128 + SIGKILL || code == static_cast<int>(ErrorCode::kPeerLost) ||
           code == static_cast<int>(ErrorCode::kTimeout) ||
           code == static_cast<int>(ErrorCode::kPoolDry);
  }
  void kill(Process& process) {
    if (process.wait(milliseconds(0)) != Process::kHung) return;
    process.send(SIGKILL);
    const int code = process.wait(seconds(10));
    EXPECT_TRUE(is_expected(code)) << code;
    kills_ += code == 128 + SIGKILL ? 1 : 0;  // otherwise it ended by itself just then
  }
  void kill_factory() {
    const int code = factory_->wait(milliseconds(0));
    ASSERT_EQ(code, Process::kHung) << read_text(cluster_.path("factory.err"));
    kill(*factory_);
  }

  Cluster cluster_{kPlayers};
  std::string long_job_;
  std::string short_job_;
  std::string plan_;
  std::optional<Process> factory_;
  std::mt19937_64 random_{11};
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> session_of_;
  std::uint64_t kills_ = 0;
};

TEST_F(KillCampaign, NothingIsReusedAndServiceResumesByItself) {
  // Delays are measured in starts of this machine, so that kills fall everywhere.
  keep_factory();
  const auto begin = Clock::now();
  {
    std::vector<Process> players = start_players(long_job_);
    ASSERT_TRUE(wait_for_text(cluster_.out_path("run", 0), "\"step\":40,", seconds(60)))
        << read_text(cluster_.err_path("run", 0));
  }
  judge();
  const auto usual = std::chrono::duration_cast<milliseconds>(Clock::now() - begin).count();
  const auto wanted = static_cast<std::uint64_t>(campaign_size(24, 2000));
  std::uint64_t cycles = 0;
  for (; (cycles < wanted || kills_ < wanted) && cycles < 2 * wanted && !HasFailure(); ++cycles) {
    cycle(milliseconds(random_() % static_cast<std::uint64_t>(usual + usual / 4)));
  }
  EXPECT_GE(kills_, wanted);
  EXPECT_GT(session_of_.size(), wanted);
  std::printf("%llu cycles, %llu kills, %zu bundles opened\n",
              static_cast<unsigned long long>(cycles), static_cast<unsigned long long>(kills_),
              session_of_.size());

  // On what is left, with nothing repaired: the twin's weights.
  keep_factory();
  const Result<Job> job = read_job(short_job_);
  ASSERT_TRUE(job.ok()) << job.error().message;
  const Result<EmulateReport> twin = emulate(*job, {});
  ASSERT_TRUE(twin.ok()) << twin.error().message;
  std::vector<Process> players = start_players(short_job_);
  for (int player = 0; player < kPlayers; ++player) {
    ASSERT_EQ(players[static_cast<std::size_t>(player)].wait(seconds(60)), 0)
        << read_text(cluster_.err_path("run", player));
    const auto weights = read_weights(weights_path(player));
    ASSERT_TRUE(weights.ok()) << weights.error().message;
    EXPECT_TRUE(*weights == twin->weights) << "player " << player << " has other weights";
  }
  judge();
}

}  // namespace
}  // namespace beaverpond::testing
