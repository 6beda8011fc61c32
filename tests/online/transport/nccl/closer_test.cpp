// Calls that hang, on the helper thread.
#include "online/transport/nccl/closer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace beaverpond::nccl {
namespace {

using std::chrono::milliseconds;

/// Tasks that wait for it end at the end of the test, so that none is left to the next.
class Gate {
 public:
  ~Gate() { open_.set_value(); }
  std::function<void()> task() {
    return [future = future_] { future.wait(); };
  }

 private:
  std::promise<void> open_;
  std::shared_future<void> future_ = open_.get_future().share();
};

TEST(RunWithin, SaysThatATaskHasEnded) {
  std::atomic<int> runs = 0;
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(run_within([&] { ++runs; }, milliseconds(20'000)));
  EXPECT_EQ(runs, 20);
}

TEST(RunWithin, ATaskThatHangsIsLeftBehindAndTheNextRuns) {
  Gate gate;
  EXPECT_FALSE(run_within(gate.task(), milliseconds(50)));
  EXPECT_TRUE(run_within([] {}, milliseconds(20'000)));
}

TEST(RunWithin, WhatATaskOwnsEndsWithIt) {
  const auto owned = std::make_shared<int>(1);
  EXPECT_TRUE(run_within([owned] {}, milliseconds(20'000)));
  EXPECT_EQ(owned.use_count(), 1);
}

TEST(RunWithin, ThreadsLeftBehindAreBoundedAndComeBack) {
  {
    Gate gate;
    for (int i = 0; i < kMostLeftBehind; ++i) {
      EXPECT_FALSE(run_within(gate.task(), milliseconds(20)));
    }
    std::atomic<bool> ran = false;
    EXPECT_FALSE(run_within([&] { ran = true; }, milliseconds(20'000))) << "at once";
    EXPECT_FALSE(ran);
  }
  // The gate is open: the threads end, and tasks run again.
  bool runs = false;
  for (int i = 0; i < 1000 && !runs; ++i) {
    runs = run_within([] {}, milliseconds(20'000));
    if (!runs) std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_TRUE(runs);
}

TEST(RunWithin, ManyAtOnceRunOneByOne) {
  std::atomic<int> inside = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      EXPECT_TRUE(run_within(
          [&] {
            EXPECT_EQ(++inside, 1);
            std::this_thread::yield();
            --inside;
          },
          milliseconds(20'000)));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace beaverpond::nccl
