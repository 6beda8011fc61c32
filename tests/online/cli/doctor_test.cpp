// `beaverpond doctor` on three players: silent where all is well, and everything that is broken on
// purpose is found, by whom it concerns, with the exit code of the fault.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <functional>

#include "offline/plan/file.h"
#include "offline/plan/plan.h"
#include "offline/plan/roster.h"
#include "offline/pool/layout.h"
#include "online/cli/commands.h"
#include "online/transport/tls.h"
#include "tests/online/cli/cluster.h"
#include "tests/online/transport/expired.h"

namespace beaverpond::testing {
namespace {

using std::chrono::seconds;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

constexpr int kPlayers = 3;

/// What one player's doctor said.
struct Said {
  int code = 0;
  std::string out;
};

class Doctor : public ::testing::Test {
 protected:
  void SetUp() override {
    JobText text;
    text.steps = 4;
    job_ = cluster_.write_job("job.toml", text);
  }

  void make_bundles(int bundles) const {
    const std::string plan = cluster_.path("job.plan");
    ASSERT_EQ(cluster_.beaverpond({"plan", job_, "-o", plan}).code, 0);
    ASSERT_EQ(cluster_.make_bundles(plan, bundles).code, 0);
  }

  /// Removes what a player's pool has of a plan.
  void lose_bundles(int player, const std::string& plan) const {
    const LaneKey key{plan_hash(read_plan_file(plan).value()), 0};
    const std::string folder = lane_directory(cluster_.home(player) + "/pool", key);
    ASSERT_GT(std::filesystem::remove_all(folder), 0u);
  }

  /// All players' doctors at once. `more` gives what differs by player.
  template <class More>
  std::array<Said, kPlayers> examine(More more) {
    std::vector<Process> doctors = cluster_.start_players("doctor", [&](int player) {
      std::vector<std::string> arguments = {BEAVERPOND_PROGRAM, "doctor",
                                            job_of_[player].empty() ? job_ : job_of_[player]};
      for (const std::string& word : more(player)) arguments.push_back(word);
      return arguments;
    });
    std::array<Said, kPlayers> said;
    for (std::size_t player = 0; player < kPlayers; ++player) {
      said[player].code = doctors[player].wait(seconds(30));
      said[player].out = read_text(cluster_.out_path("doctor", static_cast<int>(player)));
    }
    return said;
  }
  std::array<Said, kPlayers> examine() {
    return examine([](int) { return std::vector<std::string>(); });
  }

  Said alone(int player, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"doctor", job_, "--local", "--home",
                                          cluster_.home(player)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = cluster_.beaverpond(arguments);
    return {outcome.code, outcome.out};
  }

  void edit_roster(int player, const std::function<void(Roster&)>& edit) const {
    const std::string path = cluster_.home(player) + "/roster.toml";
    Roster roster = read_roster_file(path).value();
    edit(roster);
    ASSERT_TRUE(write_roster_file(path, roster).ok());
  }

  Cluster cluster_{kPlayers};
  std::string job_;
  std::array<std::string, kPlayers> job_of_;
};

constexpr int code_of(ErrorCode code) {
  return static_cast<int>(code);
}

TEST_F(Doctor, SaysNothingBadWhereAllIsWell) {
  make_bundles(16);
  for (const Said& said : examine()) {
    EXPECT_EQ(said.code, 0) << said.out;
    EXPECT_EQ(said.out.find("WARN"), std::string::npos) << said.out;
    EXPECT_EQ(said.out.find("FAIL"), std::string::npos) << said.out;
    for (const char* check : {"roster", "certificate", "job", "disk", "pool", "transport", "device",
                              "players", "version", "clock"}) {
      EXPECT_THAT(said.out, ContainsRegex(std::string("OK    ") + check));
    }
    EXPECT_THAT(said.out, HasSubstr("holds 16 bundles"));
  }
}

TEST_F(Doctor, OneJsonLineHasItAll) {
  const Said said = alone(1, {"--json", "--device", "cuda:63"});
  EXPECT_EQ(said.code, code_of(ErrorCode::kDeviceFailed));
  EXPECT_EQ(std::count(said.out.begin(), said.out.end(), '\n'), 1);
  EXPECT_THAT(said.out, HasSubstr("{\"doctor\":1,\"ok\":"));
  EXPECT_THAT(said.out, HasSubstr("\"fail\":1,"));
  EXPECT_THAT(said.out, HasSubstr("{\"result\":\"FAIL\",\"check\":\"device\""));
  EXPECT_THAT(said.out, HasSubstr("\"code\":\"device-failed\""));
}

TEST_F(Doctor, FindsAJobThatDiffers) {
  make_bundles(16);
  JobText other;
  other.steps = 4;
  other.seed = 6;
  job_of_[1] = cluster_.write_job("other.toml", other);
  const auto said = examine();
  EXPECT_EQ(said[0].code, code_of(ErrorCode::kRosterMismatch)) << said[0].out;
  EXPECT_THAT(said[0].out, HasSubstr("FAIL  job          player 1 (player1): the job files differ "
                                     "in seed or [training]"));
  EXPECT_THAT(said[0].out, HasSubstr("OK    job          player 2"));
  EXPECT_THAT(said[1].out, HasSubstr("FAIL  job          player 0"));
  EXPECT_THAT(said[1].out, HasSubstr("FAIL  job          player 2"));
}

TEST_F(Doctor, FindsRostersThatDiffer) {
  edit_roster(2, [](Roster& roster) { roster.epoch = 9; });
  for (const Said& said : examine([](int) { return std::vector<std::string>{"--timeout", "4"}; })) {
    EXPECT_NE(said.code, 0);
    EXPECT_THAT(said.out, HasSubstr("FAIL  players"));
  }
  edit_roster(2, [](Roster& roster) {
    roster.epoch = 1;
    roster.trusted_fabric = true;
  });
  const auto said = examine();
  EXPECT_EQ(said[0].code, 0) << said[0].out;
  EXPECT_THAT(said[0].out, HasSubstr("WARN  roster       player 2 (player2)'s roster has the same "
                                     "players, but other addresses"));
}

TEST_F(Doctor, NamesAPlayerThatIsNotThere) {
  const auto said = examine([](int player) {
    return player == 2 ? std::vector<std::string>{"--local"}
                       : std::vector<std::string>{"--timeout", "2"};
  });
  for (const int player : {0, 1}) {
    // The first to give up says why to the other, who has then lost it.
    const int code = said[static_cast<std::size_t>(player)].code;
    EXPECT_TRUE(code == code_of(ErrorCode::kTimeout) || code == code_of(ErrorCode::kPeerLost));
    EXPECT_THAT(said[static_cast<std::size_t>(player)].out,
                ContainsRegex("FAIL  players .*player 2"));
  }
  EXPECT_EQ(said[2].code, 0) << said[2].out;
}

TEST_F(Doctor, FindsCertificatesThatAreOverOrForeign) {
  const Hash256 over = end_certificate(cluster_.home(1), "20200101000000Z");
  Said said = alone(1);
  EXPECT_EQ(said.code, code_of(ErrorCode::kRosterMismatch));
  EXPECT_THAT(said.out, ContainsRegex("FAIL  roster .*is not in .*roster.toml"));
  for (int player = 0; player < kPlayers; ++player) {
    edit_roster(player, [&](Roster& roster) { roster.players[1].certificate = over; });
  }
  const auto all = examine([](int) { return std::vector<std::string>{"--timeout", "3"}; });
  EXPECT_THAT(all[1].out, ContainsRegex("FAIL  certificate .*valid until 2020-01-01, which is "
                                        "over"));
  EXPECT_THAT(all[2].out, ContainsRegex("FAIL  players .*has expired"));
  end_certificate(cluster_.home(0), "99991231235959Z");
  ::chmod((cluster_.home(2) + "/key.pem").c_str(), 0644);
  said = alone(2);
  EXPECT_EQ(said.code, code_of(ErrorCode::kConfig));
  EXPECT_THAT(said.out, ContainsRegex("FAIL  certificate .*may be read by other users"));
}

TEST_F(Doctor, FindsPoolsThatAreEmptyDamagedOrNotOurs) {
  Said said = alone(0);
  EXPECT_EQ(said.code, 0);
  EXPECT_THAT(said.out,
              ContainsRegex("WARN  pool .*holds 0 bundles of this job.*a lease takes 16"));
  make_bundles(16);
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(cluster_.home(0) + "/pool")) {
    if (entry.path().extension() != ".seg") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(40);
    file.write("damage", 6);
  }
  said = alone(0);
  EXPECT_EQ(said.code, code_of(ErrorCode::kPoolCorrupt)) << said.out;
  EXPECT_THAT(said.out, HasSubstr("FAIL  pool"));
  ::chmod((cluster_.home(1) + "/pool.key").c_str(), 0644);
  said = alone(1);
  EXPECT_EQ(said.code, code_of(ErrorCode::kConfig)) << said.out;
  EXPECT_THAT(said.out, ContainsRegex("FAIL  pool .*pool.key"));
  // The others are told how much is there.
  ::chmod((cluster_.home(1) + "/pool.key").c_str(), 0400);
  const auto all = examine();
  EXPECT_THAT(all[1].out, ContainsRegex("WARN  others .*player 0"));
}

TEST_F(Doctor, LooksAtBothPlansWherePlayersChoose) {
  JobText text;
  text.steps = 4;
  text.profile = "auto";
  job_ = cluster_.write_job("job.toml", text);
  const std::string lan = cluster_.path("job.plan");
  const std::string wan = cluster_.path("job.wan.plan");
  ASSERT_EQ(cluster_.beaverpond({"plan", job_, "-o", lan}).code, 0);
  ASSERT_EQ(cluster_.make_bundles(wan, 16).code, 0);
  for (const Said& said : examine()) {
    EXPECT_EQ(said.code, 0) << said.out;
    EXPECT_EQ(said.out.find("WARN"), std::string::npos) << said.out;
    EXPECT_THAT(said.out, HasSubstr("holds 0 bundles of profile lan, 16 of profile wan"));
  }
  // Each player has a lease's worth of one, but none of the two is everywhere.
  ASSERT_EQ(cluster_.make_bundles(lan, 16).code, 0);
  lose_bundles(0, lan);
  lose_bundles(2, wan);
  for (const Said& said : examine()) {
    EXPECT_EQ(said.code, 0) << said.out;
    EXPECT_THAT(said.out, ContainsRegex("OK    pool .*16 "));
    EXPECT_THAT(said.out, ContainsRegex("WARN  pool .*fewest have 0 bundles of profile lan, 0 of "
                                        "profile wan, and a lease takes 16"));
  }
  lose_bundles(0, wan);
  const auto said = examine();
  EXPECT_THAT(said[0].out, ContainsRegex("WARN  pool .*holds 0 bundles of profile lan, 0 of"));
  EXPECT_THAT(said[1].out, ContainsRegex("WARN  pool .*player 0 .*has 0 bundles of profile lan"));
  EXPECT_EQ(said[1].out.find("fewest"), std::string::npos) << said[1].out;
}

TEST_F(Doctor, FindsFabricsThatNobodyTrusts) {
  const Said said = alone(0, {"--transport", "mpi"});
  EXPECT_EQ(said.code, code_of(ErrorCode::kConfig));
  EXPECT_THAT(said.out, ContainsRegex("FAIL  transport .*trusted_fabric = true"));
}

TEST_F(Doctor, FindsADataFileThatIsMissing) {
  JobText text;
  text.images = cluster_.path("nowhere.gz");
  job_ = cluster_.write_job("job.toml", text);
  const Said said = alone(0);
  EXPECT_NE(said.code, 0);
  EXPECT_THAT(said.out, ContainsRegex("FAIL  job .*nowhere.gz"));
}

/// Sets a variable for the programs that are started, as long as it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    ::setenv(name, value.c_str(), 1);
  }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;             // restores the variable once
  Variable& operator=(const Variable&) = delete;  // restores the variable once

 private:
  const char* name_;
};

TEST_F(Doctor, FindsDisksThatAreFull) {
  const Variable preload("LD_PRELOAD", ANOTHER_HOST);
  const Variable sanitizer("ASAN_OPTIONS", "verify_asan_link_order=0");
  {
    const Variable free("BEAVERPOND_TEST_FREE_BYTES", "1000000");
    const Said said = alone(0);
    EXPECT_EQ(said.code, code_of(ErrorCode::kNoSpace)) << said.out;
    EXPECT_THAT(said.out, ContainsRegex("FAIL  disk .*kB free; make room"));
  }
  const Variable free("BEAVERPOND_TEST_FREE_BYTES", "500000000");
  const Said said = alone(0);
  EXPECT_EQ(said.code, 0) << said.out;
  EXPECT_THAT(said.out, ContainsRegex("WARN  disk .*MB free"));
}

/// One doctor of this program's own, on another release or with another clock; the others' are
/// processes.
TEST_F(Doctor, FindsOtherReleasesAndClocks) {
  std::string peers;
  std::vector<int> descriptors;
  for (int player = 0; player < kPlayers; ++player) {
    const Listener listener = listen_on("127.0.0.1", 0).value();
    descriptors.push_back(listener.descriptor);
    peers += (player > 0 ? ",127.0.0.1:" : "127.0.0.1:") + std::to_string(listener.port);
  }
  for (const int descriptor : descriptors) ::close(descriptor);
  const auto start = [&](int player) {
    ProcessOptions options;
    options.arguments = {BEAVERPOND_PROGRAM,    "doctor",  job_, "--home",
                         cluster_.home(player), "--peers", peers};
    options.out = cluster_.out_path("doctor", player);
    options.err = cluster_.err_path("doctor", player);
    return Process::start(options);
  };
  Process zero = start(0);
  Process one = [&] {
    const Variable preload("LD_PRELOAD", ANOTHER_HOST);
    const Variable sanitizer("ASAN_OPTIONS", "verify_asan_link_order=0");
    const Variable ahead("BEAVERPOND_TEST_CLOCK_AHEAD", "1000");
    return start(1);
  }();
  DoctorCommand command;
  command.job = job_;
  command.version = "0.0.9";
  command.json = true;
  LaunchFlags flags;
  flags.home = cluster_.home(2);
  for (std::size_t from = 0; from < peers.size();) {
    const std::size_t to = std::min(peers.find(',', from), peers.size());
    flags.peers.push_back(peers.substr(from, to - from));
    from = to + 1;
  }
  const Result<void> result = run_doctor(command, flags);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kRosterMismatch);
  EXPECT_EQ(zero.wait(seconds(30)), code_of(ErrorCode::kRosterMismatch));
  EXPECT_NE(one.wait(seconds(30)), 0);
  const std::string out = read_text(cluster_.out_path("doctor", 0));
  EXPECT_THAT(out, ContainsRegex("FAIL  version .*player 2 .*'0.0.9'.*install the same release"));
  EXPECT_THAT(out, ContainsRegex("FAIL  clock .*player 1 .*differs by .*time service"));
  EXPECT_THAT(out, ContainsRegex("OK    clock .*player 2"));
}

}  // namespace
}  // namespace beaverpond::testing
