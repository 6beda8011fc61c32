// Every collective in device memory, for several numbers of players; and what goes another way.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>

#include "tests/online/transport/nccl/nccl_players.h"
#include "tests/online/transport/recording_transport.h"

namespace beaverpond {
namespace {

using testing::in_ms;
using testing::NcclPlayers;
using testing::run_players;

constexpr int kPatience = 60'000;

class NcclCollectives : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    fake_nccl::reset();
    players_.emplace(GetParam());
    players_->connect_well();
  }
  void TearDown() override {
    players_->disconnect();
    EXPECT_EQ(fake_nccl::misuse(), std::vector<std::string>());
    EXPECT_EQ(fake_nccl::live_communicators(), 0);
    EXPECT_EQ(fake_nccl::aborts(), 0) << "all was well, so all ends in good order";
  }

  int size() const { return GetParam(); }
  Transport& transport(int rank) { return players_->transport(rank); }
  testing::Gpu& gpu(int rank) { return players_->gpu(rank); }

  static std::vector<std::uint64_t> words_of(int rank, std::size_t count) {
    std::mt19937_64 random(static_cast<unsigned>(rank) + 1);
    std::vector<std::uint64_t> words(count);
    for (std::uint64_t& word : words) word = random();
    return words;
  }

  std::vector<std::uint64_t> reduced(std::size_t count, ReduceOp op) const {
    std::vector<std::uint64_t> all(count);
    for (int rank = 0; rank < size(); ++rank) {
      const std::vector<std::uint64_t> words = words_of(rank, count);
      for (std::size_t i = 0; i < count; ++i) {
        all[i] = op == ReduceOp::kSum ? all[i] + words[i] : all[i] ^ words[i];
      }
    }
    return all;
  }

  std::optional<NcclPlayers> players_;
};

TEST_P(NcclCollectives, RankSizeNameAndMemoryAreRight) {
  for (int rank = 0; rank < size(); ++rank) {
    EXPECT_EQ(transport(rank).rank(), rank);
    EXPECT_EQ(transport(rank).size(), size());
    EXPECT_EQ(transport(rank).name(), "nccl");
    EXPECT_EQ(transport(rank).memory(), MemoryKind::kDevice);
    EXPECT_EQ(players_->control(rank).memory(), MemoryKind::kHost);
  }
}

TEST_P(NcclCollectives, AllReduceOfAnySize) {
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kXor}) {
    for (const std::size_t count : {0, 1, 2, 255, 256, 257, 40'000}) {
      if (op == ReduceOp::kXor && count > 1000) continue;  // emulated, thread by thread
      const std::vector<std::uint64_t> expected = reduced(count, op);
      run_players(size(), [&](int rank) {
        const Buffer words = gpu(rank).put(words_of(rank, count));
        const Tag tag{.session = 1, .bundle = count, .lane = 0, .operation = 1};
        const Result<void> result = transport(rank).all_reduce_blocking(words.words().first(count),
                                                                        op, tag, in_ms(kPatience));
        ASSERT_TRUE(result.ok()) << result.error().message;
        EXPECT_EQ(gpu(rank).get<std::uint64_t>(words, count), expected);
      });
    }
  }
}

TEST_P(NcclCollectives, AllGatherIsByRank) {
  for (const std::size_t count : {1, 1000, 30'000}) {
    run_players(size(), [&](int rank) {
      const auto all_size = count * static_cast<std::size_t>(size());
      const Buffer mine =
          gpu(rank).put(std::vector<std::uint8_t>(count, static_cast<std::uint8_t>(rank + 1)));
      const Buffer all = gpu(rank).put(std::vector<std::uint8_t>(all_size));
      Operation pending = transport(rank).start_all_gather(
          mine.bytes().first(count), all.bytes().first(all_size), {}, kHostStream);
      ASSERT_TRUE(pending.wait(in_ms(kPatience)).ok());
      const auto got = gpu(rank).get<std::uint8_t>(all, all_size);
      for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], i / count + 1);
    });
  }
}

TEST_P(NcclCollectives, BroadcastFromEveryRoot) {
  run_players(size(), [&](int rank) {
    for (int root = 0; root < size(); ++root) {
      const Buffer bytes =
          gpu(rank).put(std::vector<std::uint8_t>(10'000, static_cast<std::uint8_t>(rank)));
      const Tag tag{.operation = static_cast<std::uint32_t>(root)};
      ASSERT_TRUE(transport(rank)
                      .broadcast_blocking(root, bytes.bytes().first(10'000), tag, in_ms(kPatience))
                      .ok());
      EXPECT_EQ(gpu(rank).get<std::uint8_t>(bytes, 10'000),
                std::vector<std::uint8_t>(10'000, static_cast<std::uint8_t>(root)));
    }
  });
}

TEST_P(NcclCollectives, SendsGoRoundAlthoughAllSendFirst) {
  run_players(size(), [&](int rank) {
    const Buffer mine =
        gpu(rank).put(std::vector<std::uint8_t>(20'000, static_cast<std::uint8_t>(rank)));
    const Buffer got = gpu(rank).put(std::vector<std::uint8_t>(20'000, 0xff));
    const int next = (rank + 1) % size();
    const int previous = (rank + size() - 1) % size();
    for (std::uint32_t round = 0; round < 3; ++round) {
      const Tag tag{.operation = round};
      Operation send = transport(rank).start_send(next, mine.bytes(), tag, kHostStream);
      ASSERT_TRUE(transport(rank).recv_blocking(previous, got.bytes(), tag, in_ms(kPatience)).ok());
      ASSERT_TRUE(send.wait(in_ms(kPatience)).ok());
    }
    EXPECT_EQ(gpu(rank).get<std::uint8_t>(got, 20'000),
              std::vector<std::uint8_t>(20'000, static_cast<std::uint8_t>(previous)));
  });
}

TEST_P(NcclCollectives, SendsAndSumsKeepTheirOrder) {
  run_players(size(), [&](int rank) {
    const Buffer sent = gpu(rank).put(std::vector<std::uint64_t>{7});
    const Buffer sum = gpu(rank).put(std::vector<std::uint64_t>{1});
    const Buffer got = gpu(rank).put(std::vector<std::uint64_t>{0});
    std::vector<Operation> pending;
    if (rank == 0) pending.push_back(transport(0).start_send(1, sent.bytes(), {}, kHostStream));
    if (rank == 1) pending.push_back(transport(1).start_recv(0, got.bytes(), {}, kHostStream));
    pending.push_back(transport(rank).start_all_reduce(sum.words().first(1), ReduceOp::kSum,
                                                       {.operation = 1}, kHostStream));
    while (!pending.empty()) {
      ASSERT_TRUE(pending.back().wait(in_ms(kPatience)).ok());
      pending.pop_back();
    }
    EXPECT_EQ(gpu(rank).get<std::uint64_t>(sum, 1)[0], static_cast<unsigned>(size()));
    EXPECT_EQ(gpu(rank).get<std::uint64_t>(got, 1)[0], rank == 1 ? 7u : 0u);
  });
}

TEST_P(NcclCollectives, ManyInFlightOnSeveralLanes) {
  constexpr std::uint32_t kLanes = 3;
  constexpr std::uint32_t kRounds = 20;
  const std::vector<std::uint64_t> expected = reduced(3000, ReduceOp::kSum);
  run_players(size(), [&](int rank) {
    run_players(kLanes, [&](int lane) {
      std::vector<Buffer> words;
      std::vector<Operation> pending;
      const auto count = [](std::uint32_t i) { return i % 2 == 0 ? 3000u : i; };
      for (std::uint32_t i = 0; i < kRounds; ++i) {
        words.push_back(gpu(rank).put(words_of(rank, count(i))));
        const Tag tag{.lane = static_cast<std::uint32_t>(lane), .operation = i};
        pending.push_back(transport(rank).start_all_reduce(words.back().words().first(count(i)),
                                                           ReduceOp::kSum, tag, kHostStream));
      }
      // Waited for in another order than started in.
      for (std::uint32_t i = kRounds; i-- > 0;) {
        const Result<void> result = pending[i].wait(in_ms(kPatience));
        ASSERT_TRUE(result.ok()) << result.error().message;
        const auto got = gpu(rank).get<std::uint64_t>(words[i], count(i));
        EXPECT_TRUE(std::equal(got.begin(), got.end(), expected.begin()));
      }
    });
  });
}

TEST_P(NcclCollectives, AnOperationComesAfterWhatItsStreamWasGiven) {
  run_players(size(), [&](int rank) {
    for (std::uint32_t round = 0; round < 10; ++round) {
      const Buffer word = gpu(rank).put(std::vector<std::uint64_t>{5});
      const auto stream = static_cast<cudaStream_t>(gpu(rank).home().handle);
      // Not waited for: bytes of 1 take the place of the 5.
      ASSERT_EQ(cudaMemsetAsync(word.bytes().data(), 1, 8, stream), cudaSuccess);
      ASSERT_TRUE(transport(rank)
                      .all_reduce_blocking(word.words().first(1), ReduceOp::kSum,
                                           {.operation = round}, in_ms(kPatience))
                      .ok());
      EXPECT_EQ(gpu(rank).get<std::uint64_t>(word, 1)[0],
                0x0101010101010101u * static_cast<std::uint64_t>(size()));
    }
  });
}

TEST_P(NcclCollectives, StatisticsCountWhatARingMoves) {
  run_players(size(), [&](int rank) {
    const TransportStats before = transport(rank).stats();
    const Buffer words = gpu(rank).put(std::vector<std::uint64_t>(1200));
    ASSERT_TRUE(
        transport(rank)
            .all_reduce_blocking(words.words().first(1200), ReduceOp::kSum, {}, in_ms(kPatience))
            .ok());
    const TransportStats after = transport(rank).stats();
    const std::uint64_t each =
        2 * 9600 * static_cast<std::uint64_t>(size() - 1) / static_cast<std::uint64_t>(size());
    EXPECT_EQ(after.sent_bytes - before.sent_bytes, each);
    EXPECT_EQ(after.received_bytes - before.received_bytes, each);
  });
}

INSTANTIATE_TEST_SUITE_P(All, NcclCollectives, ::testing::Values(2, 3, 5, 8),
                         [](const auto& info) { return "players" + std::to_string(info.param); });

/// What must be encrypted must not meet NCCL, and what is masked must not wait for TLS.
TEST(NcclWays, HostMemoryGoesByTheControlConnectionDeviceMemoryDoesNot) {
  fake_nccl::reset();
  NcclPlayers players(2);
  testing::SentLog log;
  for (auto& control : players.controls) {
    control = std::make_unique<testing::RecordingTransport>(std::move(control), log);
  }
  players.connect_well();
  const std::size_t hellos = log.records().size();
  EXPECT_EQ(hellos, 2u);
  run_players(2, [&](int rank) { ASSERT_TRUE(players.sum(rank, kPatience).ok()); });
  EXPECT_EQ(log.records().size(), hellos);

  const int calls = fake_nccl::calls();
  run_players(2, [&](int rank) {
    Transport& transport = players.transport(rank);
    std::vector<std::uint64_t> words = {1};
    std::vector<std::uint8_t> bytes(32, static_cast<std::uint8_t>(rank));
    std::vector<std::uint8_t> got(32);
    std::vector<std::uint8_t> all(64);
    ASSERT_TRUE(transport.all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(kPatience)).ok());
    EXPECT_EQ(words[0], 2u);
    Operation send = transport.start_send(1 - rank, bytes, {}, kHostStream);
    ASSERT_TRUE(transport.recv_blocking(1 - rank, got, {}, in_ms(kPatience)).ok());
    ASSERT_TRUE(send.wait(in_ms(kPatience)).ok());
    EXPECT_EQ(got, std::vector<std::uint8_t>(32, static_cast<std::uint8_t>(1 - rank)));
    ASSERT_TRUE(
        transport.start_all_gather(bytes, all, {}, kHostStream).wait(in_ms(kPatience)).ok());
    ASSERT_TRUE(transport.broadcast_blocking(0, bytes, {}, in_ms(kPatience)).ok());
    ASSERT_TRUE(transport.all_gather_messages_blocking(bytes, {}, in_ms(kPatience)).ok());
  });
  EXPECT_EQ(log.records().size(), hellos + 2 * 5 - 1);  // one root
  EXPECT_EQ(fake_nccl::calls(), calls);
  players.disconnect();
}

TEST(NcclWays, WorksOverTls) {
  fake_nccl::reset();
  NcclPlayers players(3, true);
  players.connect_well();
  run_players(3, [&](int rank) { ASSERT_TRUE(players.sum(rank, kPatience).ok()); });
  players.disconnect();
  EXPECT_EQ(fake_nccl::misuse(), std::vector<std::string>());
}

}  // namespace
}  // namespace beaverpond
