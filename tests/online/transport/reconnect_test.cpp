// Connections that break and come back: cut in the middle of everything, for short or for good.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>

#include "bench/relay/relay.h"
#include "online/transport/inbox.h"
#include "tests/online/transport/players.h"

namespace beaverpond {
namespace {

using std::chrono::milliseconds;
using testing::in_ms;
using testing::run_players;
using testing::seconds_since;
using testing::TlsPlayers;

/// Players each of whose connections goes through a relay that cuts it.
class Cutting {
 public:
  Cutting(int players, milliseconds reconnect, milliseconds peer_timeout = milliseconds(3'500),
          milliseconds delay = milliseconds(0))
      : setup_(players), random_(static_cast<std::uint64_t>(players)) {
    std::vector<TlsOptions> options;
    for (int rank = 0; rank < players; ++rank) {
      options.push_back(setup_.options(rank));
      options.back().reconnect = reconnect;
      options.back().peer_timeout = peer_timeout;
      options.back().heartbeat_interval = peer_timeout / 7;
    }
    door_ = options[0].players[0].port;
    std::vector<std::uint16_t> targets;
    for (std::size_t dialler = 0; dialler < options.size(); ++dialler) {
      for (std::size_t listener = 0; listener < dialler; ++listener) {
        targets.push_back(options[listener].players[listener].port);
      }
    }
    routes_ = targets.size();
    RelayOptions relay;
    relay.delay = delay;
    relay.most_bytes = std::size_t{4} << 20;
    relay.reset = [this](std::size_t route) { return cut_[route].exchange(false); };
    relay.hold = [this](std::size_t) { return held_.load(); };
    relay.alter = [this](std::size_t route, std::span<std::uint8_t> bytes) {
      passed_ += bytes.size();
      if (passed_ < next_cut_) return true;
      next_cut_ = passed_ + 1 + random_() % (2 * every_);
      cut_[route] = true;
      ++cuts_;
      return random_() % 2 == 0;  // what came last goes on, or not
    };
    relay_ = Relay::listen(targets, relay).value();
    std::size_t route = 0;
    for (std::size_t dialler = 0; dialler < options.size(); ++dialler) {
      for (std::size_t listener = 0; listener < dialler; ++listener) {
        options[dialler].players[listener].port = relay_->port(route++);
      }
    }
    relay_->start();
    for (Result<TlsConnected>& one : testing::connect_each(options)) {
      BP_CHECK(one.ok(), one.ok() ? "" : one.error().message.c_str());
      players_.push_back(std::move(one->transport));
    }
  }
  ~Cutting() {
    every_ = 0;
    players_.clear();
  }

  Transport& player(int rank) { return *players_[static_cast<std::size_t>(rank)]; }
  void leave(int rank) { players_[static_cast<std::size_t>(rank)].reset(); }
  /// After as many bytes, about, as `bytes` says, each time.
  void cut_every(std::uint64_t bytes) {
    every_ = bytes;
    next_cut_ = bytes;
  }
  void stop_cutting() { next_cut_ = ~std::uint64_t{0}; }
  void cut_all() {
    for (std::size_t route = 0; route < routes_; ++route) cut_[route] = true;
  }
  /// Nothing passes; what dials meanwhile is accepted and hears nothing.
  void hold(bool held) { held_ = held; }
  int cuts() const { return cuts_; }
  TlsPlayers& setup() { return setup_; }
  std::uint16_t door() const { return door_; }

 private:
  TlsPlayers setup_;
  std::mt19937_64 random_;
  std::uint16_t door_ = 0;  ///< of player 0, past the relay
  std::size_t routes_ = 0;
  std::array<std::atomic<bool>, 10> cut_{};
  std::atomic<bool> held_ = false;
  std::atomic<std::uint64_t> every_ = 1;
  std::atomic<std::uint64_t> next_cut_ = ~std::uint64_t{0};
  std::atomic<int> cuts_ = 0;
  std::uint64_t passed_ = 0;  // the relay's thread's
  std::unique_ptr<Relay> relay_;
  std::vector<std::unique_ptr<Transport>> players_;
};

/// Sums of so many words, round after round, each with other words.
void reduce_rounds(Cutting& net, int players, std::uint32_t first, std::uint32_t rounds,
                   std::size_t count) {
  run_players(players, [&](int rank) {
    std::vector<std::uint64_t> words(count);
    for (std::uint32_t round = first; round < first + rounds; ++round) {
      const std::uint64_t base = round * std::uint64_t{1'000'003};
      for (std::size_t i = 0; i < count; ++i) {
        words[i] = base + (i << 8) + static_cast<std::uint64_t>(rank);
      }
      const Result<void> result = net.player(rank).all_reduce_blocking(
          words, ReduceOp::kSum, {.session = 7, .operation = round}, in_ms(60'000));
      ASSERT_TRUE(result.ok()) << result.error().message;
      const auto n = static_cast<std::uint64_t>(players);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < count; ++i) {
        wrong += words[i] != n * (base + (i << 8)) + n * (n - 1) / 2 ? 1 : 0;
      }
      ASSERT_EQ(wrong, 0u) << "round " << round;
    }
  });
}

class Cuts : public ::testing::TestWithParam<int> {};

TEST_P(Cuts, AnywhereLeaveEveryWordAsItIs) {
  const int players = GetParam();
  Cutting net(players, milliseconds(20'000));
  net.cut_every(20'000);
  reduce_rounds(net, players, 0, 150, 100);
  const int small = net.cuts();
  EXPECT_GT(small, 2);
  // Large ones: in two steps, where there are more than two.
  net.cut_every(std::uint64_t{4} << 20);
  reduce_rounds(net, players, 1000, 4, std::size_t{1} << 18);
  EXPECT_GT(net.cuts(), small + 1);
  net.stop_cutting();
}
INSTANTIATE_TEST_SUITE_P(Players, Cuts, ::testing::Values(2, 3, 5));

TEST(Reconnect, MessagesOf64MegabytesAreCutAndWhole) {
  Cutting net(2, milliseconds(20'000));
  net.cut_every(std::uint64_t{24} << 20);
  reduce_rounds(net, 2, 0, 2, std::size_t{8} << 20);
  EXPECT_GE(net.cuts(), 4);
  net.stop_cutting();
}

TEST(Reconnect, SilenceIsABreakThatMends) {
  Cutting net(3, milliseconds(20'000), milliseconds(500));
  net.hold(true);
  std::thread later([&] {
    // Until the silence was noticed, and a redialled connection met it too.
    const Deadline end = in_ms(1'300);
    while (in_ms(0) < end) std::this_thread::yield();
    net.hold(false);
  });
  const Deadline start = in_ms(0);
  reduce_rounds(net, 3, 0, 2, 1'000);
  EXPECT_GT(seconds_since(start), 1.2);
  EXPECT_LT(seconds_since(start), 10.0);
  later.join();
}

TEST(Reconnect, AWaitEndsAtItsOwnDeadline) {
  Cutting net(2, milliseconds(20'000));
  net.hold(true);
  net.cut_all();
  std::vector<std::uint64_t> words(1);
  const Result<void> result =
      net.player(0).all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(300));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kTimeout);
  EXPECT_NE(result.error().message.find("the connection to it is broken"), std::string::npos)
      << result.error().message;
  net.hold(false);
  EXPECT_TRUE(net.player(1).all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(20'000)).ok());
}

TEST(Reconnect, WhoDoesNotComeBackIsLostInTime) {
  Cutting net(3, milliseconds(700), milliseconds(500));
  net.hold(true);
  net.cut_all();
  const Deadline start = in_ms(0);
  run_players(3, [&](int rank) {
    std::vector<std::uint64_t> words(1);
    const Result<void> result =
        net.player(rank).all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(20'000));
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kPeerLost);
    EXPECT_TRUE(result.error().player.has_value());
    EXPECT_NE(result.error().player, rank);
    EXPECT_NE(result.error().message.find("did not come back within 700 ms"), std::string::npos)
        << result.error().message;
  });
  EXPECT_LT(seconds_since(start), 3.0);
}

TEST(Reconnect, WithoutItABreakIsALossAtOnce) {
  Cutting net(2, milliseconds(0));
  net.cut_all();
  const Deadline start = in_ms(0);
  std::vector<std::uint64_t> words(1);
  const Result<void> result =
      net.player(0).all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(20'000));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kPeerLost);
  EXPECT_EQ(result.error().player, 1);
  EXPECT_LT(seconds_since(start), 1.0);
}

/// Player 1 of that network, dialling player 0 directly.
TlsOptions player_one(Cutting& net, const TlsPlayers& identity) {
  TlsOptions options = net.setup().options(1);
  options.players[0].port = net.door();
  options.key_path = identity.home(1) + "/key.pem";
  options.certificate_path = identity.home(1) + "/cert.pem";
  options.players[1].certificate = identity.roster.players[1].certificate;
  options.reconnect = milliseconds(20'000);
  options.connect_timeout = milliseconds(600);
  return options;
}

TEST(Reconnect, AProcessThatWasStartedAgainIsNotSplicedIn) {
  Cutting net(2, milliseconds(3'000));
  // While all is well it waits in front of the door, and harms nobody.
  Result<TlsConnected> twin = connect_tls_blocking(player_one(net, net.setup()));
  ASSERT_FALSE(twin.ok());
  EXPECT_EQ(twin.error().code, ErrorCode::kTimeout) << twin.error().message;
  reduce_rounds(net, 2, 0, 1, 10);

  net.hold(true);
  net.cut_all();
  std::thread again([&] { EXPECT_FALSE(connect_tls_blocking(player_one(net, net.setup())).ok()); });
  const Deadline start = in_ms(0);
  std::vector<std::uint64_t> words(1);
  const Result<void> result =
      net.player(0).all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(20'000));
  again.join();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kPeerLost);
  EXPECT_EQ(result.error().player, 1);
  EXPECT_NE(result.error().message.find("started again"), std::string::npos)
      << result.error().message;
  EXPECT_LT(seconds_since(start), 3.0);
  net.hold(false);
}

TEST(Reconnect, StrangersAtTheOpenDoorHarmNobody) {
  Cutting net(2, milliseconds(20'000));
  const auto knock = [&] {
    TlsPlayers foreign(2);
    const Result<TlsConnected> stranger = connect_tls_blocking(player_one(net, foreign));
    ASSERT_FALSE(stranger.ok());
    EXPECT_EQ(stranger.error().code, ErrorCode::kRosterMismatch) << stranger.error().message;
    std::vector<int> silent;
    for (int i = 0; i < 80; ++i) {
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(net.door());
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      silent.push_back(::socket(AF_INET, SOCK_STREAM, 0));
      ASSERT_EQ(::connect(silent.back(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
      (void)::send(silent.back(), "GET / HTTP/1.1\r\n", i % 2 == 0 ? 16 : 0, MSG_NOSIGNAL);
    }
    for (const int one : silent) ::close(one);
  };
  knock();
  reduce_rounds(net, 2, 0, 1, 1'000);
  net.hold(true);
  net.cut_all();
  knock();
  net.hold(false);
  reduce_rounds(net, 2, 1, 1, 1'000);
}

TEST(Reconnect, WhatWasPostedArrivesAfterItsSenderLeft) {
  Cutting net(2, milliseconds(20'000));
  const std::vector<std::uint8_t> sent(3'000'000, 9);
  net.cut_every(500'000);
  ASSERT_TRUE(net.player(0).send_blocking(1, sent, {}, in_ms(20'000)).ok());
  std::thread leaves([&] { net.leave(0); });
  std::vector<std::uint8_t> got(sent.size());
  const Result<void> result = net.player(1).recv_blocking(0, got, {}, in_ms(20'000));
  EXPECT_TRUE(result.ok()) << result.error().message;
  EXPECT_TRUE(got == sent);
  leaves.join();
  net.stop_cutting();
}

TEST(Reconnect, WhatIsOnItsWayWhenItsSenderLeavesHasTime) {
  // Several round trips' worth, for a connection that is back shortly before two seconds are over.
  Cutting net(2, milliseconds(20'000), milliseconds(3'500), milliseconds(120));
  constexpr std::uint32_t kMany = 4'000;
  std::vector<std::uint8_t> bytes(Outgoing::kCopiedBytes, 4);
  net.hold(true);
  net.cut_all();
  for (std::uint32_t i = 0; i < kMany; ++i) {
    const Tag tag{.operation = i};
    ASSERT_TRUE(net.player(0).send_blocking(1, bytes, tag, in_ms(20'000)).ok());
  }
  std::jthread leaves([&] { net.leave(0); });
  const Deadline end = in_ms(1'000);
  while (in_ms(0) < end) std::this_thread::yield();
  net.hold(false);
  for (std::uint32_t i = 0; i < kMany; ++i) {
    const Result<void> result =
        net.player(1).recv_blocking(0, bytes, {.operation = i}, in_ms(20'000));
    ASSERT_TRUE(result.ok()) << i << ": " << result.error().message;
  }
}

}  // namespace
}  // namespace beaverpond
