// A million ways to lose power: N players and a factory on simulated disks, crashed at any point,
// with everything else that goes wrong with disks and networks. No bundle is opened twice, nothing
// becomes unreadable, and service resumes.
#include <gtest/gtest.h>

#include "tests/online/session/sim/world.h"
#include "tests/soak.h"

namespace beaverpond::testing {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr int kShare = 10;  // the sanitizers see the same code paths in fewer crashes
#else
constexpr int kShare = 1;
#endif

WorldStats campaign(WorldOptions options, std::uint64_t crashes, std::uint64_t seed) {
  WorldStats all;
  while (all.crashes() < crashes && all.problems() == 0) {
    options.seed = ++seed;
    all.add(World(options).run());
  }
  return all;
}

void expect_sound(const WorldStats& stats) {
  EXPECT_EQ(stats.reused, 0u) << stats.first_problem;
  EXPECT_EQ(stats.unreadable, 0u) << stats.first_problem;
  EXPECT_EQ(stats.wrong, 0u) << stats.first_problem;
  EXPECT_EQ(stats.stuck, 0u) << stats.first_problem;
  // The campaign was one: bundles were spent, and all that can go wrong did.
  EXPECT_GT(stats.spent, stats.crashes() / 20);
  EXPECT_GT(stats.power_losses, stats.crashes() / 2);
}

void print(const char* name, const WorldStats& s) {
  std::printf(
      "%s: %llu cycles, %llu crashes (%llu power losses, %llu kills), %llu leases, %llu bundles "
      "spent, %llu rollbacks (%llu refused), %llu rots, %llu disk errors, %llu cut links\n",
      name, static_cast<unsigned long long>(s.cycles), static_cast<unsigned long long>(s.crashes()),
      static_cast<unsigned long long>(s.power_losses), static_cast<unsigned long long>(s.kills),
      static_cast<unsigned long long>(s.leases), static_cast<unsigned long long>(s.spent),
      static_cast<unsigned long long>(s.rollbacks), static_cast<unsigned long long>(s.refusals),
      static_cast<unsigned long long>(s.rots), static_cast<unsigned long long>(s.disk_errors),
      static_cast<unsigned long long>(s.cuts));
}

TEST(Campaign, TwoPlayersNeverOpenABundleTwice) {
  WorldOptions options;
  options.players = 2;
  const auto crashes = static_cast<std::uint64_t>(campaign_size(50000, 500000) / kShare);
  const WorldStats stats = campaign(options, crashes, 1000000);
  print("two players", stats);
  expect_sound(stats);
  EXPECT_GE(stats.crashes(), crashes);
  EXPECT_GT(stats.kills * stats.rollbacks * stats.rots * stats.disk_errors * stats.cuts, 0u);
  EXPECT_GT(stats.refusals, 0u);
}

TEST(Campaign, ThreePlayersNeverOpenABundleTwice) {
  WorldOptions options;
  options.players = 3;
  options.subsets = true;
  const auto crashes = static_cast<std::uint64_t>(campaign_size(50000, 500000) / kShare);
  const WorldStats stats = campaign(options, crashes, 2000000);
  print("three players", stats);
  expect_sound(stats);
  EXPECT_GE(stats.crashes(), crashes);
  EXPECT_GT(stats.kills * stats.rollbacks * stats.rots * stats.disk_errors * stats.cuts, 0u);
}

TEST(Campaign, StepsOfTwoPlansAreLeasedTogetherOrNotAtAll) {
  WorldOptions options;
  options.players = 2;
  options.classes = 2;
  const auto crashes = static_cast<std::uint64_t>(campaign_size(5000, 50000) / kShare);
  const WorldStats stats = campaign(options, crashes, 3000000);
  print("two plans", stats);
  expect_sound(stats);
}

/// Runs worlds with a mistake planted in the pool until the oracle has seen `counter` of them. Only
/// what a pool must survive by itself: whole sites lose power, nobody is left who remembers.
void expect_caught(PoolMutant mutant, std::uint64_t WorldStats::*counter) {
  WorldOptions options;
  options.faults = false;
  options.all_lose_power = true;
  options.lose_power_in_claims = true;
  options.torn_words = true;
  // The same without the mistake: what is caught is the mistake.
  expect_sound(campaign(options, 1000, 5000000));
  options.mutant = mutant;
  WorldStats all;
  for (options.seed = 5000001; all.*counter == 0 && all.crashes() < 200000; ++options.seed) {
    all.add(World(options).run());
  }
  EXPECT_GT(all.*counter, 0u) << "not caught in " << all.crashes() << " crashes";
  std::printf("caught after %llu crashes: %s\n", static_cast<unsigned long long>(all.crashes()),
              all.first_problem.c_str());
}

TEST(CampaignMutant, NoFsyncIsCaught) {
  expect_caught(PoolMutant::kNoSync, &WorldStats::reused);
}

TEST(CampaignMutant, DurableSentBeforeTheFsyncIsCaught) {
  expect_caught(PoolMutant::kLateSync, &WorldStats::reused);
}

TEST(CampaignMutant, SingleSlotIsCaught) {
  expect_caught(PoolMutant::kSingleSlot, &WorldStats::unreadable);
}

TEST(CampaignMutant, NoChecksumIsCaught) {
  expect_caught(PoolMutant::kNoChecksum, &WorldStats::reused);
}

}  // namespace
}  // namespace beaverpond::testing
