// The relay between players who are far apart: what it delays, what it leaves alone, and what the
// players find out about it.
#include "bench/relay/relay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "online/session/plan_choice.h"
#include "tests/online/transport/players.h"

namespace beaverpond::testing {
namespace {

using std::chrono::milliseconds;

/// Two players, each direction between whom takes 100 ms.
class FarPlayers : public ::testing::Test {
 protected:
  static constexpr milliseconds kDelay{100};
  static constexpr double kOneWay = std::chrono::duration<double>(kDelay).count();

  void SetUp() override {
    std::vector<TlsOptions> options = {setup_.options(0), setup_.options(1)};
    RelayOptions far;
    far.delay = kDelay;
    const std::array<std::uint16_t, 1> target = {options[0].players[0].port};
    relay_ = Relay::listen(target, far).value();
    options[1].players[0].port = relay_->port(0);
    relay_->start();
    for (Result<TlsConnected>& connected : connect_each(std::move(options))) {
      ASSERT_TRUE(connected.ok()) << connected.error().message;
      players_.push_back(std::move(connected->transport));
    }
  }
  Transport& player(int rank) { return *players_[static_cast<std::size_t>(rank)]; }

  TlsPlayers setup_{2};
  std::unique_ptr<Relay> relay_;
  std::vector<std::unique_ptr<Transport>> players_;
};

TEST_F(FarPlayers, BytesComeLateWholeAndInOrder) {
  // Far more than what a connection holds at once: the delay is no bandwidth.
  std::vector<std::uint8_t> sent(12u << 20);
  std::iota(sent.begin(), sent.end(), std::uint8_t{0});
  const auto start = std::chrono::steady_clock::now();
  run_players(2, [&](int rank) {
    const std::vector<std::uint8_t> none;
    const auto got =
        player(rank).all_gather_messages_blocking(rank == 0 ? sent : none, Tag{1}, in_ms(20'000));
    ASSERT_TRUE(got.ok()) << got.error().message;
    EXPECT_TRUE((*got)[0] == sent);
    EXPECT_GE(seconds_since(start), kOneWay);
  });
  EXPECT_GE(relay_->bytes(), sent.size());
  // Not so many delays as there are buffers of a socket.
  EXPECT_LT(seconds_since(start), 5);
}

TEST_F(FarPlayers, ARoundIsFoundToCostHalfARoundTripInStepOrNot) {
  for (const bool late : {false, true}) {
    const std::uint64_t before = player(1).stats().received_bytes;
    run_players(2, [&](int rank) {
      if (late && rank == 1) {  // begins when the other's first message is there
        const Deadline patience = in_ms(20'000);
        while (player(1).stats().received_bytes == before && in_ms(0) < patience) {
          std::this_thread::yield();
        }
      }
      const Tag tag{late ? 3u : 2u, 0, 0, kPlanOperation};
      const auto round = measure_round_blocking(player(rank), tag, in_ms(20'000));
      ASSERT_TRUE(round.ok()) << round.error().message;
      // A single one takes players who are out of step two delays and none in turn.
      EXPECT_GE(static_cast<double>(*round) / 1e9, 0.95 * kOneWay);
      EXPECT_LT(static_cast<double>(*round) / 1e9, 1.6 * kOneWay);
    });
  }
}

}  // namespace
}  // namespace beaverpond::testing
