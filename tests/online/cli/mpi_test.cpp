// Players that mpirun started: what they compute, what they refuse, and one that is killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include "offline/plan/roster.h"
#include "online/nn/emulate.h"
#include "online/nn/weight_file.h"
#include "online/transport/tls.h"
#include "tests/online/cli/cluster.h"

namespace beaverpond::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr int kPlayers = 3;
constexpr const char* kMpirun = "/usr/bin/mpirun";

class Mpi : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef BEAVERPOND_MPI_MODULE
    if (!std::filesystem::exists(kMpirun)) GTEST_SKIP() << "no mpirun; install openmpi-bin";
#else
    GTEST_SKIP() << "built without MPI; install libopenmpi-dev and openmpi-bin";
#endif
    ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    ::setenv("ASAN_OPTIONS", "detect_leaks=0", 1);  // Open MPI's
  }

  void trust_the_fabric() const {
    for (int player = 0; player < kPlayers; ++player) {
      const std::string path = cluster_.home(player) + "/roster.toml";
      Roster roster = read_roster_file(path).value();
      roster.trusted_fabric = true;
      ASSERT_TRUE(write_roster_file(path, roster).ok());
    }
  }

  std::string job_with_bundles(std::uint64_t steps, int bundles) const {
    JobText text;
    text.steps = steps;
    text.network = "connect_timeout_ms = 20000";
    std::string job = cluster_.write_job("job.toml", text);
    const std::string plan = cluster_.path("job.plan");
    EXPECT_EQ(cluster_.beaverpond({"plan", job, "-o", plan}).code, 0);
    if (bundles > 0) {
      EXPECT_EQ(cluster_.make_bundles(plan, bundles).code, 0);
    }
    return job;
  }

  static std::string free_peers() {
    std::string peers;
    std::vector<int> descriptors;
    for (int player = 0; player < kPlayers; ++player) {
      const Result<Listener> listener = listen_on("127.0.0.1", 0);
      descriptors.push_back(listener->descriptor);
      peers += (player > 0 ? ",127.0.0.1:" : "127.0.0.1:") + std::to_string(listener->port);
    }
    for (const int descriptor : descriptors) ::close(descriptor);
    return peers;
  }

  /// All players under one mpirun; what each says and its exit code go to its home.
  Process start(const std::string& job, const std::string& flags = "") const {
    const std::string home = cluster_.path("player$OMPI_COMM_WORLD_RANK");
    const std::string player = std::string(BEAVERPOND_PROGRAM) + " train " + job + " --json" +
                               " --home " + home + " --peers " + free_peers() + " " + flags + " >" +
                               home + "/out 2>" + home + "/err; echo $? >" + home + "/code";
    ProcessOptions options;
    options.arguments = {kMpirun,
                         "--oversubscribe",
                         "--enable-recovery",
                         "--mca",
                         "btl",
                         "self,vader",
                         "--mca",
                         "btl_vader_backing_directory",
                         cluster_.folder(),
                         "-n",
                         std::to_string(kPlayers),
                         "/bin/sh",
                         "-c",
                         player};
    options.out = options.err = cluster_.path("mpirun.log");
    return Process::start(options);
  }
  std::string said(int player, const std::string& file) const {
    return read_text(cluster_.home(player) + "/" + file);
  }

  Cluster cluster_{kPlayers};
};

TEST_F(Mpi, WeightsAreTheTwins) {
  trust_the_fabric();
  const std::string job = job_with_bundles(16, 32);
  const std::string weights = cluster_.path("player$OMPI_COMM_WORLD_RANK/weights");
  Process players = start(job, "--transport mpi --weights-out " + weights);
  ASSERT_EQ(players.wait(seconds(60)), 0) << read_text(cluster_.path("mpirun.log"));
  const Result<Job> read = read_job(job);
  ASSERT_TRUE(read.ok());
  const Result<EmulateReport> twin = emulate(*read, {});
  ASSERT_TRUE(twin.ok());
  for (int player = 0; player < kPlayers; ++player) {
    EXPECT_EQ(said(player, "code"), "0\n") << said(player, "err");
    EXPECT_THAT(said(player, "err"), HasSubstr("openings travel by MPI"));
    EXPECT_THAT(said(player, "err"), HasSubstr("by OMPI_COMM_WORLD_RANK"));
    const auto found = read_weights(cluster_.home(player) + "/weights");
    ASSERT_TRUE(found.ok()) << found.error().message;
    EXPECT_TRUE(*found == twin->weights) << "player " << player;
  }
}

TEST_F(Mpi, AKilledPlayerIsNamedAndTheOthersEndByThemselves) {
  trust_the_fabric();
  const std::string job = job_with_bundles(1000, 960);
  Process players = start(job, "--transport mpi");
  ASSERT_TRUE(wait_for_text(cluster_.home(0) + "/out", "\"step\":20,", seconds(40)))
      << said(0, "err") << read_text(cluster_.path("mpirun.log"));
  int killed = 0;
  for (const pid_t pid : processes_with(cluster_.home(1))) {
    // The shell around it names the home by a variable.
    killed += ::kill(pid, SIGKILL) == 0 ? 1 : 0;
  }
  ASSERT_EQ(killed, 1);
  const auto since = std::chrono::steady_clock::now();
  for (const int player : {0, 2}) {
    ASSERT_TRUE(wait_for_text(cluster_.home(player) + "/code", "\n", seconds(20)));
    EXPECT_LT(std::chrono::steady_clock::now() - since, seconds(5)) << "player " << player;
    EXPECT_EQ(said(player, "code"), "3\n");
    EXPECT_THAT(said(player, "err"), HasSubstr("peer-lost"));
    EXPECT_THAT(said(player, "err"), HasSubstr("lost player 1"));
  }
  EXPECT_EQ(said(1, "code"), "137\n");
  EXPECT_NE(players.wait(seconds(20)), Process::kHung);
}

TEST_F(Mpi, IsRefusedWhereTheRosterDoesNotTrustTheFabric) {
  Process players = start(job_with_bundles(4, 0), "--transport mpi");
  ASSERT_NE(players.wait(seconds(60)), Process::kHung);
  for (int player = 0; player < kPlayers; ++player) {
    EXPECT_EQ(said(player, "code"), "2\n");
    EXPECT_THAT(said(player, "err"), HasSubstr("MPI neither encrypts nor authenticates"));
    EXPECT_THAT(said(player, "err"), HasSubstr("trusted_fabric = true"));
  }
}

/// Nobody waits for MPI_Init where a player cannot go there.
TEST_F(Mpi, PlayersThatNobodyLaunchedAreToldHow) {
  trust_the_fabric();
  const std::string job = job_with_bundles(4, 0);
  std::vector<Process> players = cluster_.start_players("alone", [&](int) {
    return std::vector<std::string>{BEAVERPOND_PROGRAM, "train", job, "--transport", "mpi"};
  });
  for (int player = 0; player < kPlayers; ++player) {
    EXPECT_EQ(players[static_cast<std::size_t>(player)].wait(seconds(20)), 2);
    const std::string err = read_text(cluster_.err_path("alone", player));
    EXPECT_THAT(err, HasSubstr("needs players that mpirun or srun started: mpirun -n 3"));
  }
}

}  // namespace
}  // namespace beaverpond::testing
