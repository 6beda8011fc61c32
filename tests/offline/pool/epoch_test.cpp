// Membership epochs: what is left of an old one is refused, and moving to a new one survives power
// losses.
#include <gtest/gtest.h>

#include "tests/offline/pool/memory_disk.h"
#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {
namespace {

class EpochTest : public ::testing::Test {
 protected:
  EpochTest() {
    site_.storage = &disk_;
    site_.make_machines();
    EXPECT_TRUE(site_.publish_once(0, 4, 1).ok());
    auto pool = Pool::open(site_.pool_options(0));
    EXPECT_TRUE(pool.ok());
    EXPECT_TRUE(pool->claim_blocking(test_key(), {0, 2, {range_}, {0, 0}}).ok());
  }

  PoolIdentity next(std::uint64_t by = 1) const {
    PoolIdentity identity = test_identity(0, 2);
    identity.epoch += by;
    return identity;
  }
  Result<void> start(const PoolIdentity& identity) {
    return start_epoch_blocking(disk_, site_.directory(0), identity);
  }
  Result<Pool> open(const PoolIdentity& identity) {
    PoolOptions options = site_.pool_options(0);
    options.identity = identity;
    return Pool::open(options);
  }

  const PublishedRange range_{0, 4, test_set_id(1)};
  MemoryDisk disk_;
  TestSite site_;
};

TEST_F(EpochTest, PoolIsEmptyAfterwardsAndTheOldEpochIsRefused) {
  ASSERT_TRUE(start(next()).ok());
  EXPECT_EQ(open(test_identity(0, 2)).error().code, ErrorCode::kRosterMismatch);
  auto pool = open(next());
  ASSERT_TRUE(pool.ok()) << pool.error().message;
  EXPECT_TRUE(pool->ranges(test_key())->empty());
  EXPECT_EQ(pool->watermark(test_key()).value(), 0u);
}

TEST_F(EpochTest, WhatWasOnItsWayGoesAndTheFolderMayHaveBeenCopied) {
  const std::string folder = site_.directory(0) + "/incoming";
  ASSERT_TRUE(disk_.make_directory(folder).ok());
  for (const char* const file : {"/a.whole", "/b.part"}) {
    auto made = disk_.open(folder + file, Storage::Mode::kCreateNew);
    ASSERT_TRUE((*made)->write_at(0, std::vector<std::uint8_t>(9000, 7)).ok());
  }
  { ASSERT_TRUE(open(test_identity(0, 2)).ok()); }
  ASSERT_TRUE(disk_.exists(site_.directory(0) + "/seal").value());
  ASSERT_TRUE(start(next()).ok());
  EXPECT_TRUE(disk_.list(folder)->empty());
  EXPECT_FALSE(disk_.exists(site_.directory(0) + "/seal").value());
  EXPECT_TRUE(open(next()).ok());
}

TEST_F(EpochTest, OneThatWasCutShortIsNeitherTheOldNorTheNew) {
  const MemoryDisk::Snapshot before = disk_.save("/m0");
  int cut_short = 0;
  for (std::uint64_t n = 0;; ++n) {
    ASSERT_LT(n, 200u);
    disk_.restore("/m0", before);
    disk_.stop_after("/m0", n);
    const bool finished = start(next()).ok();
    disk_.crash("/m0", Loss::kDropAll, 1);
    if (finished) break;
    if (!disk_.exists(site_.directory(0) + "/pool.epoch.tmp").value()) continue;
    ++cut_short;
    for (const PoolIdentity& identity : {test_identity(0, 2), next()}) {
      const auto pool = open(identity);
      ASSERT_FALSE(pool.ok()) << "operation " << n;
      EXPECT_NE(pool.error().message.find("was cut short"), std::string::npos)
          << pool.error().message;
    }
    ASSERT_TRUE(start(next()).ok());
    EXPECT_TRUE(open(next()).ok());
  }
  EXPECT_GT(cut_short, 5);
}

TEST_F(EpochTest, KeysAreOverwrittenBeforeTheirFilesGo) {
  const auto keys =
      disk_.open(lane_directory(site_.directory(0), test_key()) + "/keys", Storage::Mode::kRead);
  const auto segment = disk_.open(site_.segment_path(0, range_), Storage::Mode::kRead);
  ASSERT_TRUE(keys.ok() && segment.ok());
  ASSERT_TRUE(start(next()).ok());
  const auto expect_zero = [](StorageFile& file, std::uint64_t offset, std::size_t size) {
    std::vector<std::uint8_t> bytes(size, 1);
    ASSERT_EQ(file.read_at(offset, bytes).value(), size);
    EXPECT_EQ(bytes, std::vector<std::uint8_t>(size));
  };
  expect_zero(**keys, 0, 2 * kBlockSize);
  expect_zero(**segment, kBlockSize, kBlockSize);  // its key block
}

TEST_F(EpochTest, SegmentsAndLedgersOfAnOldEpochAreRefused) {
  const std::string segment = site_.segment_path(0, range_);
  const std::string ledger = lane_directory(site_.directory(0), test_key()) + "/ledger";
  const auto old_segment = disk_.content(segment);
  const auto old_ledger = disk_.content(ledger);
  ASSERT_TRUE(start(next()).ok());
  const auto put_back = [this](const std::string& path, const std::vector<std::uint8_t>& bytes) {
    auto file = disk_.open(path, Storage::Mode::kCreateNew);
    ASSERT_TRUE(file.ok() && (*file)->write_at(0, bytes).ok());
  };
  put_back(segment, old_segment);
  {
    auto pool = open(next());
    const auto ranges = pool->ranges(test_key());
    ASSERT_FALSE(ranges.ok());
    EXPECT_EQ(ranges.error().code, ErrorCode::kRosterMismatch);
    EXPECT_NE(ranges.error().message.find("membership epoch is 3, expected 4"), std::string::npos)
        << ranges.error().message;
  }
  ASSERT_TRUE(disk_.unlink(segment).ok());
  ASSERT_TRUE(disk_.unlink(ledger).ok());
  put_back(ledger, old_ledger);
  EXPECT_EQ(open(next())->watermark(test_key()).error().code, ErrorCode::kRosterMismatch);
}

TEST_F(EpochTest, MayBeRunAgainButNotBackwards) {
  ASSERT_TRUE(start(next(5)).ok());
  {
    auto pool = open(next(5));
    ASSERT_TRUE(pool->watermark(test_key()).ok());  // makes a ledger
  }
  const auto files = disk_.files("/m0");
  EXPECT_TRUE(start(next(5)).ok());
  EXPECT_EQ(disk_.files("/m0"), files);
  EXPECT_EQ(start(next(4)).error().code, ErrorCode::kRosterMismatch);
  PoolIdentity other = next(6);
  other.pool_id[0] ^= 1;
  EXPECT_EQ(start(other).error().code, ErrorCode::kRosterMismatch);
  other = next(6);
  other.player = 1;
  EXPECT_EQ(start(other).error().code, ErrorCode::kRosterMismatch);
  EXPECT_EQ(disk_.files("/m0"), files);
}

TEST_F(EpochTest, NotWhileThePoolIsInUse) {
  auto pool = open(test_identity(0, 2));
  ASSERT_TRUE(pool.ok());
  EXPECT_EQ(start(next()).error().code, ErrorCode::kPoolBusy);
}

TEST_F(EpochTest, PowerLossAtAnyMomentLeavesNoLedgerBehindItsSegments) {
  const std::string ledger = lane_directory(site_.directory(0), test_key()) + "/ledger";
  const MemoryDisk::Snapshot before = disk_.save("/m0");
  bool finished = false;
  for (std::uint64_t n = 0; !finished; ++n) {
    ASSERT_LT(n, 200u);
    for (const Loss loss : {Loss::kDropAll, Loss::kTornSectors, Loss::kReordered}) {
      disk_.restore("/m0", before);
      disk_.stop_after("/m0", n);
      finished = start(next()).ok();
      disk_.crash("/m0", loss, n);
      // Either everything of the old epoch that could be spent is gone, or what says so is there.
      if (disk_.exists(site_.segment_path(0, range_)).value()) {
        EXPECT_TRUE(disk_.exists(ledger).value()) << "operation " << n;
        const auto old = open(test_identity(0, 2));
        if (!old.ok()) {
          EXPECT_EQ(old.error().code, ErrorCode::kRosterMismatch);
          EXPECT_NE(old.error().message.find("was cut short"), std::string::npos);
        }
      }
      ASSERT_TRUE(start(next()).ok()) << "operation " << n;
      auto pool = open(next());
      ASSERT_TRUE(pool.ok()) << pool.error().message;
      EXPECT_EQ(pool->watermark(test_key()).value(), 0u);
      EXPECT_TRUE(pool->ranges(test_key())->empty());
    }
  }
}

}  // namespace
}  // namespace beaverpond::testing
