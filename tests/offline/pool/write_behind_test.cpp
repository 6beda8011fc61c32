#include "offline/pool/write_behind.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "tests/offline/pool/memory_disk.h"

namespace beaverpond::testing {
namespace {

constexpr std::size_t kPiece = 4096;

BufferCache::Buffer piece_of(WriteBehind& behind, std::uint8_t value) {
  auto piece = behind.take();
  EXPECT_TRUE(piece.ok());
  std::fill(piece->bytes.begin(), piece->bytes.end(), value);
  return *piece;
}

std::shared_ptr<StorageFile> create(MemoryDisk& disk, const std::string& path) {
  (void)disk.make_directory("/f");
  return disk.open(path, Storage::Mode::kCreateNew).value();
}

TEST(WriteBehind, WritesInOrder) {
  MemoryDisk disk;
  const auto a = create(disk, "/f/a");
  const auto b = create(disk, "/f/b");
  WriteBehind behind(kPiece, 2);
  EXPECT_TRUE(behind.drain_blocking().ok());
  for (int i = 0; i < 40; ++i) {
    const auto value = static_cast<std::uint8_t>(i);
    ASSERT_TRUE(behind.write_blocking(a, 100, piece_of(behind, value), kPiece - 1).ok());
    ASSERT_TRUE(behind.write_blocking(b, 10u * value, piece_of(behind, value), 10).ok());
  }
  ASSERT_TRUE(behind.drain_blocking().ok());
  std::vector<std::uint8_t> expected(100 + kPiece - 1, 39);
  std::fill_n(expected.begin(), 100, std::uint8_t{0});
  EXPECT_EQ(disk.content("/f/a"), expected);  // of writes to one place the last
  ASSERT_EQ(disk.content("/f/b").size(), 400u);
  for (std::size_t i = 0; i < 400; ++i) EXPECT_EQ(disk.content("/f/b")[i], i / 10);
}

TEST(WriteBehind, NothingIsWrittenAfterAnError) {
  MemoryDisk disk;
  const auto file = create(disk, "/f/a");
  WriteBehind behind(kPiece, 2);
  disk.refuse_write("/f", 1);
  Result<void> outcome;
  for (std::uint64_t i = 0; i < 20 && outcome.ok(); ++i) {
    outcome = behind.write_blocking(file, i * kPiece, piece_of(behind, 1), kPiece);
  }
  EXPECT_EQ(behind.drain_blocking().error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(behind.drain_blocking().error().code, ErrorCode::kNoSpace);  // said again
  EXPECT_EQ(behind.write_blocking(file, 0, piece_of(behind, 2), kPiece).error().code,
            ErrorCode::kNoSpace);
  EXPECT_EQ(disk.content("/f/a"), std::vector<std::uint8_t>(kPiece, 1));
}

/// Writes wait until they are let through.
class SlowFile final : public StorageFile {
 public:
  Result<std::size_t> read_at(std::uint64_t, std::span<std::uint8_t>) override {
    return std::size_t{0};
  }
  Result<void> write_at(std::uint64_t, std::span<const std::uint8_t>) override {
    std::unique_lock<std::mutex> lock(mutex_);
    ++begun_;
    changed_.notify_all();
    changed_.wait_for(lock, std::chrono::seconds(60), [this] { return open_; });
    return {};
  }
  void start_writeback(std::uint64_t offset, std::uint64_t size) override {
    const std::lock_guard<std::mutex> guard(mutex_);
    written_back_.emplace_back(offset, size);
  }
  Result<void> sync() override { return {}; }
  Result<std::uint64_t> size() override { return std::uint64_t{0}; }

  void let_through() {
    const std::lock_guard<std::mutex> guard(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool begins() {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [this] { return begun_ > 0; });
  }
  int begun() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return begun_;
  }
  std::vector<std::pair<std::uint64_t, std::uint64_t>> written_back() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return written_back_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int begun_ = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> written_back_;
};

TEST(WriteBehind, TheCallerRunsAheadOfASlowDiskButNotFar) {
  const auto file = std::make_shared<SlowFile>();
  WriteBehind behind(kPiece, 2);
  std::atomic<int> ordered = 0;
  constexpr int kMost = 1 + static_cast<int>(WriteBehind::kMostWaiting);
  std::thread caller([&] {
    for (int i = 0; i < kMost + 1; ++i) {
      EXPECT_TRUE(behind.write_blocking(file, 0, piece_of(behind, 1), kPiece).ok());
      ++ordered;
    }
  });
  ASSERT_TRUE(file->begins());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (ordered < kMost && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(ordered, kMost);
  EXPECT_EQ(file->begun(), 1);
  file->let_through();
  caller.join();
  EXPECT_TRUE(behind.drain_blocking().ok());
  EXPECT_EQ(file->begun(), kMost + 1);
}

TEST(WriteBehind, AFileStaysOpenUntilItIsWrittenWhoeverLetsGoOfIt) {
  auto file = std::make_shared<SlowFile>();
  const std::weak_ptr<SlowFile> seen = file;
  WriteBehind behind(kPiece, 2);
  ASSERT_TRUE(behind.write_blocking(file, 0, piece_of(behind, 1), kPiece).ok());
  ASSERT_TRUE(file->begins());
  ASSERT_TRUE(behind.write_blocking(std::move(file), kPiece, piece_of(behind, 2), 7).ok());
  ASSERT_FALSE(seen.expired());
  seen.lock()->let_through();
  EXPECT_TRUE(behind.drain_blocking().ok());
  EXPECT_TRUE(seen.expired()) << "nor any longer";
}

TEST(WriteBehind, TheDiskIsToldToBeginWithWhatItWasGiven) {
  const auto file = std::make_shared<SlowFile>();
  file->let_through();
  WriteBehind behind(kPiece, 2);
  ASSERT_TRUE(behind.write_blocking(file, 0, piece_of(behind, 1), kPiece).ok());
  ASSERT_TRUE(behind.write_blocking(file, 2 * kPiece, piece_of(behind, 1), 7).ok());
  ASSERT_TRUE(behind.drain_blocking().ok());
  const std::vector<std::pair<std::uint64_t, std::uint64_t>> all{{0, kPiece}, {2 * kPiece, 7}};
  EXPECT_EQ(file->written_back(), all);
}

}  // namespace
}  // namespace beaverpond::testing
