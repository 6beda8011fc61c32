// The launcher and its players: how they end together.
#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <optional>
#include <thread>

#include "online/nn/emulate.h"
#include "online/nn/weight_file.h"
#include "tests/online/cli/cluster.h"

namespace beaverpond::testing {
namespace {

using Arguments = std::vector<std::string>;
using std::chrono::milliseconds;
using std::chrono::seconds;

class Launch : public ::testing::Test {
 protected:
  void SetUp() override {
    JobText text;
    text.steps = 5000;  // never reached
    text.network = "pool_timeout_ms = 60000";
    job_ = cluster_.write_job("job.toml", text);
    const std::string plan = cluster_.path("job.plan");
    ASSERT_EQ(cluster_.beaverpond({"plan", job_, "-o", plan}).code, 0);
    ASSERT_EQ(cluster_.make_bundles(plan, 128).code, 0);
  }

  /// Players in the middle of a training, or waiting for a dry pool at its end.
  Process start() const {
    ProcessOptions options;
    options.arguments = {BEAVERPOND_PROGRAM, "launch", "--homes", cluster_.folder(), "train", job_};
    options.out = cluster_.path("out.txt");
    options.err = cluster_.path("err.txt");
    Process launcher = Process::start(options);
    EXPECT_TRUE(wait_for_text(options.out, "\"step\":20,", seconds(30)));
    return launcher;
  }
  std::string err() const { return read_text(cluster_.path("err.txt")); }

  /// Each player's command line names its home.
  std::vector<pid_t> players() const { return processes_with(cluster_.folder() + "/player"); }
  pid_t player(int rank) const {
    const std::vector<pid_t> found = processes_with(cluster_.home(rank) + std::string(1, '\0'));
    return found.empty() ? -1 : found.front();
  }
  /// A process id of -1 would mean everybody's.
  void signal_player(int rank, int number) const {
    const pid_t found = player(rank);
    ASSERT_GT(found, 0) << "player " << rank << " is not there; " << err();
    ASSERT_EQ(::kill(found, number), 0);
  }
  /// Polls: what the system says of processes has no end to wait for.
  static bool comes_true(milliseconds limit, const std::function<bool()>& what) {
    const auto until = std::chrono::steady_clock::now() + limit;
    while (!what()) {
      if (std::chrono::steady_clock::now() >= until) return false;
      std::this_thread::sleep_for(milliseconds(10));
    }
    return true;
  }

  Cluster cluster_{3};
  std::string job_;
};

TEST_F(Launch, ASignalEndsAllPlayersAtOnce) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Process launcher = start();
    EXPECT_EQ(players().size(), 3u);
    launcher.send(signal);
    EXPECT_EQ(launcher.wait(seconds(2)), static_cast<int>(ErrorCode::kCancelled)) << err();
    EXPECT_TRUE(players().empty());
    EXPECT_NE(err().find("stopped on request"), std::string::npos) << err();
  }
}

TEST_F(Launch, ASignalEndsAPlayerByItself) {
  // By a handler: a container's first process would not be ended by the kernel.
  const Cluster::Listeners listeners = cluster_.listen();
  for (const int signal : {SIGINT, SIGTERM}) {
    Process player =
        cluster_.start_player("alone", 0, {BEAVERPOND_PROGRAM, "train", job_}, listeners);
    const std::string err = cluster_.err_path("alone", 0);
    ASSERT_TRUE(wait_for_text(err, "computing on", seconds(10))) << read_text(err);
    player.send(signal);
    EXPECT_EQ(player.wait(seconds(2)), static_cast<int>(ErrorCode::kCancelled));
    EXPECT_NE(read_text(err).find("cancelled: stopped on request"), std::string::npos);
  }
  Cluster::close(listeners);
}

TEST_F(Launch, CtrlCReachesTheWholeGroup) {
  // The players lead no groups of their own: a terminal signals them together with the launcher.
  Process launcher = start();
  launcher.send_to_group(SIGINT);
  EXPECT_EQ(launcher.wait(seconds(2)), static_cast<int>(ErrorCode::kCancelled)) << err();
  EXPECT_TRUE(players().empty());
}

TEST_F(Launch, AStoppedPlayerIsEndedToo) {
  Process launcher = start();
  signal_player(1, SIGSTOP);
  launcher.send(SIGINT);
  EXPECT_EQ(launcher.wait(seconds(6)), static_cast<int>(ErrorCode::kCancelled)) << err();
  EXPECT_TRUE(players().empty());
}

TEST_F(Launch, AKilledLauncherTakesItsPlayersAlong) {
  Process launcher = start();
  launcher.send(SIGKILL);
  EXPECT_EQ(launcher.wait(seconds(2)), 128 + SIGKILL);
  EXPECT_TRUE(comes_true(seconds(2), [this] { return players().empty(); }));
}

TEST_F(Launch, AKilledPlayerEndsTheRun) {
  Process launcher = start();
  signal_player(2, SIGKILL);
  EXPECT_EQ(launcher.wait(seconds(5)), static_cast<int>(ErrorCode::kPeerLost)) << err();
  EXPECT_NE(err().find("player 2 was killed by signal 9"), std::string::npos) << err();
  EXPECT_TRUE(players().empty());
}

/// A training with checkpoints, whose players are started again.
class Restarts : public Launch {
 protected:
  void SetUp() override {
    JobText text;
    text.steps = 400;
    text.network = "pool_timeout_ms = 30000";
    job_ = cluster_.write_job("job.toml", text);
    const std::string plan = cluster_.path("job.plan");
    ASSERT_EQ(cluster_.beaverpond({"plan", job_, "-o", plan}).code, 0);
    factory_.emplace(cluster_.start_factory(plan, 64, 128, 16));
  }

  Process start(const Arguments& more) const {
    ProcessOptions options;
    options.arguments = {BEAVERPOND_PROGRAM, "launch", "--homes", cluster_.folder(),
                         "--restart",        "2",      "train",   job_};
    options.arguments.insert(options.arguments.end(), more.begin(), more.end());
    options.out = cluster_.path("out.txt");
    options.err = cluster_.path("err.txt");
    return Process::start(options);
  }
  bool step_is_done(int step) const {
    return wait_for_text(cluster_.path("out.txt"), "\"step\":" + std::to_string(step) + ",",
                         seconds(60));
  }

  /// The factory's command line names the homes as well.
  void expect_nobody_left() const {
    for (int rank = 0; rank < 3; ++rank) EXPECT_EQ(player(rank), -1) << rank;
  }

  std::optional<Process> factory_;
};

TEST_F(Restarts, KilledPlayersAreStartedAgainAndTheWeightsAreTheTwins) {
  const std::string weights = cluster_.path("weights");
  Process launcher = start({"--checkpoint-every", "10", "--weights-out", weights});
  ASSERT_TRUE(step_is_done(20)) << err();
  signal_player(2, SIGKILL);
  ASSERT_TRUE(wait_for_text(cluster_.path("err.txt"), "in membership epoch 2", seconds(60)))
      << err();
  signal_player(1, SIGABRT);
  ASSERT_EQ(launcher.wait(seconds(120)), 0) << err();
  EXPECT_NE(err().find("player 2 was killed by signal 9; restart 1 of 2, in 0.25 s"),
            std::string::npos)
      << err();
  EXPECT_NE(err().find("player 1 was killed by signal 6; restart 1 of 2"), std::string::npos)
      << err();
  // Its log goes on where it ended.
  const std::string log = read_text(cluster_.home(2) + "/player.log");
  EXPECT_NE(log.find("\"step\":10,"), std::string::npos) << log;
  EXPECT_NE(log.find("going on after step"), std::string::npos) << log;
  const Result<Job> job = read_job(job_);
  ASSERT_TRUE(job.ok());
  const Result<EmulateReport> twin = emulate(*job, {});
  const auto trained = read_weights(weights);
  ASSERT_TRUE(twin.ok() && trained.ok());
  EXPECT_TRUE(*trained == twin->weights);
  expect_nobody_left();
}

TEST_F(Restarts, WhoDiesTooOftenEndsTheRun) {
  Process launcher = start({"--checkpoint-every", "10", "--rejoin", "20"});
  for (int kills = 0; kills < 3; ++kills) {
    ASSERT_TRUE(step_is_done(10)) << err();
    if (kills > 0) {
      const std::string again = "restart " + std::to_string(kills) + " of 2";
      ASSERT_TRUE(wait_for_text(cluster_.path("err.txt"), again, seconds(20))) << err();
    }
    ASSERT_TRUE(comes_true(seconds(30), [this] { return player(2) > 0; })) << err();
    signal_player(2, SIGKILL);
    if (HasFatalFailure()) return;
  }
  EXPECT_EQ(launcher.wait(seconds(30)), static_cast<int>(ErrorCode::kPeerLost)) << err();
  EXPECT_NE(err().find("player 2 was killed by signal 9; its log"), std::string::npos) << err();
  expect_nobody_left();
}

TEST_F(Restarts, WhatWasDecidedOnIsNotTriedAgain) {
  // Without checkpoints there is nothing to go on from, and the players say so.
  Process launcher = start({});
  EXPECT_EQ(launcher.wait(seconds(20)), static_cast<int>(ErrorCode::kConfig)) << err();
  EXPECT_NE(err().find("needs checkpoints"), std::string::npos) << err();
  EXPECT_EQ(err().find("restart 1"), std::string::npos) << err();
  const Outcome infer = cluster_.beaverpond(
      {"launch", "--homes", cluster_.folder(), "--restart", "1", "infer", job_});
  EXPECT_EQ(infer.code, static_cast<int>(ErrorCode::kConfig));
  EXPECT_NE(infer.err.find("--restart is for `train`"), std::string::npos) << infer.err;
}

TEST_F(Launch, APlayerThatCannotStartEndsTheRun) {
  ASSERT_EQ(::unlink((cluster_.home(1) + "/key.pem").c_str()), 0);
  const Outcome outcome =
      cluster_.beaverpond({"launch", "--homes", cluster_.folder(), "train", job_});
  EXPECT_EQ(outcome.code, static_cast<int>(ErrorCode::kConfig)) << outcome.err;
  EXPECT_NE(outcome.err.find("player 1"), std::string::npos) << outcome.err;
  EXPECT_LT(outcome.seconds, 13);
  EXPECT_TRUE(players().empty());
}

TEST_F(Launch, OneGpuEachNumbersThem) {
  if (::access("/dev/nvidia0", F_OK) == 0) GTEST_SKIP() << "the players could start";
  const Outcome outcome = cluster_.beaverpond(
      {"launch", "--homes", cluster_.folder(), "--one-gpu-each", "train", job_});
  EXPECT_EQ(outcome.code, static_cast<int>(ErrorCode::kDeviceFailed)) << outcome.err;
  // Without the flag they would have trained on the CPU.
  EXPECT_TRUE(players().empty());
}

}  // namespace
}  // namespace beaverpond::testing
