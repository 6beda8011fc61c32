// Segments that arrive: forged, foreign, replayed; imported and erased across crashes.
#include "offline/pool/import.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "offline/pool/segment.h"
#include "offline/pool/write_behind.h"
#include "tests/offline/pool/memory_disk.h"
#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {
namespace {

constexpr PublishedRange kRange{0, 2, {1}};

SegmentHeader good_header(int player) {
  SegmentHeader header;
  header.pool = test_identity(player, 2);
  header.key = test_key();
  header.range = kRange;
  header.correction_size.value = 100;
  return header;
}

/// A whole segment, as a dealer would make it.
void write_segment(Storage& storage, const std::string& path, const SegmentHeader& header,
                   const DealerKey& dealer, const PublicKey& recipient) {
  std::vector<Seed> seeds;
  for (std::uint64_t i = 0; i < header.range.count; ++i) {
    seeds.push_back(test_seed(1, header.pool.player, header.range.first + i));
  }
  WriteBehind behind(kChunkSizeBytes, 1);
  auto writer = SegmentWriter::create(storage, path, header, seeds, {&dealer, recipient}, behind);
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  const std::vector<std::uint8_t> correction(header.correction_size.value, 9);
  for (std::uint64_t i = 0; i < header.corrections(); ++i) {
    ASSERT_TRUE(writer->append_correction_blocking(correction).ok());
  }
  ASSERT_TRUE(writer->finish_blocking().ok());
}

class ImportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    site_.storage = &disk_;
    site_.correction_size = 100;
    site_.make_machines();
    path_ = site_.segment_path(0, kRange);
    auto pool = Pool::open(site_.pool_options(0));  // makes the folders
    ASSERT_TRUE(pool.ok() && pool->ranges(test_key()).ok());
  }

  /// What an engine says of the folder.
  Result<std::vector<PublishedRange>> ranges() {
    BP_ASSIGN(Pool pool, Pool::open(site_.pool_options(0)));
    return pool.ranges(test_key());
  }
  void expect_refused(ErrorCode code, const std::string& words, const std::string& what) {
    const auto refused = ranges();
    ASSERT_FALSE(refused.ok()) << what;
    EXPECT_EQ(refused.error().code, code) << what << ": " << refused.error().message;
    EXPECT_NE(refused.error().message.find(words), std::string::npos)
        << what << ": " << refused.error().message;
    EXPECT_NE(refused.error().message.find(path_), std::string::npos) << what;
  }

  MemoryDisk disk_;
  TestSite site_;
  std::string path_;
};

TEST_F(ImportTest, ForeignAndForgedSegmentsAreEachRefusedByName) {
  struct Case {
    const char* what;
    std::function<void(SegmentHeader&)> change;
    ErrorCode code;
    const char* words;
  };
  const std::vector<Case> cases = {
      {"pool", [](SegmentHeader& h) { h.pool.pool_id[0] ^= 1; }, ErrorCode::kRosterMismatch,
       "its pool is"},
      {"epoch", [](SegmentHeader& h) { ++h.pool.epoch; }, ErrorCode::kRosterMismatch,
       "its membership epoch is 4, expected 3"},
      {"roster", [](SegmentHeader& h) { h.pool.roster_hash[0] ^= 1; }, ErrorCode::kRosterMismatch,
       "its roster is"},
      {"player", [](SegmentHeader& h) { h.pool.player = 1; }, ErrorCode::kRosterMismatch,
       "its player is 1, expected 0"},
      {"players", [](SegmentHeader& h) { h.pool.players = 3; }, ErrorCode::kRosterMismatch,
       "its number of players is 3"},
      {"plan", [](SegmentHeader& h) { h.key.plan[9] ^= 1; }, ErrorCode::kRosterMismatch,
       "its plan is"},
      {"lane", [](SegmentHeader& h) { h.key.lane = 1; }, ErrorCode::kRosterMismatch,
       "its lane is 1"},
      {"set id", [](SegmentHeader& h) { h.range.set_id[0] ^= 1; }, ErrorCode::kPoolCorrupt,
       "its header and its name differ"},
      {"renamed", [](SegmentHeader& h) { h.range.first = 2; }, ErrorCode::kPoolCorrupt,
       "to be spent again"},
  };
  for (const Case& one : cases) {
    SegmentHeader header = good_header(0);
    one.change(header);
    write_segment(disk_, path_, header, test_dealer(), test_pool_key(0));
    expect_refused(one.code, one.words, one.what);
    ASSERT_TRUE(disk_.unlink(path_).ok());
  }
  const DealerKey stranger = DealerKey::generate().value();
  write_segment(disk_, path_, good_header(0), stranger, test_pool_key(0));
  expect_refused(ErrorCode::kPoolCorrupt, "did not sign", "another dealer");
  ASSERT_TRUE(disk_.unlink(path_).ok());
  write_segment(disk_, path_, good_header(0), test_dealer(), test_pool_key(1));
  expect_refused(ErrorCode::kRosterMismatch, "sealed to another key file", "another recipient");
  ASSERT_TRUE(disk_.unlink(path_).ok());
  write_segment(disk_, path_, good_header(0), test_dealer(), test_pool_key(0));
  EXPECT_EQ(ranges()->size(), 1u);
}

TEST_F(ImportTest, NoChangedHeaderKeepsItsSignature) {
  write_segment(disk_, path_, good_header(0), test_dealer(), test_pool_key(0));
  auto& bytes = disk_.content(path_);
  const auto good = bytes;
  for (std::size_t at = 0; at < kBlockHashOffset; ++at) {
    Block block{};
    std::copy_n(bytes.begin(), block.size(), block.begin());
    block[at] ^= static_cast<std::uint8_t>(1u << (at % 8));
    seal_block(block);  // a forger knows how
    std::copy(block.begin(), block.end(), bytes.begin());
    const auto refused = ranges();
    ASSERT_FALSE(refused.ok()) << "byte " << at;
    bytes = good;
  }
  EXPECT_EQ(ranges()->size(), 1u);
}

TEST_F(ImportTest, EveryFlippedByteOfAnImportedSegmentIsRefused) {
  write_segment(disk_, path_, good_header(0), test_dealer(), test_pool_key(0));
  ASSERT_EQ(ranges()->size(), 1u);
  const auto key = PoolKey::read(disk_, pool_key_path(site_.directory(0))).value();
  const auto ratchet = LaneRatchet::peek(disk_, lane_directory(site_.directory(0), test_key()),
                                         test_identity(0, 2), test_key(), key);
  ASSERT_TRUE(ratchet.ok());
  const SegmentAccess access{test_dealer().public_key(), &key, &*ratchet};
  const auto verify = [&]() -> Result<void> {
    BP_ASSIGN(SegmentReader reader,
              SegmentReader::open(disk_, path_, test_identity(0, 2), test_key(), kRange, access));
    return reader.verify_blocking();
  };
  ASSERT_TRUE(verify().ok());
  auto& bytes = disk_.content(path_);
  const auto good = bytes;
  for (std::size_t at = 0; at < good.size(); ++at) {
    bytes[at] ^= static_cast<std::uint8_t>(1u << (at % 8));
    const auto refused = verify();
    ASSERT_FALSE(refused.ok()) << "byte " << at;
    EXPECT_EQ(refused.error().code, ErrorCode::kPoolCorrupt) << "byte " << at;
    bytes = good;
  }
  for (std::size_t size = 0; size < good.size(); ++size) {
    bytes.resize(size);
    ASSERT_FALSE(verify().ok()) << "length " << size;
    bytes = good;
  }
}

TEST_F(ImportTest, ImportErasesTheDealersEnvelope) {
  write_segment(disk_, path_, good_header(0), test_dealer(), test_pool_key(0));
  EXPECT_EQ(ratchet_number_of(disk_, path_).value(), std::nullopt);
  ASSERT_EQ(ranges()->size(), 1u);
  EXPECT_EQ(ratchet_number_of(disk_, path_).value(), 0u);
  disk_.crash("/m0", Loss::kDropAll);
  const auto& bytes = disk_.content(path_);
  EXPECT_TRUE(std::all_of(bytes.begin() + kTransportOffset,
                          bytes.begin() + kTransportOffset + kSectorSize,
                          [](std::uint8_t b) { return b == 0; }));
}

TEST_F(ImportTest, SpentSegmentThatIsPutBackCannotBeOpened) {
  ASSERT_TRUE(site_.publish_once(0, 2, 1).ok());
  const PublishedRange range{0, 2, test_set_id(1)};
  const std::string path = site_.segment_path(0, range);
  std::vector<std::uint8_t> kept;
  {
    auto pool = Pool::open(site_.pool_options(0));
    const auto listed = pool->ranges(test_key());
    kept = disk_.content(path);  // as a backup would
    ASSERT_TRUE(pool->claim_blocking(test_key(), claim_of(*listed, 0, 2, 2)).ok());
    for (const std::uint64_t number : {0u, 1u}) {
      ASSERT_TRUE(pool->read_bundle_blocking(test_key(), number).ok());
    }
    EXPECT_FALSE(disk_.exists(path).value());
  }
  {
    auto file = disk_.open(path, Storage::Mode::kCreateNew);
    ASSERT_TRUE(file.ok() && (*file)->write_at(0, kept).ok());
  }
  const auto key = PoolKey::read(disk_, pool_key_path(site_.directory(0))).value();
  const auto ratchet = LaneRatchet::peek(disk_, lane_directory(site_.directory(0), test_key()),
                                         test_identity(0, 2), test_key(), key);
  const SegmentAccess access{test_dealer().public_key(), &key, &*ratchet};
  const auto reader =
      SegmentReader::open(disk_, path, test_identity(0, 2), test_key(), range, access);
  ASSERT_FALSE(reader.ok());
  EXPECT_NE(reader.error().message.find("was erased"), std::string::npos);
  EXPECT_TRUE(ranges()->empty());
  EXPECT_FALSE(disk_.exists(path).value()) << "and it is removed again";

  // Nor where the ledger that says so was lost: its key is gone, so it was spent.
  {
    auto file = disk_.open(path, Storage::Mode::kCreateNew);
    ASSERT_TRUE(file.ok() && (*file)->write_at(0, kept).ok());
  }
  ASSERT_TRUE(disk_.unlink(lane_directory(site_.directory(0), test_key()) + "/ledger").ok());
  const auto left = ranges();
  ASSERT_TRUE(left.ok()) << left.error().message;
  EXPECT_TRUE(left->empty());
  EXPECT_FALSE(disk_.exists(path).value());
}

TEST_F(ImportTest, FilesThatCameOutOfOrderAreErasedOnceAllOfThemAreSpent) {
  ASSERT_TRUE(site_.publish_once(2, 2, 2).ok());
  ASSERT_EQ(ranges()->size(), 1u);  // imported first, under key 0
  ASSERT_TRUE(site_.publish_once(0, 2, 1).ok());
  auto pool = Pool::open(site_.pool_options(0));
  const auto listed = pool->ranges(test_key());
  ASSERT_EQ(listed->size(), 2u);
  ASSERT_TRUE(pool->claim_blocking(test_key(), claim_of(*listed, 0, 2, 2)).ok());
  for (const std::uint64_t number : {0u, 1u}) {
    ASSERT_TRUE(pool->read_bundle_blocking(test_key(), number).ok());
  }
  ASSERT_TRUE(pool->claim_blocking(test_key(), claim_of(*listed, 2, 4, 2)).ok());
  for (const std::uint64_t number : {2u, 3u}) {
    const auto bundle = pool->read_bundle_blocking(test_key(), number);
    ASSERT_TRUE(bundle.ok()) << bundle.error().message;
    site_.expect_bundle(*bundle, 0, 2, number);
  }
  for (const PublishedRange& range : *listed) {
    EXPECT_FALSE(disk_.exists(site_.segment_path(0, range)).value()) << range.str();
  }
}

/// Imports, claims, reads and erases until power fails before the n-th operation. Whatever was not
/// spent must then be readable, and whatever is gone must be gone for good.
void crash_while_spending(std::uint64_t n, Loss loss, bool power_loss, bool& finished) {
  MemoryDisk disk;
  TestSite site;
  site.storage = &disk;
  site.make_machines();
  ASSERT_TRUE(site.publish_once(0, 3, 1).ok());
  ASSERT_TRUE(site.publish_once(3, 3, 2).ok());
  ASSERT_TRUE(site.publish_once(6, 3, 3).ok());
  const auto spend = [&](std::uint64_t end) -> Result<void> {
    BP_ASSIGN(Pool pool, Pool::open(site.pool_options(0)));
    BP_ASSIGN(const auto ranges, pool.ranges(test_key()));
    BP_ASSIGN(const std::uint64_t first, pool.watermark(test_key()));
    for (std::uint64_t at = first; at < end;) {
      const std::uint64_t next = std::min(at + 2, end);
      BP_TRY(pool.claim_blocking(test_key(), claim_of(ranges, at, next, 2)));
      for (; at < next; ++at) {
        BP_ASSIGN(const Bundle bundle, pool.read_bundle_blocking(test_key(), at));
        site.expect_bundle(bundle, 0, at / 3 + 1, at);
      }
    }
    return {};
  };
  disk.stop_after("/m0", n);
  finished = spend(7).ok();
  if (power_loss) {
    disk.crash("/m0", loss, n + 1);
  } else {
    disk.restart("/m0");
  }
  const auto key = PoolKey::read(disk, pool_key_path(site.directory(0))).value();
  const auto ratchet = LaneRatchet::peek(disk, lane_directory(site.directory(0), test_key()),
                                         test_identity(0, 2), test_key(), key);
  if (!disk.exists(site.segment_path(0, {0, 3, test_set_id(1)})).value()) {
    ASSERT_TRUE(ratchet.ok());
    EXPECT_GE(ratchet->base(), 1u) << "a file is gone before its key";
  }
  const auto rest = spend(9);
  ASSERT_TRUE(rest.ok()) << rest.error().message;
  for (const std::string& file : disk.files(site.directory(0))) {
    EXPECT_FALSE(file.ends_with(kSegmentSuffix)) << file;
  }
}

TEST(ImportCrash, PowerFailsAtEveryOperationOfImportAndErasure) {
  for (const Loss loss : {Loss::kDropAll, Loss::kTornSectors}) {
    for (const bool power_loss : {true, false}) {
      bool finished = false;
      for (std::uint64_t n = 0; !finished; ++n) {
        ASSERT_LT(n, 400u);
        crash_while_spending(n, loss, power_loss, finished);
        ASSERT_FALSE(::testing::Test::HasFailure()) << "operation " << n;
      }
    }
  }
}

class DeliveryTest : public ImportTest {
 protected:
  void SetUp() override {
    ImportTest::SetUp();
    key_.emplace(PoolKey::read(disk_, pool_key_path(site_.directory(0))).value());
    ASSERT_TRUE(disk_.make_directory("/usb").ok());
    write_segment(disk_, "/usb/a", good_header(0), test_dealer(), test_pool_key(0));
  }
  Result<PublishedRange> deliver(const std::string& source) {
    DeliveryOptions options;
    options.storage = &disk_;
    options.pool_directory = site_.directory(0);
    options.identity = test_identity(0, 2);
    options.dealer = test_dealer().public_key();
    options.key = &*key_;
    return deliver_segment_blocking(options, source);
  }

  std::optional<PoolKey> key_;
};

TEST_F(DeliveryTest, CarriedFilesAreSpentLikeOthers) {
  ASSERT_EQ(deliver("/usb/a").value(), kRange);
  EXPECT_EQ(deliver("/usb/a").value(), kRange) << "again is no error";
  disk_.crash("/m0", Loss::kDropAll);
  auto pool = Pool::open(site_.pool_options(0));
  const auto listed = pool->ranges(test_key());
  ASSERT_EQ(listed->size(), 1u);
  ASSERT_TRUE(pool->claim_blocking(test_key(), claim_of(*listed, 0, 2, 2)).ok());
  const auto bundle = pool->read_bundle_blocking(test_key(), 1);
  ASSERT_TRUE(bundle.ok()) << bundle.error().message;
  EXPECT_TRUE(same_seed(bundle->seed(), test_seed(1, 0, 1)));
}

TEST_F(DeliveryTest, DamagedFilesAreRefusedBeforeTheyArePublished) {
  const auto good = disk_.content("/usb/a");
  for (std::size_t at = 0; at < good.size(); at += 97) {
    disk_.content("/usb/a")[at] ^= 1;
    EXPECT_FALSE(deliver("/usb/a").ok()) << at;
    disk_.content("/usb/a") = good;
  }
  EXPECT_TRUE(ranges()->empty());
  for (const std::string& file : disk_.files(site_.directory(0))) {
    EXPECT_FALSE(file.ends_with(kTemporarySuffix)) << file;
  }
}

TEST_F(DeliveryTest, ReplayedSetIdsAndNumbersAreRefused) {
  ASSERT_TRUE(deliver("/usb/a").ok());
  const auto expect = [&](const std::string& source, const std::string& words) {
    const auto refused = deliver(source);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::kPoolCorrupt);
    EXPECT_NE(refused.error().message.find(words), std::string::npos) << refused.error().message;
  };
  SegmentHeader header = good_header(0);
  header.range.first = 2;  // signed, but the set id was seen
  write_segment(disk_, "/usb/b", header, test_dealer(), test_pool_key(0));
  expect("/usb/b", "its set id is known");
  header.range = {1, 2, {2}};
  write_segment(disk_, "/usb/c", header, test_dealer(), test_pool_key(0));
  expect("/usb/c", "numbered like those of [0, 2)");
  {
    auto pool = Pool::open(site_.pool_options(0));
    ASSERT_TRUE(
        pool->claim_blocking(test_key(), claim_of(*pool->ranges(test_key()), 0, 2, 2)).ok());
    pool->release(test_key(), 2);
  }
  expect("/usb/a", "never taken twice");
}

}  // namespace
}  // namespace beaverpond::testing
