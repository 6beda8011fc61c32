#include "offline/pool/verify.h"

#include <gtest/gtest.h>

#include "tests/offline/pool/memory_disk.h"
#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {
namespace {

class VerifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    site_.storage = &disk_;
    site_.correction_size = 70000;
    site_.make_machines();
    for (std::uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(site_.publish_once(4 * i, 4, i + 1).ok());
  }
  PublishedRange range(std::uint64_t i) const { return {4 * i, 4, test_set_id(i + 1)}; }
  std::string lane() const { return lane_directory(site_.directory(0), test_key()); }
  /// Imports all, and spends the first `spent` bundles.
  void use(std::uint64_t spent) {
    auto pool = Pool::open(site_.pool_options(0));
    ASSERT_TRUE(pool.ok()) << pool.error().message;
    const auto listed = pool->ranges(test_key());
    ASSERT_TRUE(listed.ok()) << listed.error().message;
    if (spent == 0) return;
    ASSERT_TRUE(pool->claim_blocking(test_key(), claim_of(*listed, 0, spent, 2)).ok());
  }

  MemoryDisk disk_;
  TestSite site_;
};

TEST_F(VerifyTest, SoundPoolsAreSoundBeforeAndAfterTheImport) {
  auto report = verify_pool_blocking(site_.pool_options(0));
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->segments, 3u);
  EXPECT_EQ(report->bundles, 12u);
  use(2);
  std::uint64_t chunks = 0;
  report = verify_pool_blocking(site_.pool_options(0), [&](const PoolFinding& finding) {
    EXPECT_TRUE(finding.imported) << finding.path;
    chunks += finding.chunks;
  });
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->bundles, 10u);
  EXPECT_EQ(chunks, 9u);  // 140 KB each
  EXPECT_TRUE(report->damaged.empty());
}

TEST_F(VerifyTest, DamageIsFoundNamedAndBurnedAndTheRestIsSpent) {
  use(0);
  disk_.content(site_.segment_path(0, range(1)))[90000] ^= 1;
  const auto report = verify_pool_blocking(site_.pool_options(0));
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->bundles, 8u);
  ASSERT_EQ(report->damaged.size(), 1u);
  const std::string message = report->damaged[0].error->message;
  EXPECT_NE(message.find(site_.segment_path(0, range(1))), std::string::npos);
  EXPECT_NE(message.find("chunk 1 is damaged"), std::string::npos) << message;
  EXPECT_NE(message.find("triple-factory repair"), std::string::npos) << message;

  const auto repaired = repair_pool_blocking(site_.pool_options(0));
  ASSERT_TRUE(repaired.ok()) << repaired.error().message;
  EXPECT_EQ(repaired->burned, std::vector<std::string>{site_.segment_path(0, range(1))});
  disk_.crash("/m0", Loss::kDropAll);
  EXPECT_FALSE(disk_.exists(site_.segment_path(0, range(1))).value()) << "burned for good";
  EXPECT_TRUE(disk_.exists(site_.segment_path(0, range(0))).value());
  EXPECT_TRUE(verify_pool_blocking(site_.pool_options(0))->damaged.empty());
  EXPECT_TRUE(repair_pool_blocking(site_.pool_options(0))->burned.empty());

  auto pool = Pool::open(site_.pool_options(0));
  const auto listed = pool->ranges(test_key());
  ASSERT_EQ(*listed, (std::vector<PublishedRange>{range(0), range(2)}));
  ASSERT_TRUE(pool->claim_blocking(test_key(), claim_of(*listed, 8, 12, 2)).ok());
  const auto bundle = pool->read_bundle_blocking(test_key(), 8);
  ASSERT_TRUE(bundle.ok()) << bundle.error().message;
  site_.expect_bundle(*bundle, 0, 3, 8);
}

TEST_F(VerifyTest, LostKeysBurnWhatTheyOpenedAndNothingElse) {
  use(0);
  ASSERT_TRUE(site_.publish_once(12, 4, 4).ok());  // not imported: its key travels
  auto& keys = disk_.content(lane() + "/keys");
  keys[0] ^= 1;
  keys[kBlockSize] ^= 1;
  EXPECT_EQ(Pool::open(site_.pool_options(0))->ranges(test_key()).error().code,
            ErrorCode::kPoolCorrupt);
  const auto repaired = repair_pool_blocking(site_.pool_options(0));
  ASSERT_TRUE(repaired.ok()) << repaired.error().message;
  EXPECT_EQ(repaired->burned.size(), 4u);  // three segments and the keys
  auto pool = Pool::open(site_.pool_options(0));
  const auto listed = pool->ranges(test_key());
  ASSERT_TRUE(listed.ok()) << listed.error().message;
  EXPECT_EQ(*listed, std::vector<PublishedRange>{range(3)});
}

TEST_F(VerifyTest, MixedUpKeysAreNotRepairedByBurning) {
  use(0);
  auto& keys = disk_.content(lane() + "/keys");
  Block block{};
  std::copy_n(keys.begin(), block.size(), block.begin());
  block[20] ^= 1;  // another lane's
  seal_block(block);
  for (const std::size_t slot : {std::size_t{0}, kBlockSize}) {
    std::copy(block.begin(), block.end(), keys.begin() + static_cast<std::ptrdiff_t>(slot));
  }
  const auto repaired = repair_pool_blocking(site_.pool_options(0));
  ASSERT_TRUE(repaired.ok()) << repaired.error().message;
  EXPECT_TRUE(repaired->burned.empty());
  EXPECT_EQ(repaired->unrepaired.size(), 3u);
}

TEST_F(VerifyTest, DamagedLedgerIsNamedAndLeftAlone) {
  use(2);
  auto& ledger = disk_.content(lane() + "/ledger");
  ledger[0] ^= 1;
  ledger[kBlockSize] ^= 1;
  const auto repaired = repair_pool_blocking(site_.pool_options(0));
  ASSERT_TRUE(repaired.ok()) << repaired.error().message;
  EXPECT_EQ(repaired->unrepaired, std::vector<std::string>{lane() + "/ledger"});
  EXPECT_TRUE(repaired->burned.empty());
}

TEST_F(VerifyTest, RepairWaitsForNoEngine) {
  auto pool = Pool::open(site_.pool_options(0));
  EXPECT_EQ(repair_pool_blocking(site_.pool_options(0)).error().code, ErrorCode::kPoolBusy);
  EXPECT_TRUE(verify_pool_blocking(site_.pool_options(0)).ok());
}

}  // namespace
}  // namespace beaverpond::testing
