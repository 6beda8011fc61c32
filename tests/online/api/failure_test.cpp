// Failures are values: a process that has seen one goes on and runs again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "beaverpond/run.h"
#include "tests/online/cli/cluster.h"
#include "tests/online/transport/players.h"

namespace beaverpond::testing {
namespace {

using ::testing::HasSubstr;

RecordedProgram program(double factor = 1) {
  Recorder recorder({2, 16});
  const Secret x = recorder.input({"x", 0, {2}, {0, 1}});
  const Secret y = recorder.input({"y", 1, {2}, {0, 1}});
  reveal(factor * (x * y), {0, 1}, "product");
  return recorder.finish().value();
}

class Failures : public ::testing::Test {
 protected:
  Result<RunReport> run(int rank, const Cluster::Listeners& listeners, const RecordedProgram& what,
                        std::uint32_t pool_timeout_ms = 300,
                        std::uint32_t connect_timeout_ms = 20000,
                        std::function<void(const std::string&)> on_notice = nullptr) const {
    RunOptions options;
    options.on_notice = std::move(on_notice);
    options.home = cluster_.home(rank);
    options.device = "cpu";
    const auto index = static_cast<std::size_t>(rank);
    options.listen_descriptor = listeners.descriptors[index];
    for (const std::uint16_t port : listeners.ports) {
      options.peers.push_back("127.0.0.1:" + std::to_string(port));
    }
    options.pool_timeout_ms = pool_timeout_ms;
    options.connect_timeout_ms = connect_timeout_ms;
    return run_player_blocking(what, {{rank == 0 ? "x" : "y", {rank + 1.5, 2}}}, options);
  }
  /// Both players in this process, which lives through whatever comes.
  std::vector<Result<RunReport>> run_both(const RecordedProgram& mine,
                                          const RecordedProgram& theirs) const {
    const Cluster::Listeners listeners = cluster_.listen();
    std::vector<Result<RunReport>> results(2, make_error(ErrorCode::kConfig, "did not run"));
    run_players(2, [&](int rank) {
      results[static_cast<std::size_t>(rank)] = run(rank, listeners, rank == 0 ? mine : theirs);
    });
    return results;
  }
  void expect_right() const {
    for (const Result<RunReport>& one : run_both(program(), program())) {
      ASSERT_TRUE(one.ok()) << one.error().message;
      EXPECT_THAT(one->revealed.at("product"), ::testing::ElementsAre(3.75, 4));
    }
  }
  static void expect(const Result<RunReport>& result, ErrorCode code, const char* operation) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_THAT(result.error().operation, HasSubstr(operation)) << result.error().message;
    EXPECT_EQ(result.error().epoch, 1u) << result.error().message;
  }

  Cluster cluster_{2};
};

TEST_F(Failures, AreValuesAndTheProcessRunsAgain) {
  // Nothing in the pool.
  for (const auto& one : run_both(program(), program())) expect(one, ErrorCode::kPoolDry, "lease");
  // Another program there.
  for (const auto& one : run_both(program(), program(3))) {
    expect(one, ErrorCode::kRosterMismatch, "connect");
    EXPECT_TRUE(one.error().player.has_value());
  }
  // Nobody there.
  Cluster::Listeners listeners = cluster_.listen();
  const auto alone = run(0, listeners, program(), 300, 300);
  expect(alone, ErrorCode::kTimeout, "connect");
  EXPECT_EQ(alone.error().player, 1);
  ::close(listeners.descriptors[1]);

  // A player dies while both wait for bundles.
  listeners = cluster_.listen();
  const pid_t other = ::fork();
  ASSERT_GE(other, 0);
  if (other == 0) {
    (void)run(1, listeners, program(), 60000);
    ::_exit(0);
  }
  ::close(listeners.descriptors[1]);
  const auto lost = run(0, listeners, program(), 60000, 20000, [other](const std::string& notice) {
    if (notice.starts_with("waiting for bundles")) ::kill(other, SIGKILL);
  });
  ASSERT_EQ(::waitpid(other, nullptr, 0), other);
  expect(lost, ErrorCode::kPeerLost, "");
  EXPECT_EQ(lost.error().player, 1);
  EXPECT_NE(lost.error().operation, "");

  // The same process, the same homes: now with bundles.
  const std::string plan = cluster_.path("plan");
  ASSERT_TRUE(save_plan(program(), plan).ok());
  const Outcome made = cluster_.make_bundles(plan, 8);
  ASSERT_EQ(made.code, 0) << made.err;
  expect_right();

  // A damaged segment of player 1, and then as it was.
  std::string segment;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(cluster_.home(1))) {
    if (entry.path().extension() == ".seg") segment = entry.path().string();
  }
  ASSERT_NE(segment, "");
  const auto flip = [&] {
    std::string bytes = read_text(segment);
    bytes[3 * 4096 + 10] = static_cast<char>(bytes[3 * 4096 + 10] ^ 1);
    write_text(segment, bytes);
  };
  flip();
  const auto damaged = run_both(program(), program());
  expect(damaged[1], ErrorCode::kPoolCorrupt, "lease");
  expect(damaged[0], ErrorCode::kPeerLost, "");
  EXPECT_EQ(damaged[0].error().player, 1);
  flip();
  expect_right();
}

TEST_F(Failures, NoMemoryIsOneOfThem) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer ends a process that asks for too much";
#endif
  Recorder recorder({2, 16});
  const Secret x = recorder.input({"x", 0, {2}, {0, 1}});
  const Secret y = recorder.input({"y", 1, {2}, {0, 1}});
  const Secret wide = broadcast(sum(x * y), {std::uint32_t{1} << 15, std::uint32_t{1} << 15});
  reveal(sum(wide), {0}, "sum");
  const Result<RecordedProgram> huge = recorder.finish();
  ASSERT_TRUE(huge.ok()) << huge.error().message;
  // 8 GiB a value; this process gets one more than it has.
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_AS, &before), 0);
  const rlimit little = {pages * 4096 + (rlim_t{1} << 30), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &little), 0);
  const auto results = run_both(*huge, *huge);
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &before), 0);
  for (const auto& one : results) expect(one, ErrorCode::kOutOfMemory, "set-up");
  const std::string plan = cluster_.path("plan");
  ASSERT_TRUE(save_plan(program(), plan).ok());
  ASSERT_EQ(cluster_.make_bundles(plan, 2).code, 0);
  expect_right();
}

}  // namespace
}  // namespace beaverpond::testing
