// Every collective, on every transport, for several numbers of players.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <tuple>

#include "online/transport/all_reduce_form.h"
#include "online/transport/send_buffer.h"
#include "tests/online/transport/players.h"

namespace beaverpond {
namespace {

using testing::in_ms;
using testing::run_players;

constexpr int kPatience = 60'000;

class Collectives : public ::testing::TestWithParam<std::tuple<const char*, int>> {
 protected:
  void SetUp() override {
    players_ = std::get<1>(GetParam());
    transports_ = std::get<0>(GetParam()) == std::string("tls")
                      ? testing::make_tls_transports(players_)
                      : make_local_transports(players_);
  }

  Transport& transport(int rank) { return *transports_[static_cast<std::size_t>(rank)]; }

  static std::vector<std::uint64_t> words_of(int rank, std::size_t count) {
    std::mt19937_64 random(static_cast<unsigned>(rank) + 1);
    std::vector<std::uint64_t> words(count);
    for (std::uint64_t& word : words) word = random();
    return words;
  }

  std::vector<std::uint64_t> reduced(std::size_t count, ReduceOp op) const {
    std::vector<std::uint64_t> all(count);
    for (int rank = 0; rank < players_; ++rank) {
      const std::vector<std::uint64_t> words = words_of(rank, count);
      for (std::size_t i = 0; i < count; ++i) {
        all[i] = op == ReduceOp::kSum ? all[i] + words[i] : all[i] ^ words[i];
      }
    }
    return all;
  }

  int players_ = 0;
  std::vector<std::unique_ptr<Transport>> transports_;
};

TEST_P(Collectives, RankSizeAndNameAreRight) {
  for (int rank = 0; rank < players_; ++rank) {
    EXPECT_EQ(transport(rank).rank(), rank);
    EXPECT_EQ(transport(rank).size(), players_);
    EXPECT_EQ(transport(rank).name(), std::get<0>(GetParam()));
  }
}

TEST_P(Collectives, AllReduceOfAnySize) {
  // Around the limits of copied messages, TLS records, pieces and two steps, and 16 MB.
  const std::vector<std::size_t> counts = {0,      1,       2,       1535,    1536,
                                           1537,   2048,    32'767,  32'768,  32'769,
                                           40'000, 131'071, 131'073, 300'001, 2'000'000};
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kXor}) {
    for (const std::size_t count : counts) {
      const std::vector<std::uint64_t> expected = reduced(count, op);
      run_players(players_, [&](int rank) {
        std::vector<std::uint64_t> words = words_of(rank, count);
        const Tag tag{.session = 1, .bundle = count, .lane = 0, .operation = 1};
        const Result<void> result =
            transport(rank).all_reduce_blocking(words, op, tag, in_ms(kPatience));
        ASSERT_TRUE(result.ok()) << result.error().message;
        EXPECT_TRUE(words == expected);
      });
    }
  }
}

TEST_P(Collectives, AllGatherIsByRank) {
  for (const std::size_t size : {0, 1, 1000, 300'000}) {
    run_players(players_, [&](int rank) {
      const std::vector<std::uint8_t> mine(size, static_cast<std::uint8_t>(rank + 1));
      std::vector<std::uint8_t> all(size * static_cast<std::size_t>(players_));
      Operation pending = transport(rank).start_all_gather(mine, all, {}, kHostStream);
      ASSERT_TRUE(pending.wait(in_ms(kPatience)).ok());
      for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], i / size + 1);
    });
  }
}

TEST_P(Collectives, BroadcastFromEveryRoot) {
  run_players(players_, [&](int rank) {
    for (int root = 0; root < players_; ++root) {
      std::vector<std::uint8_t> bytes(100'000, static_cast<std::uint8_t>(rank));
      const Tag tag{.operation = static_cast<std::uint32_t>(root)};
      ASSERT_TRUE(transport(rank).broadcast_blocking(root, bytes, tag, in_ms(kPatience)).ok());
      EXPECT_EQ(bytes, std::vector<std::uint8_t>(100'000, static_cast<std::uint8_t>(root)));
    }
  });
}

TEST_P(Collectives, SendsGoRound) {
  run_players(players_, [&](int rank) {
    const std::vector<std::uint8_t> mine(200'000, static_cast<std::uint8_t>(rank));
    std::vector<std::uint8_t> got(200'000);
    const int next = (rank + 1) % players_;
    const int previous = (rank + players_ - 1) % players_;
    Operation send = transport(rank).start_send(next, mine, {}, kHostStream);
    ASSERT_TRUE(transport(rank).recv_blocking(previous, got, {}, in_ms(kPatience)).ok());
    ASSERT_TRUE(send.wait(in_ms(kPatience)).ok());
    EXPECT_EQ(got, std::vector<std::uint8_t>(200'000, static_cast<std::uint8_t>(previous)));
  });
}

TEST_P(Collectives, MessagesMayDifferInLength) {
  run_players(players_, [&](int rank) {
    const std::vector<std::uint8_t> mine(static_cast<std::size_t>(rank) * 50'000, 7);
    const auto all = transport(rank).all_gather_messages_blocking(mine, {}, in_ms(kPatience));
    ASSERT_TRUE(all.ok()) << all.error().message;
    ASSERT_EQ(all->size(), static_cast<std::size_t>(players_));
    for (std::size_t i = 0; i < all->size(); ++i) {
      EXPECT_EQ((*all)[i], std::vector<std::uint8_t>(i * 50'000, 7));
    }
  });
}

TEST_P(Collectives, ManyInFlightOnSeveralLanes) {
  constexpr std::uint32_t kLanes = 3;
  constexpr std::uint32_t kRounds = 40;
  const std::vector<std::uint64_t> expected = reduced(3000, ReduceOp::kSum);
  run_players(players_, [&](int rank) {
    run_players(kLanes, [&](int lane) {
      std::deque<std::vector<std::uint64_t>> words;
      std::vector<Operation> pending;
      for (std::uint32_t i = 0; i < kRounds; ++i) {
        // Sizes differ, so that a message in the wrong place would show.
        words.push_back(words_of(rank, i % 2 == 0 ? 3000 : i));
        const Tag tag{.lane = static_cast<std::uint32_t>(lane), .operation = i};
        pending.push_back(
            transport(rank).start_all_reduce(words.back(), ReduceOp::kSum, tag, kHostStream));
      }
      // Waited for in another order than started in.
      for (std::uint32_t i = kRounds; i-- > 0;) {
        const Result<void> result = pending[i].wait(in_ms(kPatience));
        ASSERT_TRUE(result.ok()) << result.error().message;
        EXPECT_TRUE(std::equal(words[i].begin(), words[i].end(), expected.begin()));
      }
    });
  });
}

TEST_P(Collectives, LargeReductionsInFlightAreWaitedForInAnyOrder) {
  const std::vector<std::size_t> counts = {140'000, 10, 200'003, 33'000};
  run_players(players_, [&](int rank) {
    std::deque<std::vector<std::uint64_t>> words;
    std::vector<Operation> pending;
    for (std::uint32_t i = 0; i < counts.size(); ++i) {
      words.push_back(words_of(rank, counts[i]));
      pending.push_back(transport(rank).start_all_reduce(words.back(), ReduceOp::kSum,
                                                         {.operation = i}, kHostStream));
    }
    // Every player in an order of its own.
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const std::size_t at = (i * 3 + static_cast<std::size_t>(rank)) % counts.size();
      const Result<void> result = pending[at].wait(in_ms(kPatience));
      ASSERT_TRUE(result.ok()) << result.error().message;
      EXPECT_TRUE(words[at] == reduced(counts[at], ReduceOp::kSum));
    }
  });
}

TEST_P(Collectives, LargeReductionsGoOnWhereNobodyWaits) {
  std::deque<std::vector<std::uint64_t>> words;
  std::vector<Operation> pending;
  for (int rank = 0; rank < players_; ++rank) {
    words.push_back(words_of(rank, 100'001));
    pending.push_back(
        transport(rank).start_all_reduce(words.back(), ReduceOp::kXor, {}, kHostStream));
  }
  // One after the other: the first is done before anybody has waited for the others.
  for (Operation& operation : pending) ASSERT_TRUE(operation.wait(in_ms(kPatience)).ok());
  for (const auto& mine : words) EXPECT_TRUE(mine == reduced(100'001, ReduceOp::kXor));
}

TEST_P(Collectives, StatisticsCountPayloadsAndHeaders) {
  const std::vector<std::uint64_t> counts = {1000, 32'767, 32'768, 262'147};
  run_players(players_, [&](int rank) {
    std::uint64_t sent = 0;
    for (const std::uint64_t count : counts) {
      std::vector<std::uint64_t> words(count);
      ASSERT_TRUE(
          transport(rank).all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(kPatience)).ok());
      sent += all_reduce_sent_bytes(players_, rank, count);
      EXPECT_EQ(transport(rank).stats().sent_bytes, sent);
    }
    EXPECT_EQ(transport(rank).stats().received_bytes, sent);
  });
}

TEST(AllReduceForm, ScatteredItSendsTwoWholesLessTwoBlocks) {
  constexpr std::uint64_t kWords = 3 << 20;
  static_assert(!reduces_scattered(2, kWords) && reduces_scattered(3, kWords));
  static_assert(!reduces_scattered(5, 32'767) && reduces_scattered(5, 32'768));
  static_assert(all_reduce_steps(2, kWords) == 1 && all_reduce_steps(4, kWords) == 2);
  EXPECT_EQ(all_reduce_sent_bytes(2, 0, kWords), wire_bytes(kWords * 8));
  EXPECT_EQ(all_reduce_sent_bytes(3, 1, 1000), 2 * wire_bytes(8000));
  EXPECT_EQ(all_reduce_sent_bytes(3, 1, kWords), 4 * wire_bytes(kWords * 8 / 3));
  // 1,000,003 words among five: blocks of 200,000, 200,001, 200,000, 200,001, 200,001.
  EXPECT_EQ(all_reduce_sent_bytes(5, 0, 1'000'003),
            5 * wire_bytes(200'000 * 8) + 3 * wire_bytes(200'001 * 8));
  EXPECT_EQ(all_reduce_sent_bytes(5, 1, 1'000'003),
            2 * wire_bytes(200'000 * 8) + 6 * wire_bytes(200'001 * 8));
}

TEST(SendBuffer, IsWhatGoesOutInARoundTripWhereThatIsLittle) {
  EXPECT_EQ(send_buffer_bytes(1), kSmallestSendBuffer);
  EXPECT_EQ(send_buffer_bytes(21), kSmallestSendBuffer);
  EXPECT_EQ(send_buffer_bytes(100), 600'000u);
  EXPECT_EQ(send_buffer_bytes(174), 1'044'000u);
  EXPECT_EQ(send_buffer_bytes(175), std::nullopt);
  EXPECT_EQ(send_buffer_bytes(~0u), std::nullopt);
}

/// By descriptor, the send buffers of this process's TCP connections.
std::map<int, int> send_buffers() {
  std::map<int, int> buffers;
  for (int descriptor = 0; descriptor < 256; ++descriptor) {
    if (!shortest_round_trip_us(descriptor).has_value()) continue;
    int bytes = 0;
    socklen_t size = sizeof bytes;
    if (::getsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &bytes, &size) == 0) {
      buffers[descriptor] = bytes;
    }
  }
  return buffers;
}

TEST(SendBuffer, OfPlayersOnOneHostIsSmall) {
  const auto transports = testing::make_tls_transports(2);
  // Both ends; Linux counts its own bookkeeping, and doubles what it is told.
  const int largest = 2 * static_cast<int>(kLargestSendBuffer);
  const auto fitted = [&] {
    const std::map<int, int> buffers = send_buffers();
    return buffers.size() == 2 && std::all_of(buffers.begin(), buffers.end(), [&](const auto& one) {
             return one.second <= largest;
           });
  };
  // A busy machine may be slow at first; it is looked at again every 250 ms.
  const Deadline patience = in_ms(kPatience);
  for (std::uint32_t i = 0; !fitted() && std::chrono::steady_clock::now() < patience; ++i) {
    run_players(2, [&](int rank) {
      std::vector<std::uint64_t> words(20'000, 1);
      const auto& mine = transports[static_cast<std::size_t>(rank)];
      ASSERT_TRUE(
          mine->all_reduce_blocking(words, ReduceOp::kSum, {.operation = i}, patience).ok());
    });
  }
  EXPECT_TRUE(fitted());
  for (const auto& [descriptor, bytes] : send_buffers()) {
    EXPECT_GE(bytes, static_cast<int>(kSmallestSendBuffer));
    // Fitting again to the same round trip changes nothing; a longer one cannot be had here.
    const auto wanted = send_buffer_bytes(*shortest_round_trip_us(descriptor));
    ASSERT_TRUE(wanted.has_value());
    EXPECT_EQ(fit_send_buffer(descriptor, *wanted), *wanted);
  }
  EXPECT_EQ(fit_send_buffer(-1, 7), 7u);
  EXPECT_EQ(shortest_round_trip_us(-1), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(All, Collectives,
                         ::testing::Combine(::testing::Values("local", "tls"),
                                            ::testing::Values(2, 3, 4, 5)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) +
                                  std::to_string(std::get<1>(info.param));
                         });

TEST(SinglePlayer, ReducesToItself) {
  auto transports = make_local_transports(1);
  std::vector<std::uint64_t> words = {3};
  ASSERT_TRUE(transports[0]->all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(1000)).ok());
  EXPECT_EQ(words[0], 3u);
}

}  // namespace
}  // namespace beaverpond
