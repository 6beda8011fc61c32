#include "offline/pool/posix_storage.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {
namespace {

class PosixStorageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "beaverpond-pool-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  PosixStorage storage_;
  std::string root_;
};

TEST_F(PosixStorageTest, FilesRoundTrip) {
  const std::string path = root_ + "/a";
  const std::vector<std::uint8_t> bytes{1, 2, 3, 4};
  {
    auto file = storage_.open(path, Storage::Mode::kCreateNew);
    ASSERT_TRUE(file.ok()) << file.error().message;
    ASSERT_TRUE(file.value()->write_at(2, bytes).ok());
    ASSERT_TRUE(file.value()->sync().ok());
    EXPECT_EQ(file.value()->size().value(), 6u);
  }
  EXPECT_EQ(storage_.open(path, Storage::Mode::kCreateNew).error().code, ErrorCode::kIo);
  ASSERT_TRUE(storage_.rename(path, root_ + "/b").ok());
  ASSERT_TRUE(storage_.sync_directory(root_).ok());
  EXPECT_FALSE(storage_.exists(path).value());
  EXPECT_NE(storage_.open(path, Storage::Mode::kRead).error().message.find(path),
            std::string::npos);
  auto file = storage_.open(root_ + "/b", Storage::Mode::kRead);
  std::vector<std::uint8_t> read(10);
  EXPECT_EQ(file.value()->read_at(0, read).value(), 6u);
  EXPECT_EQ(read, (std::vector<std::uint8_t>{0, 0, 1, 2, 3, 4, 0, 0, 0, 0}));
  const auto entries = storage_.list(root_);
  ASSERT_EQ(entries->size(), 1u);
  EXPECT_EQ(entries->front().name, "b");
  EXPECT_EQ(entries->front().size_bytes, 6u);
  struct stat info {};
  ASSERT_EQ(::stat((root_ + "/b").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_TRUE(storage_.unlink(root_ + "/b").ok());
  EXPECT_GT(storage_.free_bytes(root_).value(), 0u);
}

TEST_F(PosixStorageTest, WritesPastThePageCacheRoundTrip) {
  constexpr std::size_t kBlock = 4096;
  BufferCache memory(1);
  const auto buffer = memory.take(40 * kBlock);
  ASSERT_TRUE(buffer.ok());
  for (std::size_t i = 0; i < buffer->bytes.size(); ++i) {
    buffer->bytes[i] = static_cast<std::uint8_t>(i * 2654435761u >> 13);
  }
  struct Write {
    std::uint64_t at;
    std::size_t from, size;
  };
  // Whole blocks; whole blocks and a rest; from and to odd places; over what is there, in the page
  // cache and on the disk.
  const std::vector<Write> writes{{2 * kBlock, 0, 20 * kBlock},
                                  {22 * kBlock, 7, 5 * kBlock + 11},
                                  {40 * kBlock, kBlock, 3 * kBlock + 100},
                                  {0, 5, kBlock},
                                  {3 * kBlock + 1, 0, 2 * kBlock},
                                  {3 * kBlock, 9 * kBlock, 3 * kBlock},
                                  {100, 30 * kBlock, 100}};
  auto file = storage_.open(root_ + "/a", Storage::Mode::kCreateNew);
  ASSERT_TRUE(file.ok());
  file.value()->bypass_cache();
  std::vector<std::uint8_t> expected;
  for (const Write& write : writes) {
    const auto bytes = buffer->bytes.subspan(write.from, write.size);
    ASSERT_TRUE(file.value()->write_at(write.at, bytes).ok());
    expected.resize(std::max<std::size_t>(expected.size(), write.at + write.size));
    std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<std::ptrdiff_t>(write.at));
    std::vector<std::uint8_t> read(expected.size() + 1);
    ASSERT_EQ(file.value()->read_at(0, read).value(), expected.size());
    read.pop_back();
    ASSERT_TRUE(read == expected) << "after the write at " << write.at;
  }
  ASSERT_TRUE(file.value()->sync().ok());
  EXPECT_EQ(file.value()->size().value(), expected.size());
}

TEST_F(PosixStorageTest, RenameNewReplacesNothing) {
  for (const char* name : {"/a", "/b"}) {
    auto file = storage_.open(root_ + name, Storage::Mode::kCreateNew);
    const std::vector<std::uint8_t> bytes{static_cast<std::uint8_t>(name[1])};
    ASSERT_TRUE(file.value()->write_at(0, bytes).ok());
  }
  EXPECT_FALSE(storage_.rename_new(root_ + "/a", root_ + "/b").value());
  EXPECT_TRUE(storage_.exists(root_ + "/a").value());
  std::vector<std::uint8_t> read(1);
  auto file = storage_.open(root_ + "/b", Storage::Mode::kRead);
  ASSERT_TRUE(file.value()->read_at(0, read).ok());
  EXPECT_EQ(read[0], 'b');
  EXPECT_TRUE(storage_.rename_new(root_ + "/a", root_ + "/c").value());
  EXPECT_FALSE(storage_.exists(root_ + "/a").value());
  EXPECT_EQ(storage_.rename_new(root_ + "/a", root_ + "/d").error().code, ErrorCode::kIo);
}

TEST_F(PosixStorageTest, ExistsDoesNotGuess) {
  EXPECT_TRUE(storage_.exists(root_).value());
  EXPECT_FALSE(storage_.exists(root_ + "/none/below").value());
  ASSERT_TRUE(storage_.open(root_ + "/file", Storage::Mode::kCreateNew).ok());
  EXPECT_FALSE(storage_.exists(root_ + "/file/below").value());
  EXPECT_EQ(storage_.exists(root_ + "/" + std::string(300, 'x')).error().code, ErrorCode::kIo);
}

TEST_F(PosixStorageTest, LocksExclude) {
  {
    const auto lock = storage_.lock(root_ + "/lock");
    ASSERT_TRUE(lock.ok()) << lock.error().message;
    EXPECT_EQ(storage_.lock(root_ + "/lock").error().code, ErrorCode::kPoolBusy);
  }
  EXPECT_TRUE(storage_.lock(root_ + "/lock").ok());
}

TEST_F(PosixStorageTest, PoolsOnARealDisk) {
  TestSite site;
  site.storage = &storage_;
  site.root = root_ + "/m";
  site.correction_size = 150000;
  site.make_machines();
  ASSERT_TRUE(site.publish_once(0, 6, 1).ok());
  for (const int player : {0, 1}) {
    auto pool = Pool::open(site.pool_options(player));
    ASSERT_TRUE(pool.ok()) << pool.error().message;
    EXPECT_EQ(Pool::open(site.pool_options(player)).error().code, ErrorCode::kPoolBusy);
    const auto ranges = pool->ranges(test_key()).value();
    ASSERT_TRUE(pool->claim_blocking(test_key(), claim_of(ranges, 0, 6, 2)).ok());
    for (std::uint64_t number = 0; number < 6; ++number) {
      const auto bundle = pool->read_bundle_blocking(test_key(), number);
      ASSERT_TRUE(bundle.ok()) << bundle.error().message;
      site.expect_bundle(*bundle, player, 1, number);
    }
    EXPECT_FALSE(storage_.exists(site.segment_path(player, ranges[0])).value());
  }
}

TEST_F(PosixStorageTest, OpenFolderModeIsRefused) {
  TestSite site;
  site.storage = &storage_;
  site.root = root_ + "/m";
  site.make_machines();
  ASSERT_TRUE(storage_.make_directory(site.directory(0)).ok());
  ASSERT_EQ(::chmod(site.directory(0).c_str(), 0755), 0);
  EXPECT_EQ(Pool::open(site.pool_options(0)).error().code, ErrorCode::kConfig);
}

TEST_F(PosixStorageTest, SmallDiskFillsUpAndStaysConsistent) {
  const std::string mount = root_ + "/small";
  ASSERT_TRUE(storage_.make_directory(mount).ok());
  if (::mount("tmpfs", mount.c_str(), "tmpfs", 0, "size=2m,mode=0700") != 0) {
    GTEST_SKIP() << "this user may not mount a small disk";
  }
  {
    TestSite site;
    site.storage = &storage_;
    site.root = mount + "/m";
    site.correction_size = 100000;
    site.make_machines();
    auto pools = PoolSet::open(site.set_options());
    ASSERT_TRUE(pools.ok());
    std::uint64_t published = 0;
    Result<void> outcome;
    while (published < 100) {
      outcome = site.publish(*pools, published, 4, published + 1);
      if (!outcome.ok()) break;
      published += 4;
    }
    EXPECT_EQ(outcome.error().code, ErrorCode::kNoSpace) << outcome.error().message;
    EXPECT_GE(published, 4u);
    EXPECT_EQ(pools->survey(test_key())->level_bundles, published);
    EXPECT_EQ(pools->survey(test_key())->next_number, published);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(mount)) {
      EXPECT_NE(entry.path().extension(), kTemporarySuffix);
    }
  }
  EXPECT_EQ(::umount(mount.c_str()), 0);
}

}  // namespace
}  // namespace beaverpond::testing
