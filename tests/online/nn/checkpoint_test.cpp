// Checkpoints on a disk that loses power, is damaged, or belongs to somebody else.
#include "online/nn/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "online/session/session.h"
#include "tests/offline/pool/memory_disk.h"
#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kFolder[] = "/m0/checkpoints";

class Checkpoints : public ::testing::Test {
 protected:
  Checkpoints() {
    site_.storage = &disk_;
    site_.make_machines();
    binding_.pool = test_identity(0, 2);
    binding_.plan.fill(1);
    binding_.job.fill(2);
    binding_.own_data.fill(3);
  }
  Result<CheckpointStore> open(int player = 0) {
    BP_ASSIGN(PoolKey key, PoolKey::read(disk_, pool_key_path(site_.directory(player))));
    return CheckpointStore::open(disk_, kFolder, std::move(key), binding_);
  }
  static CheckpointName name(std::uint64_t step, std::uint64_t session = 5) {
    CheckpointName out;
    out.run.fill(4);
    out.session = session;
    out.step = step;
    return out;
  }
  /// Three states; the second is larger than a chunk.
  static Checkpoint content(std::uint64_t step, std::uint64_t session = 5) {
    Checkpoint out;
    out.name = name(step, session);
    for (const std::size_t size : {3u, 20000u, 0u}) {
      std::vector<std::uint64_t>& words = out.states.emplace_back(size);
      for (std::size_t i = 0; i < size; ++i) words[i] = (i + step) * 0x9e3779b97f4a7c15u;
    }
    return out;
  }
  std::string only_file() {
    std::vector<std::string> files;
    for (const std::string& path : disk_.files("/m0")) {
      if (path.ends_with(".ckpt")) files.push_back(path);
    }
    EXPECT_EQ(files.size(), 1u);
    return files.empty() ? "" : files.front();
  }

  MemoryDisk disk_;
  TestSite site_;
  CheckpointBinding binding_;
};

TEST_F(Checkpoints, ComeBackAsTheyWereAndTheLastTwoAreKept) {
  CheckpointStore store = open().value();
  EXPECT_TRUE(store.held().empty());
  for (const std::uint64_t step : {0u, 20u, 40u}) {
    ASSERT_TRUE(store.write_blocking(content(step)).ok());
  }
  CheckpointStore again = open().value();
  EXPECT_THAT(again.held(), ElementsAre(name(20), name(40)));
  EXPECT_EQ(again.read_blocking(name(40))->states, content(40).states);
  ASSERT_TRUE(again.keep_only_blocking(name(20)).ok());
  EXPECT_THAT(open()->held(), ElementsAre(name(20)));
}

TEST_F(Checkpoints, NothingOfTheSharesIsInTheFile) {
  CheckpointStore store = open().value();
  ASSERT_TRUE(store.write_blocking(content(1)).ok());
  const std::vector<std::uint8_t> first = disk_.content(only_file());
  std::array<std::uint8_t, 8> word{};
  for (std::size_t i = 0; i < 20000; i += 97) {
    store_le(word, 0, content(1).states[1][i], 8);
    EXPECT_EQ(std::search(first.begin(), first.end(), word.begin(), word.end()), first.end());
  }
  // The same again is sealed under another key.
  ASSERT_TRUE(store.keep_only_blocking(std::nullopt).ok());
  ASSERT_TRUE(store.write_blocking(content(1)).ok());
  const std::vector<std::uint8_t> second = disk_.content(only_file());
  EXPECT_FALSE(std::equal(first.begin() + kBlockSize, first.begin() + kBlockSize + 64,
                          second.begin() + kBlockSize));
}

TEST_F(Checkpoints, EveryDamagedByteIsFound) {
  ASSERT_TRUE(open()->write_blocking(content(7)).ok());
  const std::string path = only_file();
  const std::vector<std::uint8_t> whole = disk_.content(path);
  std::vector<std::size_t> places = {whole.size() - 1};
  for (std::size_t at = 0; at < 300; ++at) places.push_back(at);
  for (std::size_t at = 300; at < whole.size(); at += 1009) places.push_back(at);
  for (const std::size_t at : places) {
    disk_.content(path)[at] ^= 0x10;
    const CheckpointStore store = open().value();
    EXPECT_TRUE(store.held().empty()) << at;
    ASSERT_TRUE(store.damaged().has_value()) << at;
    EXPECT_EQ(store.damaged()->code, ErrorCode::kCheckpointCorrupt);
    EXPECT_THAT(store.damaged()->message, HasSubstr(path));
    const auto read = store.read_blocking(name(7));
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.error().code, ErrorCode::kCheckpointCorrupt);
    disk_.content(path)[at] ^= 0x10;
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{4095}, whole.size() - 1}) {
    disk_.content(path).assign(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_TRUE(open()->damaged().has_value()) << size;
  }
  disk_.content(path) = whole;
  EXPECT_FALSE(open()->damaged().has_value());
  // Under the name of another step it is no checkpoint of that step.
  ASSERT_TRUE(
      disk_.rename(path, kFolder + std::string("/000000000009-0000000000000005.ckpt")).ok());
  EXPECT_TRUE(open()->damaged().has_value());
}

TEST_F(Checkpoints, ThoseOfAnotherJobRosterPlayerOrDataAreRefused) {
  ASSERT_TRUE(open()->write_blocking(content(7)).ok());
  const CheckpointBinding mine = binding_;
  const auto refuse = [&](const char* what) {
    const auto store = open();
    binding_ = mine;
    ASSERT_FALSE(store.ok()) << what;
    EXPECT_EQ(store.error().code, ErrorCode::kCheckpointMismatch);
    EXPECT_THAT(store.error().message, HasSubstr(what));
  };
  binding_.job[5] ^= 1;
  refuse("another job");
  binding_.plan[5] ^= 1;
  refuse("another plan");
  binding_.own_data[5] ^= 1;
  refuse("other data");
  binding_.pool.epoch ^= 1;
  refuse("another epoch of the roster");
  binding_.pool.roster_hash[5] ^= 1;
  refuse("another roster");
  binding_.pool.player = 1;
  refuse("another player");
  binding_.pool.pool_id[5] ^= 1;
  refuse("another pool");
  const auto other = open(1);
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code, ErrorCode::kCheckpointMismatch);
  EXPECT_THAT(other.error().message, HasSubstr("another key file"));
}

TEST_F(Checkpoints, WhoHasNotTheLockLooksAndChangesNothing) {
  const PoolKey key = PoolKey::read(disk_, pool_key_path(site_.directory(0))).value();
  const auto last = [&] {
    return CheckpointStore::last_epoch_blocking(disk_, kFolder, key, binding_);
  };
  EXPECT_FALSE(last().value().has_value());  // no folder
  CheckpointStore store = open().value();
  EXPECT_FALSE(last().value().has_value());
  // What the player that holds the lock is about to rename.
  const std::string unfinished = std::string(kFolder) + "/000000000007-0000000000000005.ckpt.tmp";
  ASSERT_TRUE(disk_.open(unfinished, Storage::Mode::kCreateNew).ok());
  EXPECT_FALSE(last().value().has_value());
  EXPECT_TRUE(disk_.exists(unfinished).value());
  Checkpoint later = content(8);
  later.epoch = 3;
  ASSERT_TRUE(store.write_blocking(later).ok());
  EXPECT_EQ(last().value(), 3u);
  EXPECT_EQ(store.read_blocking(name(8))->epoch, 3u);
  binding_.job[5] ^= 1;
  EXPECT_EQ(last().error().code, ErrorCode::kCheckpointMismatch);
  binding_.job[5] ^= 1;
  disk_.content(only_file())[0] ^= 1;  // damaged, and there all the same
  EXPECT_EQ(last().value(), 0u);
  EXPECT_TRUE(disk_.exists(unfinished).value());
}

TEST_F(Checkpoints, DamagedFilesStayWhenOthersGo) {
  CheckpointStore store = open().value();
  ASSERT_TRUE(store.write_blocking(content(7)).ok());
  const std::string damaged = only_file();
  ASSERT_TRUE(store.write_blocking(content(8)).ok());
  disk_.content(damaged).back() ^= 1;
  CheckpointStore again = open().value();
  EXPECT_THAT(again.held(), ElementsAre(name(8)));
  ASSERT_TRUE(again.keep_only_blocking(std::nullopt).ok());
  EXPECT_TRUE(again.held().empty());
  EXPECT_EQ(only_file(), damaged);
}

TEST_F(Checkpoints, AHeadWithoutAPayloadIsNoCheckpoint) {
  ASSERT_TRUE(open()->write_blocking(content(7)).ok());
  std::vector<std::uint8_t>& file = disk_.content(only_file());
  // Anyone can make the head's hash right; nothing behind it was sealed.
  Block block{};
  std::copy_n(file.begin(), block.size(), block.begin());
  store_le(block, 20, 0, 4);   // states
  store_le(block, 208, 0, 8);  // size of the payload
  seal_block(block);
  file.assign(block.begin(), block.end());
  const CheckpointStore store = open().value();
  EXPECT_TRUE(store.held().empty());
  EXPECT_TRUE(store.damaged().has_value());
}

/// A session would refuse it from every player, whoever wrote it into the file.
TEST_F(Checkpoints, AHeadOfAnEpochBeyondTheLastIsDamaged) {
  const PoolKey key = PoolKey::read(disk_, pool_key_path(site_.directory(0))).value();
  Checkpoint latest = content(7);
  latest.epoch = kLatestEpoch;
  ASSERT_TRUE(open()->write_blocking(latest).ok());
  const auto last = [&] {
    return CheckpointStore::last_epoch_blocking(disk_, kFolder, key, binding_).value();
  };
  EXPECT_EQ(last(), kLatestEpoch);
  EXPECT_THAT(open()->held(), ElementsAre(name(7)));
  std::vector<std::uint8_t>& file = disk_.content(only_file());
  Block block{};
  std::copy_n(file.begin(), block.size(), block.begin());
  store_le(block, 248, kLatestEpoch + 1, 8);
  seal_block(block);
  std::copy(block.begin(), block.end(), file.begin());
  EXPECT_EQ(last(), 0u);
  const CheckpointStore store = open().value();
  EXPECT_TRUE(store.held().empty());
  ASSERT_TRUE(store.damaged().has_value());
  EXPECT_THAT(store.damaged()->message, HasSubstr("epoch"));
}

TEST_F(Checkpoints, NobodyTriesGuessesOfTheRowsOnAFile) {
  ASSERT_TRUE(open()->write_blocking(content(7)).ok());
  const std::vector<std::uint8_t>& file = disk_.content(only_file());
  EXPECT_EQ(
      std::search(file.begin(), file.end(), binding_.own_data.begin(), binding_.own_data.end()),
      file.end());
}

TEST_F(Checkpoints, PowerLossAtAnyOperationLeavesTheLastTwoOrTheNewOne) {
  for (std::uint64_t stop = 0;; ++stop) {
    MemoryDisk fresh;
    {
      site_.storage = &fresh;
      site_.make_machines();
      PoolKey key = PoolKey::read(fresh, pool_key_path(site_.directory(0))).value();
      (void)fresh.sync_directory("/");
      CheckpointStore store =
          CheckpointStore::open(fresh, kFolder, std::move(key), binding_).value();
      for (const std::uint64_t step : {20u, 40u}) {
        ASSERT_TRUE(store.write_blocking(content(step)).ok());
      }
      fresh.stop_after("/m0", stop);
      const bool done = store.write_blocking(content(60)).ok();
      fresh.crash("/m0", Loss::kReordered, stop);
      PoolKey same = PoolKey::read(fresh, pool_key_path(site_.directory(0))).value();
      const CheckpointStore after =
          CheckpointStore::open(fresh, kFolder, std::move(same), binding_).value();
      ASSERT_FALSE(after.held().empty()) << stop;
      EXPECT_FALSE(after.damaged().has_value()) << stop;
      // Step 40 is what all others surely hold.
      EXPECT_THAT(after.held(), ::testing::Contains(name(40))) << stop;
      EXPECT_TRUE(after.read_blocking(name(40)).ok());
      if (!done) continue;
      EXPECT_THAT(after.held(), ::testing::Contains(name(60))) << stop;
    }
    EXPECT_GT(stop, 4u);
    return;
  }
}

TEST_F(Checkpoints, AFullDiskLeavesTheOldOnes) {
  CheckpointStore store = open().value();
  ASSERT_TRUE(store.write_blocking(content(20)).ok());
  disk_.refuse_write("/m0", 1);
  const auto written = store.write_blocking(content(40));
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, ErrorCode::kNoSpace);
  EXPECT_THAT(open()->held(), ElementsAre(name(20)));
  ASSERT_TRUE(store.write_blocking(content(40)).ok());
}

}  // namespace
}  // namespace beaverpond::testing
