// The program as a user runs it: a real plan, a real roster, real signals.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "beaverpond/program_builder.h"
#include "offline/plan/plan.h"
#include "offline/plan/roster.h"
#include "offline/pool/pool.h"
#include "offline/pool/pool_set.h"
#include "offline/pool/posix_storage.h"

namespace beaverpond::testing {
namespace {

class TripleFactory : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "beaverpond-factory-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    ProgramBuilder builder;
    const ValueId x = builder.input(0, {32, 48}, 16);
    const ValueId y = builder.input(1, {48, 16}, 16);
    builder.reveal(builder.matmul(x, y), 3);
    auto program = builder.finish();
    ASSERT_TRUE(program.ok()) << program.error().message;
    auto plan = make_plan(*program, PrgKind::kAes128Ctr);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    ASSERT_TRUE(write_plan_file(*plan, root_ + "/x.plan").ok());
    key_.plan = plan_hash(*plan);
    correction_size_ = plan->correction_size.value;
    roster_.pool_id.fill(5);
    roster_.epoch = 1;
    for (int i = 0; i < 2; ++i) {
      RosterPlayer player;
      player.name = "player" + std::to_string(i);
      player.host = "127.0.0.1";
      player.port = static_cast<std::uint16_t>(7000 + i);
      player.certificate.fill(static_cast<std::uint8_t>(i + 1));
      roster_.players.push_back(player);
    }
    ASSERT_TRUE(write_roster_file(root_ + "/roster.toml", roster_).ok());
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::string common(const std::string& command) const {
    return std::string(TRIPLE_FACTORY) + " " + command + " --plan " + root_ + "/x.plan --roster " +
           root_ + "/roster.toml --threads 2 --json";
  }
  std::string pools(int first = 0, int second = 1) const {
    return " --pool " + root_ + "/pool" + std::to_string(first) + " --pool " + root_ + "/pool" +
           std::to_string(second);
  }

  /// Runs a command line; its output goes to out.txt and err.txt.
  pid_t start(const std::string& line) const {
    std::filesystem::remove(root_ + "/out.txt");
    const std::string script = "exec " + line + " >" + root_ + "/out.txt 2>" + root_ + "/err.txt";
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
      ::_exit(127);
    }
    return child;
  }
  static int wait_for(pid_t child) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
  }
  int run(const std::string& line) const { return wait_for(start(line)); }
  std::string read(const std::string& file) const {
    std::stringstream text;
    text << std::ifstream(root_ + "/" + file).rdbuf();
    return text.str();
  }
  std::string last_line() const {
    std::istringstream lines(read("out.txt"));
    std::string line;
    std::string last;
    while (std::getline(lines, line)) last = line;
    return last;
  }

  std::uint64_t level() {
    PoolSetOptions options;
    options.directories = {root_ + "/pool0", root_ + "/pool1"};
    options.pool_id = roster_.pool_id;
    options.epoch = roster_.epoch;
    options.roster_hash = roster_hash(roster_);
    options.storage = &storage_;
    auto set = PoolSet::open(options);
    EXPECT_TRUE(set.ok()) << set.error().message;
    return set.ok() ? set->survey(key_)->level_bundles : 0;
  }

  std::string root_;
  LaneKey key_;
  std::uint64_t correction_size_ = 0;
  Roster roster_;
  PosixStorage storage_;
};

TEST_F(TripleFactory, MakesBundlesThatAPoolReads) {
  ASSERT_EQ(run(common("make") + pools() + " --bundles 6 --segment-bundles 4"), 0)
      << read("err.txt");
  EXPECT_EQ(last_line().rfind(R"({"factory":"done","bundles":6,"cpu_seconds":)", 0), 0u)
      << last_line();
  EXPECT_EQ(level(), 6u);
  PoolOptions options;
  options.directory = root_ + "/pool1";
  options.identity.pool_id = roster_.pool_id;
  options.identity.epoch = 1;
  options.identity.roster_hash = roster_hash(roster_);
  options.identity.player = 1;
  options.identity.players = 2;
  options.storage = &storage_;
  auto pool = Pool::open(options);
  ASSERT_TRUE(pool.ok()) << pool.error().message;
  const auto ranges = pool->ranges(key_);
  ASSERT_EQ(ranges->size(), 2u);
  ASSERT_TRUE(pool->claim_blocking(key_, {0, 6, *ranges, {0, 0}}).ok());
  for (std::uint64_t number = 0; number < 6; ++number) {
    const auto bundle = pool->read_bundle_blocking(key_, number);
    ASSERT_TRUE(bundle.ok());
    EXPECT_EQ(bundle->correction().size(), number % 2 == 1 ? correction_size_ : 0);
  }
}

TEST_F(TripleFactory, ErrorsHaveTheirExitCodes) {
  EXPECT_EQ(run(common("make") + pools()), 2);  // no --bundles
  EXPECT_EQ(run(common("make") + pools() + " --bundles 0"), 2);
  EXPECT_EQ(run(common("make") + " --pool " + root_ + "/pool0 --bundles 2"), 2);
  EXPECT_NE(read("err.txt").find("has 2 players, but 1 pool"), std::string::npos);
  EXPECT_EQ(run(common("make") + pools() + " --bundles 2 --reserve 8000000G"), 11);
  EXPECT_EQ(run(common("make") + pools() + " --bundles 18446744073709551615"), 2);
  EXPECT_NE(read("err.txt").find("--bundles"), std::string::npos) << read("err.txt");
  EXPECT_EQ(run(common("serve") + pools() + " --low 1 --high 9223372036854775808"), 2);
  EXPECT_NE(read("err.txt").find("--high"), std::string::npos) << read("err.txt");
  ASSERT_EQ(run(common("make") + pools() + " --bundles 2"), 0) << read("err.txt");
  for (const char* other : {"/pool0", "/pool0/", "/./pool0"}) {
    EXPECT_EQ(run(common("make") + " --pool " + root_ + "/pool0 --pool " + root_ + other +
                  " --bundles 2"),
              2);
    EXPECT_NE(read("err.txt").find("given twice"), std::string::npos) << read("err.txt");
  }
  EXPECT_EQ(run(common("make") + pools(1, 0) + " --bundles 2"), 7);
  ASSERT_EQ(::chmod((root_ + "/pool0").c_str(), 0755), 0);
  EXPECT_EQ(run(common("make") + pools() + " --bundles 2"), 2);
  ASSERT_EQ(::chmod((root_ + "/pool0").c_str(), 0700), 0);
  {
    auto lock = storage_.lock(root_ + "/pool1/factory.lock");
    EXPECT_EQ(run(common("make") + pools() + " --bundles 2"), 12);
  }
  std::ofstream(root_ + "/x.plan", std::ios::app) << "x";
  EXPECT_EQ(run(common("make") + pools() + " --bundles 2"), 2);
  EXPECT_NE(read("err.txt").find("x.plan"), std::string::npos) << read("err.txt");
}

TEST_F(TripleFactory, ProfileTimesEveryEntryAndTouchesNoPool) {
  const std::string profile =
      std::string(TRIPLE_FACTORY) + " profile --plan " + root_ + "/x.plan --bundles 2";
  ASSERT_EQ(run(profile + " --players 3 --json"), 0) << read("err.txt");
  std::istringstream lines(read("out.txt"));
  std::vector<std::string> entries;
  for (std::string line; std::getline(lines, line);) entries.push_back(line);
  ASSERT_EQ(entries.size(), 4u);  // two masks, their product, the total
  EXPECT_EQ(entries[0].rfind(R"({"profile":"entry","entry":0,"kind":"mask","value":0,"count":1536,)"
                             R"("bytes":0,"seconds":0.0)",
                             0),
            0u)
      << entries[0];
  EXPECT_EQ(entries[2].rfind(R"({"profile":"entry","entry":2,"kind":"matmul","operation":2,)"
                             R"("count":512,"bytes":4096,"seconds":)",
                             0),
            0u)
      << entries[2];
  EXPECT_EQ(entries[3].rfind(R"({"profile":"done","plan":")" + to_hex(key_.plan) +
                                 R"(","players":3,"bundles":2,"bytes":4096,"seconds":)",
                             0),
            0u)
      << entries[3];
  ASSERT_EQ(run(profile), 0);
  EXPECT_NE(read("out.txt").find("\nmatmul "), std::string::npos) << read("out.txt");
  EXPECT_NE(read("out.txt").find("one bundle for 2 players"), std::string::npos);
  ASSERT_EQ(run(profile + " --full"), 0);
  EXPECT_NE(read("out.txt").find("operation 2"), std::string::npos) << read("out.txt");
  EXPECT_FALSE(std::filesystem::exists(root_ + "/pool0"));
  EXPECT_EQ(run(profile + " --players 1"), 2);
  EXPECT_EQ(run(profile + " --bundles 0"), 2);
  EXPECT_EQ(run(std::string(TRIPLE_FACTORY) + " profile --plan " + root_ + "/none.plan"), 10);
  EXPECT_NE(read("err.txt").find("none.plan"), std::string::npos) << read("err.txt");
}

TEST_F(TripleFactory, OutputThatNobodyReceivesIsAnIoError) {
  for (const char* out : {">/dev/full", ">&-"}) {
    const std::string profile = std::string(TRIPLE_FACTORY) + " profile --plan " + root_ +
                                "/x.plan --bundles 2 --json " + out;
    EXPECT_EQ(run("sh -c '" + profile + "'"), 10) << out;
    EXPECT_NE(read("err.txt").find("standard output"), std::string::npos) << read("err.txt");
    const std::uint64_t before = level();
    EXPECT_EQ(run("sh -c '" + common("make") + pools() + " --bundles 2 " + out + "'"), 10) << out;
    EXPECT_EQ(level(), before + 2) << "the work itself is done";
  }
  EXPECT_EQ(run("sh -c '" + std::string(TRIPLE_FACTORY) + " --help >/dev/full'"), 0);
}

TEST_F(TripleFactory, ServeFillsThenStopsOnSigterm) {
  for (const int signal : {SIGTERM, SIGINT}) {
    const pid_t child = start(common("serve") + pools() + " --low 5 --high 9 --segment-bundles 4" +
                              " --disk-budget 500M --reserve 1M");
    for (int i = 0; i < 1000 && read("out.txt").find("\"full\"") == std::string::npos; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ASSERT_EQ(::kill(child, signal), 0);
    EXPECT_EQ(wait_for(child), 0) << read("err.txt");
    EXPECT_NE(last_line().find(R"("factory":"done")"), std::string::npos) << last_line();
    EXPECT_EQ(level(), 9u);
  }
}

}  // namespace
}  // namespace beaverpond::testing
