// `triple-factory serve` with a delivery and three `triple-factory pull`, as processes that are
// killed at random while bundles are spent.
#include <random>
#include <set>

#include "offline/pool/pool.h"
#include "tests/offline/factory/program_fixture.h"
#include "tests/offline/factory/test_identity.h"
#include "tests/offline/pool/pool_fixture.h"
#include "tests/soak.h"

namespace beaverpond::testing {
namespace {

class DeliveryProgram : public TripleFactory {
 protected:
  static constexpr int kPlayers = 3;

  void SetUp() override {
    TripleFactory::SetUp();
    roster_.players.clear();
    for (int i = 0; i < kPlayers; ++i) {
      RosterPlayer player;
      player.name = "player" + std::to_string(i);
      player.host = "127.0.0.1";
      player.certificate = make_test_home(home(i), player.name);
      const auto pool_key = create_pool_key(home(i) + "/pool.key");
      ASSERT_TRUE(pool_key.ok()) << pool_key.error().message;
      player.pool_key = *pool_key;
      roster_.players.push_back(player);
    }
    RosterFactory factory;
    factory.host = "127.0.0.1";
    factory.certificate = make_test_home(root_ + "/factory", "factory");
    roster_.factory = factory;
    write_rosters();
    write_config(0);
    // The first factory takes any port; the rosters then name it.
    ASSERT_NO_FATAL_FAILURE(start_factory());
    const std::string output = read("out.txt");
    const std::size_t at = output.find("https://127.0.0.1:");
    ASSERT_NE(at, std::string::npos) << output;
    roster_.factory->port = static_cast<std::uint16_t>(std::stoi(output.substr(at + 18)));
    write_rosters();
    write_config(roster_.factory->port);
    for (int i = 0; i < kPlayers; ++i) start_pull(i);
  }
  void TearDown() override {
    for (const pid_t child : {factory_, pulls_[0], pulls_[1], pulls_[2]}) {
      if (child <= 0) continue;
      ::kill(child, SIGTERM);
      EXPECT_EQ(wait_for(child), 0) << read("err.txt");
    }
    TripleFactory::TearDown();
  }

  std::string home(int player) const { return root_ + "/home" + std::to_string(player); }
  void write_rosters() const {
    ASSERT_TRUE(write_roster_file(root_ + "/roster.toml", roster_).ok());
    for (int i = 0; i < kPlayers; ++i) {
      ASSERT_TRUE(write_roster_file(home(i) + "/roster.toml", roster_).ok());
    }
  }
  void write_config(std::uint16_t port) const {
    std::ofstream(root_ + "/factory.toml")
        << "roster = \"roster.toml\"\nthreads = 1\n"
        << "[delivery]\nlisten = \"127.0.0.1:" << port << "\"\nhome = \"factory\"\n"
        << "spool = \"spool\"\n"
        << "[[class]]\nname = \"one\"\nplan = \"x.plan\"\nsegment_bundles = 4\n"
        << "low_bundles = 20\nhigh_bundles = 24\n";
  }
  void start_factory() {
    factory_ =
        start(std::string(TRIPLE_FACTORY) + " serve --json --config " + root_ + "/factory.toml");
    ASSERT_TRUE(wait_for_output(R"("factory":"listening")"));
  }
  void start_pull(int player) {
    const std::string name = "pull" + std::to_string(player) + ".txt";
    pulls_[player] =
        start(std::string(TRIPLE_FACTORY) + " pull --json --home " + home(player), name);
  }
  static void murder(pid_t child) {
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    wait_for(child);
  }

  /// Spends up to `limit` bundles that all players hold; no number and no seed may come twice.
  std::uint64_t spend(std::uint64_t limit) {
    std::vector<Pool> pools;
    std::vector<std::vector<PublishedRange>> published;
    for (int player = 0; player < kPlayers; ++player) {
      PoolOptions options;
      options.directory = home(player) + "/pool";
      options.identity.pool_id = roster_.pool_id;
      options.identity.epoch = roster_.epoch;
      options.identity.roster_hash = roster_hash(roster_);
      options.identity.player = player;
      options.identity.players = kPlayers;
      options.storage = &storage_;
      options.dealer_key = roster_.dealer_key;
      options.pool_key = roster_.players[static_cast<std::size_t>(player)].pool_key;
      auto pool = Pool::open(options);
      EXPECT_TRUE(pool.ok()) << pool.error().message;
      if (!pool.ok()) return 0;
      published.push_back(pool->ranges(key_).value());
      pools.push_back(std::move(pool).value());
    }
    std::uint64_t spent = 0;
    for (const PublishedRange& range : common_ranges(published)) {
      std::uint64_t first = range.first;
      for (Pool& pool : pools) first = std::max(first, pool.watermark(key_).value());
      const std::uint64_t end = std::min(range.end(), first + limit - spent);
      if (first >= end) continue;
      for (Pool& pool : pools) {
        const Claim claim = claim_of({range}, first, end, kPlayers);
        EXPECT_TRUE(pool.claim_blocking(key_, claim).ok());
        for (std::uint64_t number = first; number < end; ++number) {
          const auto bundle = pool.read_bundle_blocking(key_, number);
          EXPECT_TRUE(bundle.ok());
          EXPECT_TRUE(seeds_.insert(to_hex(bundle->seed().bytes())).second) << number;
        }
      }
      spent += end - first;
    }
    return spent;
  }

  pid_t factory_ = -1;
  pid_t pulls_[kPlayers] = {-1, -1, -1};
  std::set<std::string> seeds_;
};

TEST_F(DeliveryProgram, ServiceGoesOnByItselfWhileItsPartsAreKilled) {
  std::mt19937_64 random(5);
  std::uint64_t spent = 0;
  const int cycles = campaign_size(12, 500);
  for (int cycle = 0; cycle < cycles; ++cycle) {
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 400));
    const int victim = static_cast<int>(random() % (kPlayers + 1));
    if (victim == kPlayers) {
      murder(factory_);
      ASSERT_NO_FATAL_FAILURE(start_factory());
    } else {
      murder(pulls_[victim]);
      start_pull(victim);
    }
    spent += spend(random() % 12);
    ASSERT_FALSE(HasFailure()) << "cycle " << cycle;
  }
  // Nothing is killed any more: bundles keep coming, past the first filling.
  const std::uint64_t goal = spent + 60;
  for (int i = 0; i < 6000 && spent < goal; ++i) {
    spent += spend(8);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_GE(spent, goal) << read("out.txt") << read("pull0.txt") << read("err.txt");
  EXPECT_EQ(seeds_.size(), spent * kPlayers);
}

}  // namespace
}  // namespace beaverpond::testing
