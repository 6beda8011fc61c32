// triple-factory as a user runs it: a real plan, a real roster, processes and their output.
#pragma once

#include <gtest/gtest.h>
#include <sys/prctl.h>
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
#include "offline/pool/dealer_key.h"
#include "offline/pool/pool.h"
#include "offline/pool/pool_key.h"
#include "offline/pool/pool_set.h"
#include "offline/pool/posix_storage.h"

namespace beaverpond::testing {

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
    const DealerKey dealer = DealerKey::generate().value();
    ASSERT_TRUE(dealer.write_new(root_ + "/dealer.pem").ok());
    roster_.dealer_key = dealer.public_key();
    for (int i = 0; i < 2; ++i) {
      RosterPlayer player;
      player.name = "player" + std::to_string(i);
      player.host = "127.0.0.1";
      player.port = static_cast<std::uint16_t>(7000 + i);
      player.certificate.fill(static_cast<std::uint8_t>(i + 1));
      const auto pool_key = create_pool_key(root_ + "/pool" + std::to_string(i) + ".key");
      ASSERT_TRUE(pool_key.ok()) << pool_key.error().message;
      player.pool_key = *pool_key;
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
  pid_t start(const std::string& line, const std::string& output = "out.txt") const {
    std::filesystem::remove(root_ + "/" + output);
    const std::string script =
        "exec " + line + " >" + root_ + "/" + output + " 2>" + root_ + "/err.txt";
    const pid_t child = ::fork();
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that aborts leaves no factory behind
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
  int run(const std::string& line, const std::string& output = "out.txt") const {
    return wait_for(start(line, output));
  }
  bool wait_for_output(const std::string& text) const {
    for (int i = 0; i < 3000; ++i) {
      if (read("out.txt").find(text) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ADD_FAILURE() << "no '" << text << "' in: " << read("out.txt") << read("err.txt");
    return false;
  }
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

  PoolOptions pool_options(int player) {
    PoolOptions options;
    options.directory = root_ + "/pool" + std::to_string(player);
    options.identity = {roster_.pool_id, roster_.epoch, roster_hash(roster_), player, 2};
    options.storage = &storage_;
    options.dealer_key = roster_.dealer_key;
    options.pool_key = roster_.players[static_cast<std::size_t>(player)].pool_key;
    return options;
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

}  // namespace beaverpond::testing
