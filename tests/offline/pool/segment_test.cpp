#include "offline/pool/segment.h"

#include <gtest/gtest.h>

#include "tests/offline/pool/memory_disk.h"
#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {
namespace {

struct SegmentFile {
  MemoryDisk disk;
  TestSite site;
  PublishedRange range;
  std::vector<std::uint8_t> good;
  std::vector<PoolKey> pool_keys;

  SegmentFile(int players, std::uint64_t first, std::uint64_t count, std::uint64_t size) {
    site.storage = &disk;
    site.players = players;
    site.correction_size = size;
    site.make_machines();
    range = {first, count, test_set_id(1)};
    for (int player = 0; player < players; ++player) {
      auto key = PoolKey::read(disk, pool_key_path(site.directory(player)));
      EXPECT_TRUE(key.ok()) << key.error().message;
      pool_keys.push_back(std::move(key).value());
    }
    const auto published = site.publish_once(first, count, 1);
    EXPECT_TRUE(published.ok()) << published.error().message;
    good = disk.content(site.segment_path(0, range));
  }

  Result<SegmentReader> open(int player, const PoolIdentity& identity, const LaneKey& key) {
    const SegmentAccess access{test_dealer().public_key(),
                               &pool_keys[static_cast<std::size_t>(player)], nullptr};
    return SegmentReader::open(disk, site.segment_path(player, range), identity, key, range,
                               access);
  }

  /// The first error of opening player 0's file and reading all of it.
  std::optional<Error> read_all() {
    auto reader = open(0, test_identity(0, site.players), test_key());
    if (!reader.ok()) return reader.error();
    BufferCache buffers(1);
    for (std::uint64_t number = range.first; number < range.end(); ++number) {
      auto bundle = reader->read_bundle_blocking(number, buffers);
      if (!bundle.ok()) return bundle.error();
      site.expect_bundle(bundle.value(), 0, 1, number);
    }
    return std::nullopt;
  }
};

TEST(Segment, RoundTripsForEveryPlayer) {
  for (const int players : {2, 3, 5}) {
    for (const std::uint64_t size : {8u, 64u, 1000u, 65536u, 200001u}) {
      for (const std::uint64_t count : {1u, 2u, 7u}) {
        SegmentFile file(players, 11, count, size);
        for (int player = 0; player < players; ++player) {
          auto reader = file.open(player, test_identity(player, players), test_key());
          ASSERT_TRUE(reader.ok()) << reader.error().message;
          EXPECT_EQ(file.disk.content(file.site.segment_path(player, file.range)).size(),
                    reader->header().file_size());
          BufferCache buffers(1);
          for (std::uint64_t number = 11; number < 11 + count; ++number) {
            auto bundle = reader->read_bundle_blocking(number, buffers);
            ASSERT_TRUE(bundle.ok()) << bundle.error().message;
            file.site.expect_bundle(bundle.value(), player, 1, number);
          }
        }
      }
    }
  }
}

TEST(Segment, ManySeedsSpanSeveralChunks) {
  SegmentFile file(2, 0, 5000, 8);
  EXPECT_EQ(file.read_all(), std::nullopt);
}

TEST(Segment, EveryFlippedByteIsAnError) {
  SegmentFile file(2, 4, 3, 300);
  ASSERT_EQ(file.read_all(), std::nullopt);
  auto& bytes = file.disk.content(file.site.segment_path(0, file.range));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= static_cast<std::uint8_t>(1u << (i % 8));
    const auto error = file.read_all();
    ASSERT_NE(error, std::nullopt) << "byte " << i;
    EXPECT_EQ(error->code, ErrorCode::kPoolCorrupt) << "byte " << i;
    EXPECT_NE(error->message.find(file.site.segment_path(0, file.range)), std::string::npos);
    bytes = file.good;
  }
}

TEST(Segment, EveryTruncationAndExtensionIsAnError) {
  SegmentFile file(2, 4, 3, 300);
  auto& bytes = file.disk.content(file.site.segment_path(0, file.range));
  for (std::size_t size = 0; size < file.good.size(); ++size) {
    bytes.resize(size);
    const auto error = file.read_all();
    ASSERT_NE(error, std::nullopt) << "length " << size;
    EXPECT_EQ(error->code, ErrorCode::kPoolCorrupt);
    bytes = file.good;
  }
  bytes.push_back(0);
  EXPECT_NE(file.read_all(), std::nullopt);
}

TEST(Segment, DamagedChunkIsNamed) {
  SegmentFile file(2, 0, 4, 100000);
  auto& bytes = file.disk.content(file.site.segment_path(0, file.range));
  bytes[bytes.size() - 100] ^= 1;
  const auto error = file.read_all();
  ASSERT_NE(error, std::nullopt);
  EXPECT_NE(error->message.find("chunk 3 is damaged"), std::string::npos) << error->message;
}

TEST(Segment, ForeignFilesAreRefused) {
  SegmentFile file(2, 0, 2, 100);
  PoolIdentity identity = test_identity(0, 2);
  identity.pool_id[3] ^= 1;
  EXPECT_EQ(file.open(0, identity, test_key()).error().code, ErrorCode::kRosterMismatch);
  identity = test_identity(0, 2);
  identity.epoch = 4;
  EXPECT_EQ(file.open(0, identity, test_key()).error().code, ErrorCode::kRosterMismatch);
  identity = test_identity(0, 2);
  identity.roster_hash[0] ^= 1;
  EXPECT_EQ(file.open(0, identity, test_key()).error().code, ErrorCode::kRosterMismatch);
  EXPECT_EQ(file.open(0, test_identity(1, 2), test_key()).error().code, ErrorCode::kRosterMismatch);
  EXPECT_EQ(file.open(0, test_identity(0, 3), test_key()).error().code, ErrorCode::kRosterMismatch);
  LaneKey key = test_key();
  key.plan[31] ^= 1;
  EXPECT_EQ(file.open(0, test_identity(0, 2), key).error().code, ErrorCode::kRosterMismatch);
  EXPECT_EQ(file.open(0, test_identity(0, 2), test_key(1)).error().code,
            ErrorCode::kRosterMismatch);
}

TEST(Segment, RenamedFileIsRefused) {
  SegmentFile file(2, 0, 2, 100);
  const std::string from = file.site.segment_path(0, file.range);
  file.range.set_id[0] ^= 1;
  ASSERT_TRUE(file.disk.rename(from, file.site.segment_path(0, file.range)).ok());
  EXPECT_EQ(file.open(0, test_identity(0, 2), test_key()).error().code, ErrorCode::kPoolCorrupt);
}

TEST(Segment, ForgedHeaderWithHugeSizesIsRefused) {
  SegmentFile file(2, 0, 2, 100);
  auto& bytes = file.disk.content(file.site.segment_path(0, file.range));
  for (const std::size_t field : {128u, 136u, 144u, 152u, 16u, 12u}) {
    Block block{};
    std::copy_n(bytes.begin(), block.size(), block.begin());
    store_le(block, field, 0x7fffffff7fffffff, field < 20 ? 4 : 8);
    seal_block(block);
    std::copy(block.begin(), block.end(), bytes.begin());
    EXPECT_NE(file.read_all(), std::nullopt) << "field at " << field;
    bytes = file.good;
  }
}

TEST(SegmentDeathTest, BundleIsReadOnce) {
  SegmentFile file(2, 0, 2, 100);
  auto reader = file.open(0, test_identity(0, 2), test_key());
  ASSERT_TRUE(reader.ok());
  BufferCache buffers(1);
  ASSERT_TRUE(reader->read_bundle_blocking(1, buffers).ok());
  EXPECT_DEATH((void)reader->read_bundle_blocking(1, buffers), "read twice");
  EXPECT_DEATH((void)reader->read_bundle_blocking(2, buffers), "outside its segment");
}

TEST(SegmentNames, OnlyExactNamesAreParsed) {
  const PublishedRange range{5, 10, test_set_id(77)};
  const std::string name = segment_name(range, kSegmentSuffix);
  EXPECT_EQ(parse_segment_name(name, kSegmentSuffix), range);
  const std::string id = to_hex(range.set_id);
  for (const std::string& bad :
       {std::string(), std::string("ledger"), "05-10-" + id + ".seg", "5-0-" + id + ".seg",
        "-5-10-" + id + ".seg", "5-10-" + id + ".tmp", "5-10-" + id.substr(1) + ".seg",
        "5-10-" + id + ".seg.seg", "99999999999999999999-1-" + id + ".seg",
        "5-10-g" + id.substr(1) + ".seg"}) {
    EXPECT_EQ(parse_segment_name(bad, kSegmentSuffix), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace beaverpond::testing
