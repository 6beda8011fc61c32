#include "offline/pool/pool.h"

#include <gtest/gtest.h>

#include "tests/offline/pool/memory_disk.h"
#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {
namespace {

class PoolTest : public ::testing::Test {
 protected:
  void SetUp() override {
    site_.storage = &disk_;
    site_.make_machines();
  }

  Pool open(int player = 0) {
    auto pool = Pool::open(site_.pool_options(player));
    EXPECT_TRUE(pool.ok()) << pool.error().message;
    return std::move(pool).value();
  }

  void claim(Pool& pool, std::uint64_t first, std::uint64_t end) {
    auto ranges = pool.ranges(test_key());
    ASSERT_TRUE(ranges.ok()) << ranges.error().message;
    std::vector<PublishedRange> segments;
    for (const auto& range : ranges.value()) {
      if (range.end() > first && range.first < end) segments.push_back(range);
    }
    const auto done = pool.claim_blocking(test_key(), claim_of(segments, first, end, 2));
    ASSERT_TRUE(done.ok()) << done.error().message;
  }

  MemoryDisk disk_;
  TestSite site_;
};

TEST_F(PoolTest, PublishedBundlesAreClaimedAndRead) {
  Pool pool = open();
  EXPECT_TRUE(pool.ranges(test_key())->empty());
  ASSERT_TRUE(site_.publish_once(0, 4, 1).ok());  // while the pool is open
  ASSERT_TRUE(site_.publish_once(4, 3, 2).ok());
  ASSERT_EQ(pool.ranges(test_key())->size(), 2u);
  claim(pool, 0, 6);
  EXPECT_EQ(pool.watermark(test_key()).value(), 6u);
  for (std::uint64_t number = 0; number < 6; ++number) {
    auto bundle = pool.read_bundle_blocking(test_key(), number);
    ASSERT_TRUE(bundle.ok()) << bundle.error().message;
    site_.expect_bundle(bundle.value(), 0, number < 4 ? 1 : 2, number);
  }
}

TEST_F(PoolTest, FailedSyncWhileOpeningALanePoisonsForEver) {
  { ASSERT_TRUE(open().watermark(test_key()).ok()); }
  bool reached_ledger = false;
  for (std::uint64_t sync = 0; sync < 4; ++sync) {  // three folders, then the ledger
    Pool pool = open();
    disk_.fail_sync(site_.machine(0), sync);
    const auto first = pool.watermark(test_key());
    ASSERT_EQ(first.error().code, ErrorCode::kIo) << sync;
    reached_ledger = first.error().message.ends_with("/ledger");
    const std::uint64_t operations = disk_.operations(site_.machine(0));
    const auto again = pool.watermark(test_key());
    ASSERT_FALSE(again.ok()) << "a failed sync is never retried";
    EXPECT_NE(again.error().message.find("earlier"), std::string::npos);
    EXPECT_EQ(pool.ranges(test_key(1)).error().code, ErrorCode::kIo) << "another lane";
    EXPECT_EQ(disk_.operations(site_.machine(0)), operations);
  }
  EXPECT_TRUE(reached_ledger);
}

TEST_F(PoolTest, SpentSegmentsAreErased) {
  ASSERT_TRUE(site_.publish_once(0, 4, 1).ok());
  ASSERT_TRUE(site_.publish_once(4, 4, 2).ok());
  const PublishedRange first{0, 4, test_set_id(1)};
  {
    Pool pool = open();
    claim(pool, 0, 6);
    for (std::uint64_t number = 0; number < 3; ++number) {
      ASSERT_TRUE(pool.read_bundle_blocking(test_key(), number).ok());
    }
    EXPECT_TRUE(disk_.exists(site_.segment_path(0, first)).value());
    const auto bundle = pool.read_bundle_blocking(test_key(), 3);
    EXPECT_FALSE(disk_.exists(site_.segment_path(0, first)).value());
    site_.expect_bundle(bundle.value(), 0, 1, 3);  // outlives the file
    claim(pool, 6, 8);
    pool.release(test_key(), 8);
    pool.release(test_key(), 6);
    EXPECT_FALSE(disk_.exists(site_.segment_path(0, {4, 4, test_set_id(2)})).value());
  }
  EXPECT_TRUE(
      disk_.exists(site_.segment_path(1, first)).value());  // the other player has not claimed
}

TEST_F(PoolTest, ClaimOfADeadProcessIsBurnedAndErased) {
  ASSERT_TRUE(site_.publish_once(0, 4, 1).ok());
  {
    Pool pool = open();
    claim(pool, 0, 4);
  }
  disk_.crash("/m0", Loss::kDropAll);
  Pool pool = open();
  EXPECT_EQ(pool.watermark(test_key()).value(), 4u);
  EXPECT_TRUE(pool.ranges(test_key())->empty());
  EXPECT_FALSE(disk_.exists(site_.segment_path(0, {0, 4, test_set_id(1)})).value());
}

TEST_F(PoolTest, SecondEngineIsRefused) {
  Pool pool = open();
  const auto second = Pool::open(site_.pool_options(0));
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::kPoolBusy);
}

TEST_F(PoolTest, FolderThatOthersMayEnterIsRefused) {
  disk_.set_mode(0750);
  const auto pool = Pool::open(site_.pool_options(0));
  ASSERT_FALSE(pool.ok());
  EXPECT_EQ(pool.error().code, ErrorCode::kConfig);
}

TEST_F(PoolTest, FolderOfAnotherPlayerOrEpochIsRefused) {
  { open(0); }
  PoolOptions options = site_.pool_options(0);
  options.identity.player = 1;
  EXPECT_EQ(Pool::open(options).error().code, ErrorCode::kRosterMismatch);
  options = site_.pool_options(0);
  options.identity.epoch = 99;
  EXPECT_EQ(Pool::open(options).error().code, ErrorCode::kRosterMismatch);
  disk_.content("/m0/pool/pool")[50] ^= 1;
  EXPECT_EQ(Pool::open(site_.pool_options(0)).error().code, ErrorCode::kPoolCorrupt);
}

TEST_F(PoolTest, DamagedHeaderIsNamedWhenListed) {
  ASSERT_TRUE(site_.publish_once(0, 4, 1).ok());
  disk_.content(site_.segment_path(0, {0, 4, test_set_id(1)}))[130] ^= 1;
  Pool pool = open();
  const auto ranges = pool.ranges(test_key());
  ASSERT_FALSE(ranges.ok());
  EXPECT_EQ(ranges.error().code, ErrorCode::kPoolCorrupt);
}

TEST_F(PoolTest, SegmentOfAnotherPlayerIsRefused) {
  ASSERT_TRUE(site_.publish_once(0, 4, 1).ok());
  const PublishedRange range{0, 4, test_set_id(1)};
  disk_.content(site_.segment_path(0, range)) = disk_.content(site_.segment_path(1, range));
  Pool pool = open();
  EXPECT_EQ(pool.ranges(test_key()).error().code, ErrorCode::kRosterMismatch);
}

TEST_F(PoolTest, FailedSyncPoisonsThePool) {
  ASSERT_TRUE(site_.publish_once(0, 4, 1).ok());
  Pool pool = open();
  const auto ranges = pool.ranges(test_key()).value();
  disk_.fail_sync("/m0", 0);
  EXPECT_EQ(pool.claim_blocking(test_key(), claim_of(ranges, 0, 2, 2)).error().code,
            ErrorCode::kIo);
  EXPECT_FALSE(pool.ranges(test_key()).ok());
  EXPECT_FALSE(pool.watermark(test_key()).ok());
  EXPECT_FALSE(pool.claim_blocking(test_key(), claim_of(ranges, 0, 2, 2)).ok());
  EXPECT_FALSE(pool.ranges(test_key(1)).ok());
}

TEST_F(PoolTest, FullDiskAtAClaimPoisonsThePool) {
  ASSERT_TRUE(site_.publish_once(0, 4, 1).ok());
  Pool pool = open();
  const auto ranges = pool.ranges(test_key()).value();
  disk_.refuse_write("/m0", 0);
  EXPECT_EQ(pool.claim_blocking(test_key(), claim_of(ranges, 0, 2, 2)).error().code,
            ErrorCode::kNoSpace);
  EXPECT_FALSE(pool.watermark(test_key()).ok());
}

TEST_F(PoolTest, FolderThatAnotherProcessMadeAndDidNotSyncHoldsDurableLedgers) {
  // That process was killed before its sync; the first to lose power then would lose the ledger.
  ASSERT_TRUE(disk_.make_directory(site_.directory(0)).ok());
  ASSERT_TRUE(site_.publish_once(0, 4, 1).ok());
  {
    Pool pool = open();
    claim(pool, 0, 2);
  }
  disk_.crash("/m0", Loss::kDropAll);
  EXPECT_EQ(open().watermark(test_key()).value(), 2u);
}

TEST_F(PoolTest, LanesAreIndependent) {
  Pool pool = open();
  ASSERT_TRUE(site_.publish_once(0, 4, 1).ok());
  claim(pool, 0, 2);
  EXPECT_EQ(pool.watermark(test_key(1)).value(), 0u);
  EXPECT_TRUE(pool.ranges(test_key(1))->empty());
}

TEST_F(PoolTest, BrokenInvariantsAbort) {
  ASSERT_TRUE(site_.publish_once(0, 8, 1).ok());
  Pool pool = open();
  const auto ranges = pool.ranges(test_key()).value();
  EXPECT_DEATH((void)pool.read_bundle_blocking(test_key(), 0), "before its claim is durable");
  claim(pool, 0, 4);
  ASSERT_TRUE(pool.read_bundle_blocking(test_key(), 1).ok());
  EXPECT_DEATH((void)pool.read_bundle_blocking(test_key(), 1), "was read before");
  EXPECT_DEATH((void)pool.read_bundle_blocking(test_key(), 0), "was read before");
  EXPECT_DEATH((void)pool.read_bundle_blocking(test_key(), 4), "before its claim is durable");
  EXPECT_DEATH((void)pool.claim_blocking(test_key(), claim_of(ranges, 3, 5, 2)), "claimed twice");
  EXPECT_DEATH((void)pool.claim_blocking(test_key(), claim_of(ranges, 4, 9, 2)), "do not cover");
}

}  // namespace
}  // namespace beaverpond::testing
