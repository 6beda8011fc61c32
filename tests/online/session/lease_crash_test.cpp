// Power loss between any two storage operations of any player: no bundle is handed out to two
// leases. The oracle records what leases gave, not what ledgers say.
#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "tests/online/session/cluster.h"

namespace beaverpond::testing {
namespace {

class Oracle {
 public:
  void record(std::uint64_t session, std::uint64_t number) {
    const std::lock_guard<std::mutex> guard(mutex_);
    const auto [at, fresh] = spent_in_.emplace(number, session);
    if (!fresh && at->second != session) ++reused_;
  }
  std::size_t reused() const { return reused_; }
  std::size_t spent() const { return spent_in_.size(); }

 private:
  std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> spent_in_;
  std::size_t reused_ = 0;
};

struct Scenario {
  int players = 2;
  int victim = 0;
  bool all_lose_power = false;  ///< otherwise only the victim's machine does
  Loss loss = Loss::kDropAll;
  MemoryDisk::Mutant mutant = MemoryDisk::Mutant::kNone;
};

/// Leases and spends until an error; true if the pool ran dry, the normal end.
bool consume(Cluster& cluster, Oracle& oracle) {
  std::vector<int> dry(static_cast<std::size_t>(cluster.site.players));
  cluster.run([&](int player, Transport& transport) {
    auto pool = cluster.open_pool(player);
    if (!pool.ok()) return;
    auto session = Session::create_blocking(transport, in_ms(20000));
    if (!session.ok()) return;
    LeaseAgreement agreement(*pool, transport, *session, cluster.lease_options(3));
    while (true) {
      auto lease = agreement.acquire_blocking(0, 100, in_ms(0));
      if (!lease.ok()) {
        dry[static_cast<std::size_t>(player)] = lease.error().code == ErrorCode::kPoolDry;
        return;
      }
      while (lease->remaining() > 0) {
        const auto bundle = lease->next();
        if (!bundle.ok()) return;
        cluster.site.expect_bundle(*bundle, player, bundle->number() < 5 ? 1 : 2, bundle->number());
        oracle.record(session->id(), bundle->number());
      }
    }
  });
  return std::all_of(dry.begin(), dry.end(), [](int d) { return d != 0; });
}

/// One run that loses power before the victim's n-th operation, and one after it.
std::size_t crash_once(const Scenario& scenario, std::uint64_t n, bool& finished) {
  Cluster cluster(scenario.players);
  EXPECT_TRUE(cluster.site.publish_once(0, 5, 1).ok());
  EXPECT_TRUE(cluster.site.publish_once(5, 4, 2).ok());
  Oracle oracle;
  cluster.disk.plant(scenario.mutant);
  cluster.disk.stop_after(cluster.site.machine(scenario.victim), n);
  finished = consume(cluster, oracle);
  for (int player = 0; player < scenario.players; ++player) {
    if (scenario.all_lose_power || player == scenario.victim) {
      cluster.disk.crash(cluster.site.machine(player), scenario.loss, 1000 * n + 7);
    } else {
      cluster.disk.restart(cluster.site.machine(player));
    }
  }
  const bool dry = consume(cluster, oracle);
  if (scenario.mutant == MemoryDisk::Mutant::kNone) {
    EXPECT_TRUE(dry) << "the restart did not get to the end, operation " << n;
  }
  return oracle.reused();
}

std::size_t crash_everywhere(const Scenario& scenario) {
  std::size_t reused = 0;
  bool finished = false;
  for (std::uint64_t n = 0; !finished && !::testing::Test::HasFailure(); ++n) {
    EXPECT_LT(n, 1000u);
    reused += crash_once(scenario, n, finished);
  }
  return reused;
}

TEST(LeaseCrash, NoBundleIsHandedOutTwice) {
  for (const int players : {2, 3}) {
    for (int victim = 0; victim < players; ++victim) {
      for (const bool all : {false, true}) {
        for (const Loss loss : {Loss::kDropAll, Loss::kTornSectors}) {
          const Scenario scenario{players, victim, all, loss, MemoryDisk::Mutant::kNone};
          ASSERT_EQ(crash_everywhere(scenario), 0u)
              << players << " players, victim " << victim << ", all " << all;
        }
      }
    }
  }
}

TEST(LeaseCrash, MutantWithoutSyncIsCaught) {
  const Scenario scenario{2, 0, true, Loss::kDropAll, MemoryDisk::Mutant::kSkipSync};
  EXPECT_GT(crash_everywhere(scenario), 0u);
}

}  // namespace
}  // namespace beaverpond::testing
