#include "offline/factory/factory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <new>
#include <stdexcept>
#include <thread>

#include "tests/offline/factory/factory_fixture.h"
#include "tests/offline/pool/memory_disk.h"

namespace beaverpond::testing {
namespace {

class FactoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    site_.storage = &disk_;
    site_.root = "/f/p";
    ASSERT_TRUE(disk_.make_directory("/f").ok());
    site_.make_machines();
    ASSERT_TRUE(disk_.sync_directory("/f").ok());
  }

  Factory open(const FactoryOptions& options) {
    auto factory = Factory::open(options);
    EXPECT_TRUE(factory.ok()) << factory.error().message;
    return std::move(factory).value();
  }

  std::uint64_t level() {
    auto pools = PoolSet::open(site_.set_options());
    return pools->survey(test_key())->level_bundles;
  }

  MemoryDisk disk_;
  TestSite site_;
};

TEST_F(FactoryTest, MakesWhatIsConsumed) {
  for (const int players : {2, 3, 5}) {
    MemoryDisk disk;
    TestSite site;
    site.storage = &disk;
    site.players = players;
    site.correction_size = 70001;
    site.make_machines();
    Consumer consumer(site);
    FactoryOptions options = factory_options(site);
    std::vector<FactoryEvent> events;
    options.on_event = [&](const FactoryEvent& event) { events.push_back(event); };
    auto factory = open(options);
    ASSERT_TRUE(factory.make_blocking(10).ok());
    EXPECT_EQ(factory.totals().bundles, 10u);
    ASSERT_EQ(events.size(), 3u);  // 4 + 4 + 2
    EXPECT_EQ(events[2].segment.range.first, 8u);
    EXPECT_EQ(events[2].level_bundles, 10u);
    EXPECT_EQ(factory.totals().bytes,
              events[0].segment.bytes + events[1].segment.bytes + events[2].segment.bytes);
    EXPECT_EQ(consumer.consume(7), 7u);
    ASSERT_TRUE(factory.make_blocking(3).ok());
    EXPECT_EQ(events.back().segment.range.first, 10u);
    EXPECT_EQ(consumer.consume(100), 6u);
    EXPECT_EQ(consumer.spent(), 13u);
  }
}

TEST_F(FactoryTest, DefaultSegmentsSuitThePlan) {
  FactoryOptions options = factory_options(site_);
  options.segment_bundles = 0;
  std::uint64_t largest = 0;
  options.on_event = [&](const FactoryEvent& e) {
    largest = std::max(largest, e.segment.range.count);
  };
  ASSERT_TRUE(open(options).make_blocking(600).ok());
  EXPECT_EQ(largest, 512u);
}

TEST_F(FactoryTest, SecondFactoryAndWrongFoldersAreRefused) {
  const FactoryOptions options = factory_options(site_);
  auto factory = open(options);
  EXPECT_EQ(Factory::open(options).error().code, ErrorCode::kPoolBusy);
  FactoryOptions swapped = options;
  std::swap(swapped.pools.directories[0], swapped.pools.directories[1]);
  { const Factory gone = std::move(factory); }
  EXPECT_EQ(Factory::open(swapped).error().code, ErrorCode::kRosterMismatch);
  FactoryOptions other_roster = options;
  other_roster.pools.roster_hash[5] ^= 1;
  EXPECT_EQ(Factory::open(other_roster).error().code, ErrorCode::kRosterMismatch);
}

TEST_F(FactoryTest, RefusesBeforeWritingWhenTheDiskIsTooSmall) {
  FactoryOptions options = factory_options(site_);
  options.disk_reserve.value = 1 << 20;
  auto factory = open(options);
  disk_.set_free_bytes((1 << 20) + 1000);
  const std::uint64_t files = disk_.files("/f").size();
  const auto made = factory.make_blocking(4);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(disk_.files("/f").size(), files);
}

TEST_F(FactoryTest, DiskThatFillsUpWhileWritingPublishesNothing) {
  auto factory = open(factory_options(site_));
  ASSERT_TRUE(factory.make_blocking(4).ok());
  for (const std::uint64_t write : {0u, 1u, 3u, 5u, 7u}) {
    disk_.refuse_write("/f", write);
    EXPECT_EQ(factory.make_blocking(4).error().code, ErrorCode::kNoSpace) << write;
    for (const std::string& path : disk_.files("/f")) {
      EXPECT_FALSE(path.ends_with(kTemporarySuffix)) << path;
    }
  }
  ASSERT_TRUE(factory.make_blocking(4).ok());
  Consumer consumer(site_);
  EXPECT_EQ(consumer.consume(100), 8u);
}

TEST_F(FactoryTest, StopDropsTheUnfinishedSegment) {
  std::atomic<bool> stop = false;
  FactoryOptions options = factory_options(site_);
  options.stop = &stop;
  std::atomic<int> dealt = 0;
  options.dealers = {
      [&](std::span<const Seed> seeds, int designated, std::span<std::uint8_t> correction) {
        if (++dealt == 6) stop = true;
        return fake_deal(seeds, designated, correction);
      }};
  {
    auto factory = open(options);
    EXPECT_EQ(factory.make_blocking(100).error().code, ErrorCode::kCancelled);
  }
  EXPECT_EQ(level(), 4u);
  for (const std::string& path : disk_.files("/f")) {
    EXPECT_FALSE(path.ends_with(kTemporarySuffix)) << path;
  }
}

template <class Failure>
DealFunction deal_until(std::atomic<int>& left, const Failure& failure) {
  return [&left, failure](std::span<const Seed> seeds, int designated,
                          std::span<std::uint8_t> correction) {
    if (left-- <= 0) throw failure;
    return fake_deal(seeds, designated, correction);
  };
}

TEST_F(FactoryTest, ADealerThatThrowsPublishesNothing) {
  std::atomic<int> left = 0;
  for (const int good : {0, 1, 3}) {
    FactoryOptions options = factory_options(site_);
    options.dealers = {deal_until(left, std::bad_alloc()), deal_until(left, std::bad_alloc())};
    left = good;
    EXPECT_EQ(open(options).make_blocking(4).error().code, ErrorCode::kOutOfMemory) << good;
    options.dealers = {deal_until(left, std::runtime_error("broken"))};
    left = good;
    const auto made = open(options).make_blocking(4);
    EXPECT_EQ(made.error().code, ErrorCode::kIo) << good;
    EXPECT_NE(made.error().message.find("broken"), std::string::npos);
    for (const std::string& path : disk_.files("/f")) {
      EXPECT_FALSE(path.ends_with(kTemporarySuffix) || path.ends_with(kSegmentSuffix)) << path;
    }
  }
  EXPECT_EQ(level(), 0u);
  ASSERT_TRUE(open(factory_options(site_)).make_blocking(4).ok());
  EXPECT_EQ(level(), 4u);
}

TEST_F(FactoryTest, ADeviceThatFailsPublishesNothingAndLosesNothing) {
  Consumer consumer(site_);
  for (const ErrorCode code : {ErrorCode::kDeviceFailed, ErrorCode::kOutOfMemory}) {
    for (const int good : {0, 1, 3, 6}) {
      std::atomic<int> left = good;
      FactoryOptions options = factory_options(site_);
      const DealFunction deal = [&](std::span<const Seed> seeds, int designated,
                                    std::span<std::uint8_t> correction) -> Result<void> {
        if (left-- <= 0) return make_error(code, "the device fell off the bus");
        return fake_deal(seeds, designated, correction);
      };
      options.dealers = {deal, deal};
      const std::uint64_t before = level();
      {
        auto factory = open(options);
        const auto made = factory.make_blocking(8);
        ASSERT_FALSE(made.ok());
        EXPECT_EQ(made.error().code, code);
        EXPECT_NE(made.error().message.find("fell off the bus"), std::string::npos);
        EXPECT_NE(made.error().message.find("dropped"), std::string::npos);
      }
      EXPECT_EQ(level(), before + (good >= 4 ? 4 : 0)) << good;
      for (const std::string& path : disk_.files("/f")) {
        EXPECT_FALSE(path.ends_with(kTemporarySuffix)) << path;
      }
      ASSERT_TRUE(open(factory_options(site_)).make_blocking(4).ok());
      consumer.consume(2);  // checks every correction, and that no number and no seed comes twice
    }
  }
  consumer.consume(1000);
  EXPECT_EQ(consumer.spent(), 2u * (4 * 4 + 4));
  EXPECT_EQ(level(), 0u);
}

TEST_F(FactoryTest, CorrectionsLieInMemoryOfTheDealersChoice) {
  std::set<const std::uint8_t*> given;
  std::mutex mutex;
  int live = 0;
  bool full = false;
  FactoryOptions options = factory_options(site_);
  options.allocate = [&](std::size_t size) -> Result<BufferCache::Buffer> {
    const std::lock_guard<std::mutex> guard(mutex);
    if (full) return make_error(ErrorCode::kOutOfMemory, "no pinned memory is left");
    auto* bytes = new std::vector<std::uint8_t>(size);
    given.insert(bytes->data());
    ++live;
    return BufferCache::Buffer{*bytes, std::shared_ptr<const void>(bytes, [&live, bytes](auto*) {
                                 --live;
                                 delete bytes;
                               })};
  };
  const DealFunction deal = [&](std::span<const Seed> seeds, int designated,
                                std::span<std::uint8_t> correction) {
    {
      const std::lock_guard<std::mutex> guard(mutex);
      EXPECT_EQ(given.count(correction.data()), 1u);
    }
    return fake_deal(seeds, designated, correction);
  };
  options.dealers = {deal, deal};
  auto factory = open(options);
  ASSERT_TRUE(factory.make_blocking(4).ok());
  EXPECT_LE(given.size(), 3u);  // one a dealer and one that is written, used again
  EXPECT_EQ(live, 0);
  full = true;
  EXPECT_EQ(factory.make_blocking(4).error().code, ErrorCode::kOutOfMemory);
  EXPECT_EQ(live, 0);
}

/// Waits for another thread's count.
bool reaches(const std::atomic<int>& count, int wanted) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (count < wanted && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  return count >= wanted;
}

TEST_F(FactoryTest, TheNextSegmentIsDealtWhileOneIsPublishedAndNoFurther) {
  std::atomic<int> dealt = 0;
  FactoryOptions options = factory_options(site_);
  const DealFunction deal = [&](std::span<const Seed> seeds, int designated,
                                std::span<std::uint8_t> correction) {
    ++dealt;
    return fake_deal(seeds, designated, correction);
  };
  options.dealers = {deal, deal};
  std::vector<PublishedRange> published;
  options.on_event = [&](const FactoryEvent& event) {
    published.push_back(event.segment.range);
    const auto out = static_cast<int>(event.segment.range.end());
    const int ahead = out < 11 ? std::min(2, 11 - out) : 0;
    EXPECT_TRUE(reaches(dealt, out + ahead)) << "the dealers wait for the disk";
    EXPECT_LE(dealt, out < 11 ? std::min(out + 4, 11) : out) << "more than was announced";
  };
  {
    auto factory = open(options);
    ASSERT_TRUE(factory.make_blocking(11).ok());
    ASSERT_TRUE(factory.make_blocking(4).ok());
  }
  ASSERT_EQ(published.size(), 4u);  // 4 + 4 + 3, 4
  EXPECT_EQ(published[3].first, 11u);
  EXPECT_NE(published[0].set_id, published[1].set_id);
  Consumer consumer(site_);  // checks every correction, and that no seed comes twice
  EXPECT_EQ(consumer.consume(100), 15u);
}

TEST_F(FactoryTest, TheNextSegmentIsWrittenWhileOneIsSynced) {
  site_.correction_size = 200000;  // more than one piece
  const auto count_temporaries = [this] {
    int count = 0;
    for (const std::string& path : disk_.files("/f")) {
      count += path.ends_with(kTemporarySuffix) ? 1 : 0;
    }
    return count;
  };
  std::atomic<int> temporaries = 0;
  std::atomic<bool> first = true;
  disk_.before_sync([&](const std::string& path) {
    if (path.find("/lane-") == std::string::npos || !first.exchange(false)) return;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (temporaries < 4 && std::chrono::steady_clock::now() < deadline) {
      temporaries = count_temporaries();
      std::this_thread::yield();
    }
  });
  FactoryOptions options = factory_options(site_);
  std::vector<PublishedRange> published;
  options.on_event = [&](const FactoryEvent& event) { published.push_back(event.segment.range); };
  {
    auto factory = open(options);
    ASSERT_TRUE(factory.make_blocking(12).ok());
  }
  EXPECT_EQ(temporaries, 4) << "the next segment waits for the sync of this one";
  EXPECT_EQ(count_temporaries(), 0);
  ASSERT_EQ(published.size(), 3u);
  Consumer consumer(site_);  // checks every correction, and that no seed comes twice
  EXPECT_EQ(consumer.consume(100), 12u);
}

TEST_F(FactoryTest, AFailedSyncPublishesNothingOfItsSegmentNorOfTheNext) {
  Consumer consumer(site_);
  int failures = 0;
  for (std::uint64_t sync = 0; sync < 33; ++sync) {  // of 30: three segments, two players
    const std::uint64_t before = level();
    Result<void> made;
    {
      auto factory = open(factory_options(site_));
      disk_.fail_sync("/f", sync);
      made = factory.make_blocking(12);
      disk_.restart("/f");  // the failure that did not come is forgotten
    }
    if (!made.ok()) {
      ++failures;
      EXPECT_EQ(made.error().code, ErrorCode::kIo);
      EXPECT_NE(made.error().message.find("sync"), std::string::npos) << made.error().message;
    }
    for (const std::string& path : disk_.files("/f")) {
      EXPECT_FALSE(path.ends_with(kTemporarySuffix)) << path;
    }
    const std::uint64_t gained = level() - before;
    EXPECT_EQ(gained % 4, 0u);
    EXPECT_LE(gained, 12u);
    if (made.ok()) {
      EXPECT_EQ(gained, 12u);
    }
    disk_.crash("/f", Loss::kDropAll, sync);
    consumer.consume(4);
  }
  EXPECT_GE(failures, 12);  // not where the next segment's folder failed: it is begun again
  EXPECT_LT(failures, 33);
  consumer.consume(100000);  // checks every correction, and that no number and no seed comes twice
  EXPECT_GE(consumer.spent(), 12u);
}

TEST_F(FactoryTest, WhatFailsWhileTheNextSegmentIsWrittenFailsThatOneAlone) {
  auto pools = PoolSet::open(site_.set_options());
  ASSERT_TRUE(pools.ok());
  std::atomic<int> left = 5;
  FactoryClass made;
  made.key = test_key();
  made.correction_size.value = site_.correction_size;
  made.dealers = {[&](std::span<const Seed> seeds, int designated,
                      std::span<std::uint8_t> correction) -> Result<void> {
    if (left-- <= 0) return make_error(ErrorCode::kDeviceFailed, "the device fell off the bus");
    return fake_deal(seeds, designated, correction);
  }};
  made.segment_bundles = 4;
  auto maker = SegmentMaker::create(*pools, made, fill_random_blocking);
  ASSERT_TRUE(maker.ok());
  std::atomic<bool> first = true;
  disk_.before_sync([&](const std::string& path) {  // until the next one's second bundle failed
    if (!path.ends_with(kTemporarySuffix) || !first.exchange(false)) return;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (left >= 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  });
  EXPECT_EQ(maker->make_blocking(4, 4, nullptr)->range.end(), 4u);
  EXPECT_EQ(maker->make_blocking(4, 0, nullptr).error().code, ErrorCode::kDeviceFailed);
  EXPECT_EQ(maker->bytes_ahead().value(), 0u);
  left = 1000;
  EXPECT_EQ(maker->make_blocking(4, 4, nullptr)->range.end(), 8u);
  maker->rest_blocking();
  for (const std::string& path : disk_.files("/f")) {
    EXPECT_FALSE(path.ends_with(kTemporarySuffix)) << path;
  }
  Consumer consumer(site_);
  EXPECT_EQ(consumer.consume(100), 8u);
}

TEST_F(FactoryTest, WhatWasDealtAheadOfOtherNumbersIsDropped) {
  auto pools = PoolSet::open(site_.set_options());
  ASSERT_TRUE(pools.ok());
  FactoryClass made;
  made.key = test_key();
  made.correction_size.value = site_.correction_size;
  made.dealers = {fake_deal, fake_deal};
  made.segment_bundles = 4;
  auto maker = SegmentMaker::create(*pools, made, fill_random_blocking);
  ASSERT_TRUE(maker.ok());
  EXPECT_EQ(maker->make_blocking(4, 3, nullptr)->range.end(), 4u);
  // Another count than was announced, once below and once above; then a rest.
  EXPECT_EQ(maker->make_blocking(2, 1, nullptr)->range.end(), 6u);
  SegmentMaker moved = std::move(maker).value();
  EXPECT_EQ(moved.make_blocking(3, 4, nullptr)->range.end(), 9u);
  moved.rest_blocking();
  EXPECT_EQ(moved.make_blocking(4, 0, nullptr)->range.end(), 13u);
  Consumer consumer(site_);
  EXPECT_EQ(consumer.consume(100), 13u);
}

TEST_F(FactoryTest, WhatFailsOfTheNextSegmentFailsThatOneAlone) {
  auto pools = PoolSet::open(site_.set_options());
  ASSERT_TRUE(pools.ok());
  int draws = 0;
  int last_draw = 1000000;
  const EntropySource entropy = [&](std::span<std::uint8_t> bytes) -> Result<void> {
    if (++draws > last_draw) return make_error(ErrorCode::kIo, "no entropy");
    return fill_random_blocking(bytes);
  };
  std::atomic<int> live = 0;
  std::atomic<int> most = 1000000;
  FactoryClass made;
  made.key = test_key();
  made.correction_size.value = site_.correction_size;
  made.dealers = {fake_deal, fake_deal};
  made.segment_bundles = 4;
  made.allocate = [&](std::size_t size) -> Result<BufferCache::Buffer> {
    if (live >= most) return make_error(ErrorCode::kOutOfMemory, "no pinned memory is left");
    ++live;
    auto* bytes = new std::vector<std::uint8_t>(size);
    return BufferCache::Buffer{*bytes, std::shared_ptr<const void>(bytes, [&live, bytes](auto*) {
                                 --live;
                                 delete bytes;
                               })};
  };
  auto maker = SegmentMaker::create(*pools, made, entropy);
  ASSERT_TRUE(maker.ok());
  ASSERT_TRUE(maker->make_blocking(4, 0, nullptr).ok());
  const int of_a_segment = draws;
  draws = 0;
  last_draw = of_a_segment + 2;  // the next one's seeds end in the middle
  EXPECT_EQ(maker->make_blocking(4, 3, nullptr)->range.end(), 8u);
  EXPECT_EQ(maker->make_blocking(3, 0, nullptr).error().code, ErrorCode::kIo);
  last_draw = 1000000;
  EXPECT_EQ(maker->make_blocking(3, 0, nullptr)->range.end(), 11u);

  // Memory for one correction, which is that of the only bundle of this segment.
  maker->rest_blocking();
  most = 1;
  EXPECT_EQ(maker->make_blocking(1, 3, nullptr)->range.end(), 12u);
  EXPECT_EQ(maker->make_blocking(3, 2, nullptr)->range.end(), 15u);
  maker->rest_blocking();
  EXPECT_EQ(live, 0);
  most = 0;
  EXPECT_EQ(maker->make_blocking(2, 0, nullptr).error().code, ErrorCode::kOutOfMemory);
  most = 2;
  EXPECT_EQ(maker->make_blocking(2, 0, nullptr)->range.end(), 17u);
  Consumer consumer(site_);  // checks every correction, and that no seed comes twice
  EXPECT_EQ(consumer.consume(100), 17u);
}

TEST_F(FactoryTest, PowerLossAtEveryOperation) {
  Consumer consumer(site_);
  std::uint64_t runs = 0;
  for (bool finished = false; !finished; ++runs) {
    ASSERT_LT(runs, 400u);
    {
      auto factory = Factory::open(factory_options(site_));
      ASSERT_TRUE(factory.ok()) << factory.error().message;
      disk_.stop_after("/f", runs);
      finished = factory->make_blocking(9).ok();
    }
    disk_.crash("/f", runs % 2 == 0 ? Loss::kDropAll : Loss::kTornSectors, runs);
    consumer.consume(runs % 3);
  }
  consumer.consume(100000);
  EXPECT_GT(consumer.spent(), 5u);
}

}  // namespace
}  // namespace beaverpond::testing
