#include "offline/pool/ledger.h"

#include <gtest/gtest.h>

#include "tests/offline/pool/memory_disk.h"
#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {
namespace {

class LedgerTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(disk_.make_directory("/m0").ok()); }

  Result<Ledger> open(int player = 0) {
    return Ledger::open(disk_, "/m0", test_identity(player, 3), test_key());
  }

  MemoryDisk disk_;
};

TEST_F(LedgerTest, RemembersWatermarkAndWitnesses) {
  {
    auto ledger = open();
    ASSERT_TRUE(ledger.ok()) << ledger.error().message;
    EXPECT_EQ(ledger->watermark(), 0u);
    ASSERT_TRUE(ledger->advance_blocking(5, {0, 3, 4}).ok());
    ASSERT_TRUE(ledger->advance_blocking(9, {0, 9, 2}).ok());
  }
  auto again = open();
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->watermark(), 9u);
  EXPECT_EQ(again->witnesses(), (std::vector<std::uint64_t>{0, 9, 4}));
  const auto seen = Ledger::peek(disk_, "/m0", test_identity(0, 3), test_key());
  EXPECT_EQ(seen.value().watermark, 9u);
}

TEST_F(LedgerTest, PeekOfNoLedgerIsZero) {
  const auto seen = Ledger::peek(disk_, "/m0", test_identity(0, 3), test_key());
  ASSERT_TRUE(seen.ok());
  EXPECT_EQ(seen.value().watermark, 0u);
  EXPECT_EQ(seen.value().witnesses.size(), 3u);
}

TEST_F(LedgerTest, TornSlotFallsBackToTheOther) {
  auto ledger = open();
  ASSERT_TRUE(ledger->advance_blocking(5, {0, 0, 0}).ok());
  ASSERT_TRUE(ledger->advance_blocking(9, {0, 0, 0}).ok());
  auto& bytes = disk_.content("/m0/ledger");
  ASSERT_EQ(bytes.size(), 2 * kBlockSize);
  const std::vector<std::uint8_t> good = bytes;
  for (std::size_t i = 0; i < bytes.size(); i += 1) {
    bytes[i] ^= 0x10;
    auto reopened = open();
    ASSERT_TRUE(reopened.ok()) << "byte " << i;
    // Sequence 2 went to slot 1 and sequence 3 to slot 0.
    EXPECT_EQ(reopened->watermark(), i < kBlockSize ? 5u : 9u);
    bytes = good;
  }
  for (std::size_t torn = 1; torn < kBlockSize; torn += 61) {
    std::fill_n(bytes.begin(), torn, std::uint8_t{0xee});
    EXPECT_EQ(open()->watermark(), 5u);
    bytes = good;
  }
}

TEST_F(LedgerTest, BothSlotsDamagedIsCorrupt) {
  ASSERT_TRUE(open().ok());
  auto& bytes = disk_.content("/m0/ledger");
  bytes[200] ^= 1;
  bytes[kBlockSize + 200] ^= 1;
  EXPECT_EQ(open().error().code, ErrorCode::kPoolCorrupt);
  for (const std::size_t size : {0u, 1u, 4095u}) {
    bytes.assign(size, 0);
    EXPECT_EQ(open().error().code, ErrorCode::kPoolCorrupt);
  }
}

TEST_F(LedgerTest, ForeignLedgerIsRefused) {
  ASSERT_TRUE(open().ok());
  EXPECT_EQ(open(1).error().code, ErrorCode::kRosterMismatch);
  EXPECT_EQ(Ledger::open(disk_, "/m0", test_identity(0, 3), test_key(4)).error().code,
            ErrorCode::kRosterMismatch);
}

TEST_F(LedgerTest, NeverReplacedWhenTheDiskCannotTellWhetherItExists) {
  ASSERT_TRUE(open()->advance_blocking(5, {0, 0, 0}).ok());
  const std::vector<std::uint8_t> before = disk_.content("/m0/ledger");
  disk_.hide("/m0/ledger");
  EXPECT_EQ(open().error().code, ErrorCode::kIo);
  EXPECT_EQ(Ledger::peek(disk_, "/m0", test_identity(0, 3), test_key()).error().code,
            ErrorCode::kIo);
  disk_.hide("");
  EXPECT_EQ(disk_.content("/m0/ledger"), before);
  EXPECT_EQ(open()->watermark(), 5u);
}

TEST_F(LedgerTest, CreatingLeavesAnExistingFileAlone) {
  ASSERT_TRUE(open()->advance_blocking(5, {0, 0, 0}).ok());
  const std::vector<std::uint8_t> other(2 * kBlockSize);
  ASSERT_TRUE(create_file_atomically(disk_, "/m0/ledger", "/m0/ledger.tmp", other).ok());
  EXPECT_FALSE(disk_.exists("/m0/ledger.tmp").value());
  EXPECT_EQ(open()->watermark(), 5u);
}

TEST_F(LedgerTest, FailedSyncPoisonsForEver) {
  auto ledger = open();
  ASSERT_TRUE(ledger->advance_blocking(5, {0, 0, 0}).ok());
  disk_.fail_sync("/m0", 0);
  EXPECT_EQ(ledger->advance_blocking(9, {0, 0, 0}).error().code, ErrorCode::kIo);
  EXPECT_EQ(ledger->watermark(), 5u);
  const std::uint64_t operations = disk_.operations("/m0");
  const auto again = ledger->advance_blocking(9, {0, 0, 0});
  EXPECT_EQ(again.error().code, ErrorCode::kIo);
  EXPECT_NE(again.error().message.find("failed earlier"), std::string::npos);
  EXPECT_EQ(disk_.operations("/m0"), operations) << "a failed sync is never retried";
}

TEST_F(LedgerTest, PowerLossAtAnyMomentKeepsThePromise) {
  ASSERT_TRUE(open().ok());
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    auto ledger = open();
    ASSERT_TRUE(ledger.ok()) << ledger.error().message;
    const std::uint64_t promised = ledger->watermark();
    std::uint64_t done = promised;
    disk_.stop_after("/m0", seed % 7);
    for (std::uint64_t next = promised + 1; next < promised + 4; ++next) {
      if (!ledger->advance_blocking(next, {0, 0, 0}).ok()) break;
      done = next;
    }
    disk_.crash("/m0", seed % 2 == 0 ? Loss::kDropAll : Loss::kTornSectors, seed);
    auto after = open();
    ASSERT_TRUE(after.ok()) << after.error().message;
    EXPECT_GE(after->watermark(), done);
    EXPECT_LE(after->watermark(), done + 1);
  }
}

TEST(LedgerDeathTest, WatermarkNeverFalls) {
  MemoryDisk disk;
  ASSERT_TRUE(disk.make_directory("/m0").ok());
  auto ledger = Ledger::open(disk, "/m0", test_identity(0, 2), test_key());
  ASSERT_TRUE(ledger->advance_blocking(5, {0, 0}).ok());
  EXPECT_DEATH((void)ledger->advance_blocking(4, {0, 0}), "never falls");
}

}  // namespace
}  // namespace beaverpond::testing
