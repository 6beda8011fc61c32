// Every failure ends in its own error, in bounded time, and a new transport then works.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/online/transport/nccl/nccl_players.h"

namespace beaverpond {
namespace {

using nccl::Status;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using testing::in_ms;
using testing::NcclPlayers;
using testing::run_players;
using testing::seconds_since;

constexpr int kPatience = 20'000;
/// Far below any patience, far above what a busy machine makes of a few hundred milliseconds.
constexpr double kSoon = 8.0;

class NcclFailures : public ::testing::Test {
 protected:
  void SetUp() override { fake_nccl::reset(); }
  void TearDown() override { fake_nccl::reset(); }

  /// All players, connected; the call that fails is then number 1, behind the transport's own.
  NcclPlayers& connected(int players) {
    players_.emplace(players);
    players_->connect_well();
    start_ = in_ms(0);
    return *players_;
  }

  std::vector<Result<void>> sums(int limit_ms = kPatience, std::uint32_t operation = 1) {
    std::vector<Result<void>> results(static_cast<std::size_t>(players_->size()));
    run_players(players_->size(), [&](int rank) {
      results[static_cast<std::size_t>(rank)] = players_->sum(rank, limit_ms, operation);
    });
    return results;
  }

  static void expect(const Result<void>& result, ErrorCode code, std::optional<int> player,
                     const std::string& words) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_EQ(result.error().player, player) << result.error().message;
    EXPECT_THAT(result.error().message, HasSubstr(words));
  }

  /// The faults are gone: over the same control connections, or new ones, all is well again.
  void expect_fresh_ones_work(bool over_new_controls = false) {
    EXPECT_LT(seconds_since(start_), kSoon);
    EXPECT_EQ(fake_nccl::misuse(), std::vector<std::string>());
    fake_nccl::reset();
    players_->disconnect();
    EXPECT_EQ(fake_nccl::live_communicators(), 0);
    if (over_new_controls) players_->controls = make_local_transports(players_->size());
    players_->connect_well();
    for (const Result<void>& result : sums()) ASSERT_TRUE(result.ok()) << result.error().message;
    players_->disconnect();
    EXPECT_EQ(fake_nccl::misuse(), std::vector<std::string>());
  }

  std::optional<NcclPlayers> players_;
  Deadline start_;
};

TEST_F(NcclFailures, RefusedUnlessTheRosterTrustsTheFabric) {
  NcclPlayers players(2);
  for (NcclOptions& options : players.options) options.trusted_fabric = false;
  for (const Result<void>& result : players.connect()) {
    expect(result, ErrorCode::kConfig, std::nullopt, "neither encrypts nor authenticates");
    EXPECT_THAT(result.error().message, HasSubstr("trusted_fabric = true"));
  }
  EXPECT_EQ(fake_nccl::live_communicators(), 0);
}

TEST_F(NcclFailures, LibrariesMustBeTheSame) {
  NcclPlayers players(2);
  nccl::Api other = fake_nccl::api();
  other.get_version = [](int* version) {
    *version = 22703;
    return Status::kSuccess;
  };
  players.options[1].api = &other;
  for (const Result<void>& result : players.connect()) {
    expect(result, ErrorCode::kConfig, 1, "player 0 has NCCL 2.28.9, player 1 has 2.27.3");
  }
}

TEST_F(NcclFailures, WhoCannotUseNcclTellsTheOthers) {
  NcclPlayers players(3);
  nccl::Api old = fake_nccl::api();
  old.get_version = [](int* version) {
    *version = 2708;
    return Status::kSuccess;
  };
  players.options[2].api = &old;
  start_ = in_ms(0);
  const auto results = players.connect();
  expect(results[2], ErrorCode::kConfig, std::nullopt, "NCCL 2.7.8 is too old");
  expect(results[0], ErrorCode::kConfig, 2, "player 2 cannot use NCCL: NCCL 2.7.8 is too old");
  expect(results[1], ErrorCode::kConfig, 2, "player 2 cannot use NCCL");
  EXPECT_LT(seconds_since(start_), kSoon);
}

TEST_F(NcclFailures, ADeviceThatIsNotThereIsToldToo) {
  NcclPlayers players(2);
  players.options[1].device = 7;
  const auto results = players.connect();
  expect(results[1], ErrorCode::kConfig, std::nullopt, "cuda:7");
  expect(results[0], ErrorCode::kConfig, 1, "cuda:7");
}

TEST_F(NcclFailures, AGpuForTwoPlayersOnlyWhereTheLibraryAllowsIt) {
  players_.emplace(3);
  players_->options[2].device = 1;
  start_ = in_ms(0);
  for (const Result<void>& result : players_->connect()) {
    expect(result, ErrorCode::kConfig, std::nullopt,
           "players 1 and 2 share a GPU, which NCCL 2.28.9 does not allow");
    EXPECT_THAT(result.error().message, HasSubstr("--transport tls"));
  }
  EXPECT_LT(seconds_since(start_), 12.0);
  players_->disconnect();
  fake_nccl::reset();
  fake_nccl::configure({.ranks_may_share_a_gpu = true});
  players_->connect_well();
  players_->gpus[2] = std::make_unique<testing::Gpu>(1);
  players_->disconnect();
}

TEST_F(NcclFailures, AnInitThatFailsIsAnErrorOfTheNetwork) {
  players_.emplace(2);
  fake_nccl::fail(0, fake_nccl::kInit, Status::kSystemError);
  fake_nccl::fail(1, fake_nccl::kInit, Status::kInternalError);
  start_ = in_ms(0);
  const auto results = players_->connect();
  expect(results[0], ErrorCode::kIo, std::nullopt, "unhandled system error");
  expect(results[1], ErrorCode::kDeviceFailed, std::nullopt, "NCCL_DEBUG=WARN");
  expect_fresh_ones_work();
}

TEST_F(NcclFailures, APlayerThatNeverInitsIsATimeout) {
  players_.emplace(3);
  fake_nccl::never_arrive(1, fake_nccl::kInit);
  start_ = in_ms(0);
  // Long enough for all to get as far as NCCL, also on a busy machine.
  for (const Result<void>& result : players_->connect(2'000)) {
    expect(result, ErrorCode::kTimeout, std::nullopt, "connecting by NCCL was not done");
  }
  expect_fresh_ones_work();
}

TEST_F(NcclFailures, AFabricThatMiscountsIsFoundAtTheStart) {
  players_.emplace(2);
  fake_nccl::miscount(1, 0);
  start_ = in_ms(0);
  const auto results = players_->connect();
  expect(results[1], ErrorCode::kProtocolMismatch, std::nullopt, "is 4 instead of 3");
  expect_fresh_ones_work();
}

TEST_F(NcclFailures, ARemoteErrorNamesThePlayerThatTheControlConnectionLost) {
  NcclPlayers& players = connected(3);
  fake_nccl::fail(0, 1, Status::kRemoteError);
  fake_nccl::fail(1, 1, Status::kSystemError);
  std::vector<Result<void>> results(3);
  run_players(3, [&](int rank) {
    if (rank == 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      return abandon(players.control(2));
    }
    results[static_cast<std::size_t>(rank)] = players.sum(rank, kPatience);
  });
  for (const int rank : {0, 1}) {
    expect(results[static_cast<std::size_t>(rank)], ErrorCode::kPeerLost, 2, "player 2");
  }
  EXPECT_EQ(results[0].error().operation, "session 1, bundle 0, lane 0, operation 1");
  expect_fresh_ones_work(true);
}

TEST_F(NcclFailures, ARemoteErrorThatNobodyExplainsIsAPeerLost) {
  connected(3);
  for (int rank = 0; rank < 3; ++rank) fake_nccl::fail(rank, 1, Status::kRemoteError);
  for (const Result<void>& result : sums()) {
    expect(result, ErrorCode::kPeerLost, std::nullopt, "remote process exited");
  }
  expect_fresh_ones_work();
}

TEST_F(NcclFailures, OfTwoPlayersTheOtherIsTheRemoteOne) {
  connected(2);
  for (int rank = 0; rank < 2; ++rank) fake_nccl::fail(rank, 1, Status::kRemoteError);
  const auto results = sums();
  expect(results[0], ErrorCode::kPeerLost, 1, "remote process exited");
  expect(results[1], ErrorCode::kPeerLost, 0, "remote process exited");
  expect_fresh_ones_work();
}

TEST_F(NcclFailures, APlayerThatDiesAmidASumIsLostAtOnce) {
  NcclPlayers& players = connected(3);
  std::vector<Result<void>> results(3);
  run_players(3, [&](int rank) {
    if (rank == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      return abandon(players.control(1));
    }
    results[static_cast<std::size_t>(rank)] = players.sum(rank, kPatience);
  });
  expect(results[0], ErrorCode::kPeerLost, 1, "player 1");
  expect(results[2], ErrorCode::kPeerLost, 1, "player 1");
  expect_fresh_ones_work(true);
}

TEST_F(NcclFailures, APlayerThatDiesWhileOthersConnectIsLost) {
  players_.emplace(3);
  fake_nccl::never_arrive(1, fake_nccl::kInit);
  start_ = in_ms(0);
  std::vector<Result<void>> results;
  std::thread killer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    abandon(players_->control(1));
  });
  results = players_->connect(kPatience);
  killer.join();
  expect(results[0], ErrorCode::kPeerLost, 1, "player 1");
  expect(results[2], ErrorCode::kPeerLost, 1, "player 1");
  expect_fresh_ones_work(true);
}

TEST_F(NcclFailures, ACleanEndIsALossForWhoWaits) {
  NcclPlayers& players = connected(2);
  players.transports[1].reset();
  players.controls[1].reset();
  expect(players.sum(0, kPatience), ErrorCode::kPeerLost, 1, "closed the connection");
  players.transports[0].reset();
  expect_fresh_ones_work(true);
}

TEST_F(NcclFailures, APartThatNeverComesIsATimeoutForAll) {
  connected(3);
  fake_nccl::never_arrive(2, 1);
  for (const Result<void>& result : sums(400)) {
    expect(result, ErrorCode::kTimeout, std::nullopt, "not done over NCCL before the deadline");
  }
  // Final: what runs on the device was aborted.
  EXPECT_EQ(fake_nccl::aborts(), 3);
  const Deadline again = in_ms(0);
  for (const Result<void>& result : sums(kPatience, 2)) {
    expect(result, ErrorCode::kTimeout, std::nullopt, "operation 1");
  }
  EXPECT_LT(seconds_since(again), kSoon);
  expect_fresh_ones_work();
}

TEST_F(NcclFailures, AfterAFailureNothingTouchesTheCallersBuffers) {
  NcclPlayers& players = connected(2);
  fake_nccl::never_arrive(1, 1);
  run_players(2, [&](int rank) {
    // Bits: behind NCCL's gathering stands a kernel that writes to the caller's buffer.
    const Buffer word = players.gpu(rank).put(std::vector<std::uint64_t>{7});
    const Result<void> result = players.transport(rank).all_reduce_blocking(
        word.words().first(1), ReduceOp::kXor, {.session = 1, .operation = 1}, in_ms(300));
    EXPECT_EQ(result.error().code, ErrorCode::kTimeout);
    std::uint64_t then = 0;
    std::uint64_t later = 0;
    fake_cuda::peek(word.bytes().data(), &then, 8);
    ASSERT_EQ(cudaSetDevice(rank), cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    fake_cuda::peek(word.bytes().data(), &later, 8);
    EXPECT_EQ(then, later);
  });
  expect_fresh_ones_work();
}

TEST_F(NcclFailures, AFailureOnOneLaneIsOneOnAll) {
  NcclPlayers& players = connected(2);
  fake_nccl::never_arrive(1, 1);
  run_players(2, [&](int rank) {
    run_players(2, [&](int lane) {
      const Buffer word = players.gpu(rank).put(std::vector<std::uint64_t>{1});
      // Lane 1's own communicator never gets its call 1 done either; its limit is far away.
      const Tag tag{.lane = static_cast<std::uint32_t>(lane), .operation = 1};
      const Result<void> result = players.transport(rank).all_reduce_blocking(
          word.words().first(1), ReduceOp::kSum, tag, in_ms(lane == 0 ? 1'000 : 60'000));
      ASSERT_FALSE(result.ok());
      EXPECT_EQ(result.error().code, ErrorCode::kTimeout);
    });
  });
  expect_fresh_ones_work();
}

TEST_F(NcclFailures, AnAbortThatHangsHangsNobody) {
  players_.emplace(2);
  for (NcclOptions& options : players_->options) options.abort_timeout = milliseconds(300);
  players_->connect_well();
  start_ = in_ms(0);
  fake_nccl::never_arrive(1, 1);
  fake_nccl::hang_aborts(0);
  const auto results = sums(300);
  expect(results[0], ErrorCode::kTimeout, 1, "NCCL's abort did not return in 300 ms");
  expect(results[1], ErrorCode::kTimeout, 0, "not done over NCCL");
  // While the abort still hangs, new communicators work and end.
  players_->disconnect();
  players_->connect_well();
  EXPECT_LT(seconds_since(start_), kSoon);
  expect_fresh_ones_work();
}

TEST_F(NcclFailures, AllOperationsUnderWayFailAlike) {
  NcclPlayers& players = connected(2);
  fake_nccl::never_arrive(0, 2);
  run_players(2, [&](int rank) {
    std::vector<Buffer> words;
    std::vector<Operation> pending;
    for (std::uint32_t i = 0; i < 4; ++i) {
      words.push_back(players.gpu(rank).put(std::vector<std::uint64_t>{1}));
      pending.push_back(players.transport(rank).start_all_reduce(
          words.back().words().first(1), i % 2 == 0 ? ReduceOp::kSum : ReduceOp::kXor,
          {.operation = i}, kHostStream));
    }
    EXPECT_TRUE(pending[0].wait(in_ms(kPatience)).ok());
    for (std::size_t i = 1; i < 4; ++i) {
      EXPECT_EQ(pending[i].wait(in_ms(300)).error().code, ErrorCode::kTimeout);
    }
  });
  expect_fresh_ones_work();
}

TEST_F(NcclFailures, ADeviceThatFailsIsSaidToHave) {
  NcclPlayers& players = connected(2);
  fake_nccl::fail(0, 1, Status::kUnhandledCudaError);
  const std::vector<Result<void>> results = sums(2'000);
  expect(results[0], ErrorCode::kDeviceFailed, std::nullopt, "unhandled cuda error");
  expect(results[1], ErrorCode::kTimeout, 0, "not done over NCCL");
  EXPECT_EQ(players.size(), 2);
  expect_fresh_ones_work();
}

}  // namespace
}  // namespace beaverpond
