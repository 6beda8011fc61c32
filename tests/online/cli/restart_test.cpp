// Players killed amid a training and started again: the job ends with the weights of an undisturbed
// run, and no bundle is opened twice. And checkpoints that do not belong together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <random>

#include "online/nn/emulate.h"
#include "online/nn/weight_file.h"
#include "tests/online/cli/cluster.h"
#include "tests/online/session/opening_judge.h"
#include "tests/soak.h"

namespace beaverpond::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr int kPlayers = 3;
constexpr std::uint64_t kEvery = 10;

const char* const kLenet =
    "[[layer]]\nkind = \"conv2d\"\nchannels = 20\nkernel = 5\n"
    "[[layer]]\nkind = \"maxpool\"\nkernel = 2\n[[layer]]\nkind = \"relu\"\n"
    "[[layer]]\nkind = \"conv2d\"\nchannels = 50\nkernel = 5\n"
    "[[layer]]\nkind = \"maxpool\"\nkernel = 2\n[[layer]]\nkind = \"relu\"\n"
    "[[layer]]\nkind = \"dense\"\nunits = 500\n[[layer]]\nkind = \"relu\"\n"
    "[[layer]]\nkind = \"dense\"\nunits = 10\n";

class Restart : public ::testing::Test {
 protected:
  ~Restart() override {
    if (listeners_.has_value()) Cluster::close(*listeners_);
  }

  /// The job, what the twin makes of it, and a factory.
  void prepare(const JobText& text) {
    job_ = cluster_.write_job("job.toml", text);
    const std::string plan = cluster_.path("job.plan");
    ASSERT_EQ(cluster_.beaverpond({"plan", job_, "-o", plan}).code, 0);
    factory_.emplace(cluster_.start_factory(plan, 48, 96, 16));
    const Result<Job> job = read_job(job_);
    ASSERT_TRUE(job.ok()) << job.error().message;
    const Result<EmulateReport> twin = emulate(*job, {});
    ASSERT_TRUE(twin.ok()) << twin.error().message;
    twin_ = twin->weights;
    listeners_.emplace(cluster_.listen());
  }

  std::string record_path(int player) const { return cluster_.home(player) + "/sent"; }
  std::string weights_path(int player) const { return cluster_.home(player) + "/weights"; }
  std::string folder(int player, const std::string& name = "checkpoints") const {
    return cluster_.home(player) + "/" + name;
  }

  Process start(int player, const std::string& run, std::vector<std::string> more,
                const std::string& job) {
    std::vector<std::string> arguments = {RECORDING_PLAYER,     job,
                                          "--record",           record_path(player),
                                          "--weights-out",      weights_path(player),
                                          "--checkpoint-every", std::to_string(kEvery)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return cluster_.start_player(run, player, arguments, *listeners_);
  }
  Process start(int player, const std::string& run) {
    return start(player, run, {"--resume", "yes", "--rejoin", "60"}, job_);
  }

  /// As its last line says.
  std::uint64_t last_epoch(const std::string& run, int player) const {
    const std::string text = read_text(cluster_.out_path(run, player));
    const std::string key = "\"epoch\":";
    const std::size_t at = text.rfind(key);
    return at == std::string::npos ? 0 : std::stoull(text.substr(at + key.size()));
  }

  void expect_twins_weights(int player) {
    const auto weights = read_weights(weights_path(player));
    ASSERT_TRUE(weights.ok()) << weights.error().message;
    EXPECT_TRUE(*weights == twin_) << "player " << player << " has other weights";
  }

  /// Of all sessions of all players: no bundle serves two, and no pad is used twice.
  void expect_no_bundle_twice() {
    OpenedBundles opened;
    for (int player = 0; player < kPlayers; ++player) {
      EXPECT_THAT(opened.add(read_sent_log(record_path(player))), ::testing::IsEmpty())
          << "player " << player;
      EXPECT_GT(opened.last_openings(), 0u);
    }
  }

  /// Kills players, each at a random step, and starts each again; all end well.
  void kill_and_restart(std::uint64_t steps, int kills) {
    std::vector<std::optional<Process>> players(kPlayers);
    std::vector<std::string> run_of(kPlayers, "run");
    for (int player = 0; player < kPlayers; ++player) {
      players[static_cast<std::size_t>(player)].emplace(start(player, "run"));
    }
    std::vector<double> recovered;
    std::vector<std::uint64_t> at_steps;
    for (int i = 0; i < kills; ++i) at_steps.push_back(1 + random_() % (steps - 2));
    std::sort(at_steps.begin(), at_steps.end());
    for (int i = 0; i < kills; ++i) {
      const auto victim = static_cast<std::size_t>(i % kPlayers);
      const std::string step =
          "\"step\":" + std::to_string(at_steps[static_cast<std::size_t>(i)]) + ",";
      ASSERT_TRUE(wait_for_text(cluster_.out_path(run_of[victim], static_cast<int>(victim)), step,
                                seconds(60)))
          << run_of[victim]
          << read_text(cluster_.err_path(run_of[victim], static_cast<int>(victim)));
      players[victim]->send(SIGKILL);
      ASSERT_EQ(players[victim]->wait(seconds(5)), 128 + SIGKILL);
      const Clock::time_point killed = Clock::now();
      run_of[victim] = "again" + std::to_string(i);
      players[victim].emplace(start(static_cast<int>(victim), run_of[victim]));
      ASSERT_TRUE(wait_for_text(cluster_.out_path(run_of[victim], static_cast<int>(victim)),
                                "\"step\":", seconds(60)))
          << read_text(cluster_.err_path(run_of[victim], static_cast<int>(victim)));
      recovered.push_back(std::chrono::duration<double>(Clock::now() - killed).count());
    }
    for (int player = 0; player < kPlayers; ++player) {
      const auto i = static_cast<std::size_t>(player);
      ASSERT_EQ(players[i]->wait(seconds(120)), 0)
          << read_text(cluster_.err_path(run_of[i], player));
      expect_twins_weights(player);
      // Each loss began another epoch of the membership, the same for all.
      EXPECT_GT(last_epoch(run_of[i], player), static_cast<std::uint64_t>(kills));
      EXPECT_EQ(last_epoch(run_of[i], player), last_epoch(run_of[0], 0));
    }
    expect_no_bundle_twice();
    for (std::size_t victim = 0; victim < kPlayers; ++victim) {
      std::vector<double> times;
      for (std::size_t i = victim; i < recovered.size(); i += kPlayers)
        times.push_back(recovered[i]);
      std::sort(times.begin(), times.end());
      std::printf(
          "player %zu: %zu kills, from kill to the next step: median %.2f s, longest %.2f s\n",
          victim, times.size(), times[times.size() / 2], times.back());
    }
  }

  Cluster cluster_{kPlayers};
  std::string job_;
  std::optional<Process> factory_;
  std::optional<Cluster::Listeners> listeners_;
  std::vector<WeightTensor> twin_;
  std::mt19937_64 random_{7};
};

JobText small_job(std::uint64_t steps) {
  JobText text;
  text.steps = steps;
  text.training = "momentum = 0.875\n";
  text.network = "pool_timeout_ms = 30000";
  return text;
}

TEST_F(Restart, EveryPlayerKilledAtRandomStepsGivesTheWeightsOfAnUndisturbedRun) {
  const auto steps = static_cast<std::uint64_t>(campaign_size(240, 4000));
  prepare(small_job(steps));
  if (!HasFatalFailure()) kill_and_restart(steps, campaign_size(3, 150));
}

TEST_F(Restart, LenetKilledAtRandomStepsGivesTheWeightsOfAnUndisturbedRun) {
  if (campaign_size(0, 1) == 0) GTEST_SKIP() << "a soak (BEAVERPOND_SOAK=1)";
  JobText text = small_job(120);
  text.layers = kLenet;
  text.pool = "lease_steps = 4";
  prepare(text);
  if (!HasFatalFailure()) kill_and_restart(120, 12);
}

/// Whole runs of a short job.
class Refused : public Restart {
 protected:
  void SetUp() override { prepare(small_job(3 * kEvery)); }

  std::vector<int> run(const std::string& name, std::vector<std::string> more,
                       const std::string& job = "") {
    std::vector<Process> players;
    for (int player = 0; player < kPlayers; ++player) {
      players.push_back(start(player, name, more, job.empty() ? job_ : job));
    }
    std::vector<int> codes;
    for (Process& process : players) codes.push_back(process.wait(seconds(40)));
    return codes;
  }
  std::vector<int> resume(const std::string& name) { return run(name, {"--resume", "yes"}); }
  std::string error(const std::string& name, int player) const {
    return read_text(cluster_.err_path(name, player));
  }
  std::vector<std::string> files(int player) const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder(player))) {
      names.push_back(entry.path().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  static std::vector<int> all(ErrorCode code) {
    return std::vector<int>(kPlayers, static_cast<int>(code));
  }
};

TEST_F(Refused, WhatDoesNotBelongTogetherIsATypedErrorAndTheRestGoesOn) {
  const std::vector<int> well(kPlayers, 0);
  ASSERT_EQ(run("first", {}), well) << error("first", 0);
  // A new run does not replace the checkpoints of another.
  EXPECT_EQ(run("anew", {}), all(ErrorCode::kConfig));
  EXPECT_NE(error("anew", 1).find("give --resume"), std::string::npos) << error("anew", 1);
  // From the last step there is nothing to do but to reveal.
  for (int player = 0; player < kPlayers; ++player) std::filesystem::remove(weights_path(player));
  ASSERT_EQ(resume("last"), well) << error("last", 0);
  for (int player = 0; player < kPlayers; ++player) expect_twins_weights(player);

  // Another job: its seed differs.
  JobText other = small_job(3 * kEvery);
  other.seed = 6;
  EXPECT_EQ(run("other", {"--resume", "yes"}, cluster_.write_job("other.toml", other)),
            all(ErrorCode::kCheckpointMismatch));
  EXPECT_NE(error("other", 2).find("another job"), std::string::npos) << error("other", 2);

  // A second run, and player 1's checkpoints of the first among it.
  for (int player = 0; player < kPlayers; ++player) {
    std::filesystem::rename(folder(player), folder(player, "run-a"));
  }
  ASSERT_EQ(run("second", {}), well) << error("second", 0);
  std::filesystem::rename(folder(1), folder(1, "run-b"));
  std::filesystem::rename(folder(1, "run-a"), folder(1));
  EXPECT_EQ(resume("mixed"), all(ErrorCode::kCheckpointMismatch));
  EXPECT_NE(error("mixed", 0).find("different runs"), std::string::npos) << error("mixed", 0);

  // Put back: player 1 has the step before the last, the others only the last.
  std::filesystem::remove_all(folder(1));
  std::filesystem::rename(folder(1, "run-b"), folder(1));
  ASSERT_EQ(files(1).size(), 2u);
  const std::string kept = cluster_.path("kept");
  std::filesystem::rename(files(1).back(), kept);
  ASSERT_EQ(resume("older"), well) << error("older", 1);  // all hold that step as well
  expect_twins_weights(1);
  for (const int player : {0, 2}) std::filesystem::remove(files(player).front());
  std::filesystem::remove(files(1).back());
  EXPECT_EQ(resume("back"), all(ErrorCode::kCheckpointMismatch));
  EXPECT_NE(error("back", 0).find("player 1 was put back"), std::string::npos) << error("back", 0);

  // Damaged: its owner says which file, the others who cannot go on.
  std::string bytes = read_text(files(1).front());
  bytes[5000] = static_cast<char>(bytes[5000] ^ 1);
  write_text(files(1).front(), bytes);
  const std::vector<int> codes = resume("damaged");
  EXPECT_EQ(codes[1], static_cast<int>(ErrorCode::kCheckpointCorrupt)) << error("damaged", 1);
  EXPECT_EQ(codes[0], static_cast<int>(ErrorCode::kPeerLost)) << error("damaged", 0);
  EXPECT_NE(error("damaged", 0).find("checkpoint-corrupt"), std::string::npos)
      << error("damaged", 0);
  expect_no_bundle_twice();
}

TEST_F(Refused, BeyondItsTimeASurvivorGivesUpWithTheLoss) {
  std::vector<Process> players;
  JobText text = small_job(100000);
  const std::string job = cluster_.write_job("long.toml", text);
  for (int player = 0; player < kPlayers; ++player) {
    players.push_back(start(player, "run", {"--rejoin", "4"}, job));
  }
  ASSERT_TRUE(wait_for_text(cluster_.out_path("run", 0), "\"step\":12,", seconds(60)))
      << error("run", 0);
  players[1].send(SIGKILL);
  ASSERT_EQ(players[1].wait(seconds(5)), 128 + SIGKILL);
  Process again = start(1, "again", {"--resume", "yes", "--rejoin", "4"}, job);
  ASSERT_TRUE(wait_for_text(cluster_.out_path("again", 1), "\"step\":", seconds(60)))
      << error("again", 1);
  again.send(SIGKILL);
  const Clock::time_point killed = Clock::now();
  for (const int player : {0, 2}) {
    EXPECT_EQ(players[static_cast<std::size_t>(player)].wait(seconds(30)),
              static_cast<int>(ErrorCode::kPeerLost))
        << error("run", player);
    const std::string text_of = error("run", player);
    EXPECT_NE(text_of.find("came back within 4000 ms"), std::string::npos) << text_of;
    EXPECT_NE(text_of.find("player 1, step "), std::string::npos) << text_of;
    // Lost for the first time in epoch 1, for good in the one that its return began.
    const std::size_t first = text_of.find("waiting 4 s for all players");
    const std::size_t back = text_of.find("all players are back, in membership epoch ");
    ASSERT_TRUE(first != std::string::npos && back != std::string::npos) << text_of;
    EXPECT_LT(first, back);
    EXPECT_EQ(text_of.find("epoch 1]"), std::string::npos) << text_of;
    EXPECT_THAT(text_of, ::testing::ContainsRegex("player 1, step [0-9]+, epoch [2-9]\\]"));
  }
  EXPECT_GT(Clock::now() - killed, milliseconds(3500));
  EXPECT_LT(Clock::now() - killed, seconds(12));
}

}  // namespace
}  // namespace beaverpond::testing
