// Homes become connected players, if all agree on what is run.
#include "online/player/player.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "kernels/pinning.h"
#include "online/transport/tls.h"
#include "tests/online/transport/players.h"

namespace beaverpond::testing {
namespace {

using ::testing::HasSubstr;

constexpr int kPlayers = 2;

Undertaking undertaking() {
  Undertaking what;
  what.source = "job.toml";
  what.players = kPlayers;
  what.plan.fill(1);
  what.agreed = {{what.plan, "the plans differ"}, {{}, "the programs differ"}};
  what.network.connect_timeout_ms = 5000;
  return what;
}

class PlayerHomes : public ::testing::Test {
 protected:
  PlayerHomes() { BP_CHECK(keygen_all(folder_.path(), kPlayers, 0).ok(), "keygen"); }

  PlayerOptions options(int rank) const {
    PlayerOptions options;
    options.home = folder_.path() + "/player" + std::to_string(rank);
    options.task = "test";
    return options;
  }

  /// Both players at once; what each got. `change` alters what player 1 is told.
  std::vector<Error> connect(const std::function<void(Undertaking&, PlayerOptions&)>& change) {
    std::vector<Listener> listeners;
    std::vector<std::string> peers;
    for (int rank = 0; rank < kPlayers; ++rank) {
      listeners.push_back(listen_on("127.0.0.1", 0).value());
      peers.push_back("127.0.0.1:" + std::to_string(listeners.back().port));
    }
    std::vector<Error> errors(kPlayers);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < kPlayers; ++rank) {
      threads.emplace_back([&, rank] {
        const auto index = static_cast<std::size_t>(rank);
        Undertaking what = undertaking();
        PlayerOptions mine = options(rank);
        mine.peers = peers;
        mine.listen_descriptor = listeners[index].descriptor;
        mine.pin = pin;
        mine.threads = pin ? 1 : 0;
        if (rank == 1) change(what, mine);
        const auto player = Player::connect_blocking(what, mine);
        if (!player.ok()) {
          errors[index] = player.error();
          return;
        }
        EXPECT_EQ((*player)->rank(), rank);
        if (connected) connected(rank);
        const Result<void> finished = (*player)->finish_blocking();
        if (!finished.ok()) errors[index] = finished.error();
      });
    }
    for (std::thread& thread : threads) thread.join();
    return errors;
  }

  std::function<void(int rank)> connected;  ///< called on the player's thread
  bool pin = false;                         ///< both players

  TemporaryFolder folder_;
};

TEST_F(PlayerHomes, ConnectWhenAllAgree) {
  for (const Error& error : connect([](Undertaking&, PlayerOptions&) {})) {
    EXPECT_EQ(error.message, "");
  }
}

TEST_F(PlayerHomes, PinnedPlayersOfOneHostGetCpusOfTheirOwn) {
  const std::vector<int> usable = usable_cpus();
  pin = true;
  std::vector<int> where[kPlayers];
  connected = [&](int rank) { where[rank] = usable_cpus(); };
  const std::vector<Error> errors = connect([](Undertaking&, PlayerOptions&) {});
  for (int rank = 0; rank < kPlayers; ++rank) {
    const auto place = static_cast<std::size_t>(rank);
    if (usable.size() >= kPlayers) {
      EXPECT_EQ(errors[place].message, "");
      EXPECT_EQ(where[rank], std::vector<int>{usable[place]});
    } else {
      EXPECT_EQ(errors[place].code, ErrorCode::kConfig);
      EXPECT_THAT(errors[place].message, HasSubstr("--pin needs a CPU"));
    }
  }
  EXPECT_EQ(usable_cpus(), usable);  // of a thread that nobody asked to pin
}

TEST_F(PlayerHomes, BothSidesAreToldWhatDiffers) {
  const std::pair<const char*, std::function<void(Undertaking&, PlayerOptions&)>> cases[] = {
      {"the plans differ", [](Undertaking& what, PlayerOptions&) { what.agreed[0].hash.fill(9); }},
      {"the programs differ",
       [](Undertaking& what, PlayerOptions&) { what.agreed[1].hash.fill(9); }},
      {"the tasks differ", [](Undertaking&, PlayerOptions& mine) { mine.task = "other"; }},
      {"on lane 3", [](Undertaking&, PlayerOptions& mine) { mine.lane = 3; }}};
  for (const auto& [text, change] : cases) {
    for (const Error& error : connect(change)) {
      EXPECT_EQ(error.code, ErrorCode::kRosterMismatch);
      EXPECT_THAT(error.message, HasSubstr(text));
    }
  }
}

TEST_F(PlayerHomes, AnotherTransportIsAnotherTask) {
  const auto peculiar = connect([](Undertaking&, PlayerOptions& mine) {
    mine.task = "test";
    mine.transport = "carrier pigeon";
  });
  EXPECT_EQ(peculiar[1].code, ErrorCode::kConfig);
  EXPECT_THAT(peculiar[1].message,
              HasSubstr("'carrier pigeon' is no transport; write tls, nccl or mpi"));
}

TEST_F(PlayerHomes, NcclIsRefusedWhereTheRosterDoesNotTrustTheFabric) {
  PlayerOptions mine = options(0);
  mine.transport = "nccl";
  const auto player = Player::connect_blocking(undertaking(), mine);
  ASSERT_FALSE(player.ok());
  EXPECT_EQ(player.error().code, ErrorCode::kConfig);
  EXPECT_THAT(player.error().message, HasSubstr("neither encrypts nor authenticates"));
  EXPECT_THAT(player.error().message, HasSubstr("trusted_fabric = true"));
}

TEST_F(PlayerHomes, NcclIsForGpus) {
  PlayerOptions mine = options(0);
  mine.transport = "nccl";
  mine.device = "cpu";
  const Home home{mine.home};
  Roster roster = read_roster_file(home.roster_path()).value();
  roster.trusted_fabric = true;
  ASSERT_TRUE(write_roster_file(home.roster_path(), roster).ok());
  const auto player = Player::connect_blocking(undertaking(), mine);
  ASSERT_FALSE(player.ok());
  EXPECT_EQ(player.error().code, ErrorCode::kConfig);
  EXPECT_THAT(player.error().message, HasSubstr("add --device cuda"));
}

TEST_F(PlayerHomes, ARosterOfAnotherSizeIsRefusedBeforeConnecting) {
  Undertaking what = undertaking();
  what.players = 3;
  const auto player = Player::connect_blocking(what, options(0));
  ASSERT_FALSE(player.ok());
  EXPECT_EQ(player.error().code, ErrorCode::kConfig);
  EXPECT_THAT(player.error().message, HasSubstr("job.toml is for 3 players"));
}

TEST_F(PlayerHomes, PeersMustBeAddressesOfAllPlayers) {
  PlayerOptions mine = options(0);
  mine.peers = {"127.0.0.1:7000"};
  auto player = Player::connect_blocking(undertaking(), mine);
  ASSERT_FALSE(player.ok());
  EXPECT_THAT(player.error().message, HasSubstr("names 1 addresses, the roster has 2"));
  mine.peers = {"127.0.0.1:7000", "127.0.0.1:0"};
  player = Player::connect_blocking(undertaking(), mine);
  ASSERT_FALSE(player.ok());
  EXPECT_THAT(player.error().message, HasSubstr("'127.0.0.1:0' is not host:port"));
}

TEST_F(PlayerHomes, AHomeOfNobodyInTheRosterIsRefused) {
  const Home stranger{folder_.path() + "/stranger"};
  ASSERT_TRUE(generate_identity(stranger, "stranger").ok());
  const Roster roster = read_roster_file(Home{options(0).home}.roster_path()).value();
  const Result<int> rank = rank_of_home(stranger, roster);
  ASSERT_FALSE(rank.ok());
  EXPECT_EQ(rank.error().code, ErrorCode::kRosterMismatch);
  EXPECT_EQ(rank_of_home(Home{options(1).home}, roster).value(), 1);
}

}  // namespace
}  // namespace beaverpond::testing
