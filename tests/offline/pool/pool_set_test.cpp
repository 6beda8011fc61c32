#include "offline/pool/pool_set.h"

#include <gtest/gtest.h>

#include <optional>

#include "tests/offline/pool/memory_disk.h"
#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {
namespace {

/// All folders on one machine, as with one factory process.
TestSite one_machine(MemoryDisk& disk, int players) {
  TestSite site;
  site.storage = &disk;
  site.root = "/f/p";
  site.players = players;
  EXPECT_TRUE(disk.make_directory("/f").ok());
  site.make_machines();
  EXPECT_TRUE(disk.sync_directory("/f").ok());
  return site;
}

std::size_t count_segments(MemoryDisk& disk, const TestSite& site, int player) {
  std::size_t count = 0;
  for (const std::string& path : disk.files(site.directory(player))) {
    count += path.ends_with(kSegmentSuffix) ? 1 : 0;
  }
  return count;
}

TEST(PoolSet, SurveyCountsWhatAllHaveAndNobodyLeased) {
  MemoryDisk disk;
  const TestSite site = one_machine(disk, 2);
  auto pools = PoolSet::open(site.set_options());
  ASSERT_TRUE(pools.ok()) << pools.error().message;
  EXPECT_EQ(pools->survey(test_key())->next_number, 0u);
  ASSERT_TRUE(site.publish(*pools, 0, 4, 1).ok());
  ASSERT_TRUE(site.publish(*pools, 10, 4, 2).ok());
  EXPECT_EQ(pools->survey(test_key())->level_bundles, 8u);
  EXPECT_EQ(pools->survey(test_key())->next_number, 14u);
  auto engine = Pool::open(site.pool_options(1));
  const auto ranges = engine->ranges(test_key()).value();
  ASSERT_TRUE(engine->claim_blocking(test_key(), claim_of(ranges, 0, 3, 2)).ok());
  EXPECT_EQ(pools->survey(test_key())->level_bundles, 5u);
  ASSERT_TRUE(disk.unlink(site.segment_path(0, {10, 4, test_set_id(2)})).ok());
  EXPECT_EQ(pools->survey(test_key())->level_bundles, 1u);
  EXPECT_EQ(pools->survey(test_key())->next_number, 14u);
  EXPECT_GT(pools->used_bytes().value(), 3 * 8192u);
}

TEST(PoolSet, NumberingContinuesAboveWatermarksAndWitnesses) {
  MemoryDisk disk;
  const TestSite site = one_machine(disk, 2);
  ASSERT_TRUE(site.publish_once(0, 4, 1).ok());
  {
    auto engine = Pool::open(site.pool_options(0));
    const auto ranges = engine->ranges(test_key()).value();
    Claim claim = claim_of(ranges, 0, 4, 2);
    claim.witnesses = {0, 50};
    ASSERT_TRUE(engine->claim_blocking(test_key(), claim).ok());
  }
  auto pools = PoolSet::open(site.set_options());
  EXPECT_EQ(pools->survey(test_key())->next_number, 50u);
}

TEST(PoolSet, CleanKeepsWhatAnEngineHasHalfErased) {
  MemoryDisk disk;
  const TestSite site = one_machine(disk, 2);
  auto pools = PoolSet::open(site.set_options());
  ASSERT_TRUE(site.publish(*pools, 0, 4, 1).ok());
  const PublishedRange range{0, 4, test_set_id(1)};
  for (const int player : {0, 1}) {
    auto engine = Pool::open(site.pool_options(player));
    ASSERT_TRUE(engine->claim_blocking(test_key(), claim_of({range}, 0, 4, 2)).ok());
    if (player == 0) engine->release(test_key(), 4);
    // Player 0 has erased the segment; player 1 is still reading it.
    if (player == 1) {
      ASSERT_TRUE(pools->clean(test_key()).ok());
      EXPECT_TRUE(disk.exists(site.segment_path(1, range)).value());
      EXPECT_TRUE(engine->read_bundle_blocking(test_key(), 0).ok());
    }
  }
}

TEST(PoolSet, OneFactoryAtATimeAndTheRightOrder) {
  MemoryDisk disk;
  const TestSite site = one_machine(disk, 2);
  {
    const auto pools = PoolSet::open(site.set_options());
    EXPECT_EQ(PoolSet::open(site.set_options()).error().code, ErrorCode::kPoolBusy);
  }
  PoolSetOptions options = site.set_options();
  std::swap(options.directories[0], options.directories[1]);
  EXPECT_EQ(PoolSet::open(options).error().code, ErrorCode::kRosterMismatch);
  options = site.set_options();
  options.directories.pop_back();
  EXPECT_EQ(PoolSet::open(options).error().code, ErrorCode::kConfig);
  options = site.set_options();
  options.directories[1] = options.directories[0];
  EXPECT_EQ(PoolSet::open(options).error().code, ErrorCode::kPoolBusy);
}

/// False once a disk that refuses that write no longer keeps a range from being published.
bool full_disk_leaves_nothing(std::uint64_t write, std::uint64_t correction_size) {
  MemoryDisk disk;
  TestSite site = one_machine(disk, 3);
  site.correction_size = correction_size;
  auto pools = PoolSet::open(site.set_options());
  EXPECT_TRUE(pools.ok());
  disk.refuse_write("/f", write);
  const auto published = site.publish(*pools, 0, 6, 1);
  if (published.ok()) {
    EXPECT_GT(write, 6u);
    return false;
  }
  EXPECT_EQ(published.error().code, ErrorCode::kNoSpace);
  for (int player = 0; player < 3; ++player) {
    for (const std::string& path : disk.files(site.directory(player))) {
      EXPECT_FALSE(path.ends_with(kTemporarySuffix)) << path;
      EXPECT_FALSE(path.ends_with(kSegmentSuffix)) << path;
    }
  }
  EXPECT_TRUE(site.publish(*pools, 0, 6, 2).ok());
  return true;
}

TEST(PoolSet, FullDiskLeavesNothingPublished) {
  // In one write a file, and in several that lie behind.
  for (const std::uint64_t size : {200u, 100000u}) {
    std::uint64_t write = 0;
    while (full_disk_leaves_nothing(write, size)) ASSERT_LT(++write, 60u);
    EXPECT_GE(write, size < 1000 ? 15u : 18u);
  }
}

/// Power fails before the n-th operation of a publication; what is left must be whole on every
/// player or consumable by none, and a new factory must get past it.
void crash_while_publishing(int players, std::uint64_t n, Loss loss, bool power_loss,
                            bool& finished) {
  MemoryDisk disk;
  TestSite site = one_machine(disk, players);
  if (players == 2) site.correction_size = 50000;  // several pieces a file
  ASSERT_TRUE(site.publish_once(0, 3, 1).ok());
  {
    auto pools = PoolSet::open(site.set_options());
    ASSERT_TRUE(pools.ok());
    disk.stop_after("/f", n);
    finished = site.publish(*pools, 3, 5, 2).ok();
  }
  if (power_loss) {
    disk.crash("/f", loss, n + 1);
  } else {
    disk.restart("/f");
  }
  auto pools = PoolSet::open(site.set_options());
  ASSERT_TRUE(pools.ok()) << pools.error().message;
  ASSERT_TRUE(pools->clean(test_key()).ok());
  const auto survey = pools->survey(test_key());
  ASSERT_TRUE(survey.ok());
  ASSERT_TRUE(survey->level_bundles == 3 || survey->level_bundles == 8);
  if (finished) {
    EXPECT_EQ(survey->level_bundles, 8u);
  }
  const std::size_t segments = survey->level_bundles == 3 ? 1 : 2;
  for (int player = 0; player < players; ++player) {
    EXPECT_EQ(count_segments(disk, site, player), segments);
  }
  ASSERT_TRUE(site.publish(*pools, survey->next_number, 2, 3).ok());
  for (int player = 0; player < players; ++player) {
    auto engine = Pool::open(site.pool_options(player));
    ASSERT_TRUE(engine.ok());
    const auto ranges = engine->ranges(test_key());
    ASSERT_TRUE(ranges.ok()) << ranges.error().message;
    const std::uint64_t end = ranges->back().end();
    ASSERT_TRUE(engine->claim_blocking(test_key(), claim_of(*ranges, 0, end, players)).ok());
    for (std::uint64_t number = 0; number < end; ++number) {
      const auto bundle = engine->read_bundle_blocking(test_key(), number);
      ASSERT_TRUE(bundle.ok()) << bundle.error().message;
      const std::uint64_t tag = number < 3 ? 1 : number < survey->next_number ? 2 : 3;
      site.expect_bundle(*bundle, player, tag, number);
    }
  }
}

TEST(PoolSet, CrashBetweenAnyTwoOperationsOfAPublication) {
  for (const int players : {2, 3}) {
    for (const Loss loss : {Loss::kDropAll, Loss::kTornSectors}) {
      for (const bool power_loss : {true, false}) {
        bool finished = false;
        for (std::uint64_t n = 0; !finished; ++n) {
          ASSERT_LT(n, 200u);
          crash_while_publishing(players, n, loss, power_loss, finished);
          ASSERT_FALSE(HasFatalFailure()) << "players " << players << " operation " << n;
        }
      }
    }
  }
}

}  // namespace
}  // namespace beaverpond::testing
