#include "offline/factory/service.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <thread>

#include "tests/offline/factory/factory_fixture.h"
#include "tests/offline/pool/memory_disk.h"

namespace beaverpond::testing {
namespace {

class ServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    site_.storage = &disk_;
    site_.root = "/f/p";
    ASSERT_TRUE(disk_.make_directory("/f").ok());
    site_.make_machines();
    ASSERT_TRUE(disk_.sync_directory("/f").ok());
    options_ = service_options(site_);
    options_.stop = &stop_;
    options_.drain = &drain_;
    options_.board = &board_;
    options_.on_event = [this](const FactoryEvent& event) {
      const std::lock_guard lock(mutex_);
      events_.push_back(event);
      changed_.notify_all();
    };
  }
  void TearDown() override { join(); }

  Result<void> start(ServiceConfig config) {
    auto service = Service::open(options_, std::move(config));
    if (!service.ok()) return service.error();
    if (after_open_) after_open_();
    thread_ = std::thread(
        [this, running = std::move(*service)]() mutable { outcome_ = running.serve_blocking(); });
    return {};
  }
  void join() {
    drain_ = true;
    if (thread_.joinable()) thread_.join();
  }

  using Kind = FactoryEvent::Kind;
  std::size_t count(Kind kind, const std::string& name = "") {
    const std::lock_guard lock(mutex_);
    return count_locked(kind, name);
  }
  /// Waits for the n-th event of a kind.
  bool wait_for(Kind kind, const std::string& name = "", std::size_t n = 1) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60),
                             [&] { return count_locked(kind, name) >= n; });
  }
  template <class Condition>
  bool wait_until(const Condition& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }
  std::uint64_t made(const std::string& name) {
    const std::lock_guard lock(mutex_);
    std::uint64_t bundles = 0;
    for (const FactoryEvent& event : events_) {
      if (event.kind == Kind::kSegment && event.name == name) bundles += event.segment.range.count;
    }
    return bundles;
  }
  ClassStatus status(const std::string& name) {
    for (const ClassStatus& one : board_.read().classes) {
      if (one.name == name) return one;
    }
    return {};
  }

  MemoryDisk disk_;
  TestSite site_;
  ServiceOptions options_;
  StatusBoard board_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> drain_ = false;
  std::function<void()> after_open_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<FactoryEvent> events_;
  std::thread thread_;
  Result<void> outcome_;

 private:
  std::size_t count_locked(Kind kind, const std::string& name) const {
    std::size_t found = 0;
    for (const FactoryEvent& event : events_) {
      if (event.kind == kind && (name.empty() || event.name == name)) ++found;
    }
    return found;
  }
};

TEST_F(ServiceTest, KeepsBetweenTheMarks) {
  ASSERT_TRUE(start({{service_class(site_, "one", 0, 5, 10)}, {}}).ok());
  Consumer consumer(site_);
  std::uint64_t consumed = 0;
  EXPECT_TRUE(wait_until([&] {
    consumed += consumer.consume(3);
    return consumed >= 40;
  }));
  // With the consumer at rest the pools stop between the marks.
  EXPECT_TRUE(wait_until([&] {
    const std::uint64_t before = made("one");
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    return before == made("one") && made("one") - consumed >= 5;
  }));
  EXPECT_EQ(consumed, consumer.spent());
  EXPECT_LE(made("one") - consumed, 10u);
  join();
  EXPECT_TRUE(outcome_.ok());
  for (const FactoryEvent& event : events_) EXPECT_LE(event.level_bundles, 10u);
}

TEST_F(ServiceTest, TheClassThatRunsDryFirstIsFilledFirst) {
  ServiceConfig config;
  config.classes = {service_class(site_, "slow", 0, 40, 40),
                    service_class(site_, "fast", 1, 40, 40)};
  config.classes[0].demand.floor_per_second = 0.1;
  config.classes[1].demand.floor_per_second = 10;
  ASSERT_TRUE(start(std::move(config)).ok());
  ASSERT_TRUE(wait_for(Kind::kFull, "slow"));
  join();
  // Four bundles last the slow class 40 s, and forty the fast one 4 s.
  std::vector<std::string> order;
  for (const FactoryEvent& event : events_) {
    if (event.kind == Kind::kSegment) order.push_back(event.name);
  }
  ASSERT_EQ(order.size(), 20u);
  std::vector<std::string> expected(20, "slow");
  std::fill(expected.begin() + 1, expected.begin() + 11, "fast");
  EXPECT_EQ(order, expected);
}

TEST_F(ServiceTest, SeveralClassesAreCountedByClassAndPlayer) {
  ServiceConfig config;
  config.classes = {service_class(site_, "one", 0, 40, 60), service_class(site_, "two", 1, 40, 60)};
  ASSERT_TRUE(start(std::move(config)).ok());
  ASSERT_TRUE(wait_for(Kind::kFull, "one"));
  ASSERT_TRUE(wait_for(Kind::kFull, "two"));
  Consumer one(site_, 0);
  Consumer two(site_, 1);
  EXPECT_EQ(one.consume(10), 10u);
  EXPECT_EQ(two.consume(31), 31u);
  EXPECT_TRUE(wait_until([&] { return status("two").consumed_bundles == 31; }));
  EXPECT_TRUE(wait_for(Kind::kFull, "two", 2));
  EXPECT_TRUE(wait_until([&] { return status("two").level_bundles == 60; }));
  EXPECT_EQ(status("two").produced_bundles, 91u);
  EXPECT_GT(status("two").consumed_per_second, 0);
  EXPECT_EQ(status("one").consumed_bundles, 10u);
  EXPECT_EQ(status("one").level_bundles, 50u);  // above its low mark
  ASSERT_EQ(status("two").players.size(), 2u);
  EXPECT_EQ(status("two").players[1].watermark, 31u);
  EXPECT_EQ(status("two").players[1].consumed_bundles, 31u);
  EXPECT_EQ(status("two").players[1].available_bundles, 60u);
  join();
  EXPECT_TRUE(outcome_.ok());
}

TEST_F(ServiceTest, MarksInSecondsGrowWithConsumption) {
  ServiceClass one = service_class(site_, "one", 0, 0, 0);
  one.demand.low_seconds = 10;
  one.demand.high_seconds = 20;
  one.demand.floor_per_second = 0.4;
  ASSERT_TRUE(start({{one}, {}}).ok());
  ASSERT_TRUE(wait_for(Kind::kFull));
  ASSERT_TRUE(wait_until([&] { return status("one").level_bundles == 8; }));
  EXPECT_EQ(status("one").low_bundles, 4u);
  EXPECT_EQ(status("one").high_bundles, 8u);
  Consumer consumer(site_);
  EXPECT_EQ(consumer.consume(6), 6u);
  ASSERT_TRUE(wait_until([&] { return status("one").low_bundles > 4; }));
  EXPECT_GT(status("one").consumed_per_second, 0.4);
}

TEST_F(ServiceTest, FullDiskIsAPauseUntilSpaceReturns) {
  ASSERT_TRUE(
      start({{service_class(site_, "one", 0, 8, 16)}, {ByteCount{}, ByteCount{1 << 20}}}).ok());
  ASSERT_TRUE(wait_for(Kind::kFull));
  disk_.set_free_bytes((1 << 20) + 100);  // all but the reserve is gone
  Consumer consumer(site_);
  EXPECT_EQ(consumer.consume(10), 10u);
  ASSERT_TRUE(wait_for(Kind::kPaused));
  ASSERT_TRUE(wait_until([&] { return board_.read().state == "paused"; }));
  EXPECT_NE(board_.read().reason.find("reserved"), std::string::npos) << board_.read().reason;
  EXPECT_FALSE(why_not_ready(board_.read()).empty());
  const std::uint64_t before = made("one");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(made("one"), before);
  EXPECT_EQ(count(Kind::kPaused), 1u);  // said once
  disk_.set_free_bytes(std::uint64_t{1} << 40);
  ASSERT_TRUE(wait_for(Kind::kResumed));
  ASSERT_TRUE(wait_for(Kind::kFull, "one", 2));
  ASSERT_TRUE(wait_until([&] { return board_.read().state == "serving"; }));
  EXPECT_TRUE(why_not_ready(board_.read()).empty());
  join();
  EXPECT_TRUE(outcome_.ok());
}

TEST_F(ServiceTest, DiskThatFillsUpWhileWritingIsAPauseToo) {
  site_.correction_size = 100000;
  after_open_ = [this] { disk_.refuse_write("/f", 3); };  // two are created first
  // One segment: what is refused of one that is written ahead is not this one's failure.
  ASSERT_TRUE(start({{service_class(site_, "one", 0, 4, 4)}, {}}).ok());
  ASSERT_TRUE(wait_for(Kind::kPaused));
  ASSERT_TRUE(wait_for(Kind::kResumed));
  ASSERT_TRUE(wait_for(Kind::kFull));
  join();
  EXPECT_TRUE(outcome_.ok());
  EXPECT_EQ(count(Kind::kDropped), 1u);
  EXPECT_EQ(status("one").discarded_bundles, 4u);
  for (const std::string& path : disk_.files("/f")) {
    EXPECT_FALSE(path.ends_with(kTemporarySuffix)) << path;
  }
  Consumer consumer(site_);
  EXPECT_EQ(consumer.consume(100), 4u);
}

TEST_F(ServiceTest, StaysWithinTheBudget) {
  site_.correction_size = 100000;
  const auto config = [&](std::uint64_t low, std::uint64_t high) {
    return ServiceConfig{{service_class(site_, "one", 0, low, high)}, {ByteCount{1000000}, {}}};
  };
  EXPECT_EQ(start(config(40, 50)).error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(start(config(5, 4)).error().code, ErrorCode::kConfig);
  EXPECT_EQ(start(config(0, 0)).error().code, ErrorCode::kConfig);
  ASSERT_TRUE(start(config(5, 50)).ok());
  ASSERT_TRUE(wait_for(Kind::kPaused));
  join();
  EXPECT_TRUE(outcome_.ok());
  EXPECT_GE(board_.read().classes[0].level_bundles, 5u);
  EXPECT_LE(board_.read().classes[0].level_bundles, 9u);
  EXPECT_LE(board_.read().used_bytes, 1000000u);
  auto pools = PoolSet::open(site_.set_options());
  EXPECT_LE(pools->used_bytes().value(), 1000000u);
}

TEST_F(ServiceTest, DrainPublishesTheSegmentAndStopDropsIt) {
  for (const bool drain : {true, false}) {
    ServiceClass one = service_class(site_, "one", drain ? 0 : 1, 100, 100);
    std::atomic<int> dealt = 0;
    one.made.dealers = {
        [&](std::span<const Seed> seeds, int designated, std::span<std::uint8_t> correction) {
          if (++dealt == 2) (drain ? drain_ : stop_) = true;
          return fake_deal(seeds, designated, correction);
        }};
    stop_ = drain_ = false;
    ASSERT_TRUE(start({{one}, {}}).ok());
    thread_.join();
    EXPECT_TRUE(outcome_.ok());
    EXPECT_EQ(status("one").level_bundles, drain ? 4u : 0u);
    EXPECT_EQ(status("one").discarded_bundles, drain ? 0u : 4u);
    EXPECT_EQ(count(Kind::kDraining), 1u);
  }
}

TEST_F(ServiceTest, ADeviceThatFailsIsReportedAndEndsIt) {
  ServiceClass one = service_class(site_, "one", 0, 16, 16);
  std::atomic<int> dealt = 0;
  const DealFunction deal = [&](std::span<const Seed> seeds, int designated,
                                std::span<std::uint8_t> correction) -> Result<void> {
    if (++dealt > 6) return make_error(ErrorCode::kDeviceFailed, "the device fell off the bus");
    return fake_deal(seeds, designated, correction);
  };
  one.made.dealers = {deal, deal};
  ASSERT_TRUE(start({{one}, {}}).ok());
  thread_.join();
  ASSERT_FALSE(outcome_.ok());
  EXPECT_EQ(outcome_.error().code, ErrorCode::kDeviceFailed);
  EXPECT_EQ(count(Kind::kSegment), 1u);
  EXPECT_EQ(count(Kind::kDropped), 1u);
  EXPECT_LE(dealt.load(), 8);  // it does not try again by itself
  Consumer consumer(site_);
  EXPECT_EQ(consumer.consume(100), 4u);
  // Started again with a device that works, it goes on above.
  ASSERT_TRUE(start({{service_class(site_, "one", 0, 16, 16)}, {}}).ok());
  ASSERT_TRUE(wait_for(Kind::kFull));
  join();
  EXPECT_TRUE(outcome_.ok());
  EXPECT_EQ(consumer.consume(100), 16u);
}

TEST_F(ServiceTest, ReloadChangesClassesAndARefusedOneChangesNothing) {
  std::mutex mutex;
  std::optional<ServiceConfig> next;
  options_.reload = [&] {
    const std::lock_guard lock(mutex);
    return std::exchange(next, std::nullopt);
  };
  const auto reload = [&](ServiceConfig config) {
    const std::lock_guard lock(mutex);
    next = std::move(config);
  };
  ASSERT_TRUE(start({{service_class(site_, "old", 0, 4, 8)}, {}}).ok());
  ASSERT_TRUE(wait_for(Kind::kFull, "old"));
  reload({{service_class(site_, "old", 0, 12, 16), service_class(site_, "new", 1, 4, 4)}, {}});
  ASSERT_TRUE(wait_for(Kind::kFull, "new"));
  ASSERT_TRUE(wait_for(Kind::kFull, "old", 2));
  EXPECT_TRUE(wait_until([&] { return status("old").level_bundles == 16; }));
  EXPECT_EQ(status("old").produced_bundles, 16u);  // goes on counting
  reload({{service_class(site_, "old", 0, 9, 8)}, {}});
  ASSERT_TRUE(wait_for(Kind::kReloaded, "", 2));
  {
    const std::lock_guard lock(mutex_);
    EXPECT_NE(events_.back().reason.find("refused"), std::string::npos) << events_.back().reason;
  }
  EXPECT_TRUE(wait_until([&] { return board_.read().classes.size() == 2; }));
  reload({{service_class(site_, "new", 1, 4, 4)}, {}});
  EXPECT_TRUE(wait_until([&] { return board_.read().classes.size() == 1; }));
  join();
  EXPECT_TRUE(outcome_.ok());
}

TEST_F(ServiceTest, PowerLossRepeatsNoBundleOfAnyClass) {
  Consumer first(site_, 0);
  Consumer second(site_, 1);
  const int crashes = 150;
  for (int crash = 0; crash < crashes; ++crash) {
    stop_ = drain_ = false;
    disk_.stop_after("/f", static_cast<std::uint64_t>(20 + 3 * crash));
    auto service = Service::open(
        options_,
        {{service_class(site_, "first", 0, 6, 8), service_class(site_, "second", 1, 6, 8)}, {}});
    if (service.ok()) {
      // Ends with the error of the dead disk, or when both classes are full.
      std::thread serving([&] { outcome_ = service->serve_blocking(); });
      const std::size_t full = count(Kind::kFull);
      std::atomic<bool> ended = false;
      std::thread watch([&] {
        while (!ended && count(Kind::kFull) < full + 2) std::this_thread::yield();
        drain_ = true;
      });
      serving.join();
      ended = true;
      watch.join();
    }
    disk_.crash("/f", crash % 2 == 0 ? Loss::kDropAll : Loss::kTornSectors, crash);
    first.consume(crash % 3);
    second.consume(crash % 4);
    ASSERT_FALSE(::testing::Test::HasFailure()) << "crash " << crash;
  }
  first.consume(100000);
  second.consume(100000);
  EXPECT_GT(first.spent(), 100u);
  EXPECT_GT(second.spent(), 100u);
}

}  // namespace
}  // namespace beaverpond::testing
