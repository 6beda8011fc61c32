#include "kernels/cuda/memory_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

#include "fake_cuda/control.h"
#include "kernels/cuda/runtime.h"

namespace beaverpond::cuda {
namespace {

using ::testing::HasSubstr;

constexpr ByteCount kKeep{1 << 20};

std::vector<std::uint8_t> peek(const Buffer& buffer) {
  std::vector<std::uint8_t> seen(buffer.bytes().size());
  fake_cuda::peek(buffer.bytes().data(), seen.data(), seen.size());
  return seen;
}

bool all_are(const std::vector<std::uint8_t>& bytes, std::uint8_t value) {
  return std::all_of(bytes.begin(), bytes.end(), [value](std::uint8_t x) { return x == value; });
}

MemoryPool make_pool(int device = 0) {
  Result<MemoryPool> pool = MemoryPool::create(device, kKeep);
  EXPECT_TRUE(pool.ok()) << pool.error().message;
  return std::move(pool).value();
}

class MemoryPoolTest : public ::testing::TestWithParam<bool> {
 protected:
  // Devices with and without memory pools of their own.
  fake_cuda::Settings settings() const { return {.memory_pools = GetParam()}; }
  void SetUp() override { fake_cuda::reset(settings()); }
  void expect_nothing_left() {
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    const fake_cuda::Live live = fake_cuda::live();
    EXPECT_EQ(live.device_allocations, 0u);
    EXPECT_EQ(live.host_allocations, 0u);
    EXPECT_EQ(live.streams, 0u);
    EXPECT_EQ(live.events, 0u);
    EXPECT_EQ(live.pools, 0u);
  }
};

TEST_P(MemoryPoolTest, BuffersAreZeroedAlignedAndOfTheirSize) {
  {
    MemoryPool pool = make_pool();
    for (const std::uint64_t size : {1u, 63u, 64u, 4096u, 100001u}) {
      const Result<Buffer> buffer = pool.allocate(ByteCount{size});
      ASSERT_TRUE(buffer.ok());
      EXPECT_EQ(buffer->bytes().size(), size);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer->bytes().data()) % 256, 0u);
      ASSERT_EQ(cudaStreamSynchronize(pool.home()), cudaSuccess);
      EXPECT_TRUE(all_are(peek(*buffer), 0));
    }
    EXPECT_TRUE(pool.allocate(ByteCount{0})->empty());
    EXPECT_EQ(pool.usage().used, ByteCount{0});
    EXPECT_EQ(pool.usage().buffers, 0u);
    EXPECT_GE(pool.usage().peak, ByteCount{100001});
  }
  expect_nothing_left();
}

TEST_P(MemoryPoolTest, EveryStreamSeesTheZeros) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    fake_cuda::Settings with_seed = settings();
    with_seed.seed = seed;
    fake_cuda::reset(with_seed);
    MemoryPool pool = make_pool();
    const Result<Stream> other = pool.make_stream();
    const Result<Buffer> seen = allocate_pinned(ByteCount{8});
    const Result<Buffer> words = pool.allocate(ByteCount{8});
    ASSERT_EQ(cudaMemcpyAsync(seen->bytes().data(), words->bytes().data(), 8,
                              cudaMemcpyDeviceToHost, other->get()),
              cudaSuccess);
    ASSERT_TRUE(other->synchronize_blocking().ok());
    EXPECT_EQ(seen->words()[0], 0u) << seed;
    // Also a stream that came later.
    const Result<Buffer> more = pool.allocate(ByteCount{8});
    const Result<Stream> late = pool.make_stream();
    ASSERT_EQ(cudaMemcpyAsync(seen->bytes().data(), more->bytes().data(), 8, cudaMemcpyDeviceToHost,
                              late->get()),
              cudaSuccess);
    ASSERT_TRUE(late->synchronize_blocking().ok());
    EXPECT_EQ(seen->words()[0], 0u) << seed;
  }
}

TEST_P(MemoryPoolTest, ABufferEndsAfterWhatWasGivenBefore) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    fake_cuda::Settings with_seed = settings();
    with_seed.seed = seed;
    fake_cuda::reset(with_seed);
    MemoryPool pool = make_pool();
    const Result<Buffer> seen = allocate_pinned(ByteCount{24});
    std::vector<Stream> streams;
    for (int i = 0; i < 2; ++i) streams.push_back(std::move(pool.make_stream()).value());
    {
      const Result<Buffer> words = pool.allocate(ByteCount{8});
      ASSERT_EQ(cudaMemsetAsync(words->bytes().data(), 5, 8, pool.home()), cudaSuccess);
      ASSERT_EQ(cudaStreamSynchronize(pool.home()), cudaSuccess);
      for (std::size_t i = 0; i < 2; ++i) {
        ASSERT_EQ(cudaMemcpyAsync(&seen->words()[i], words->bytes().data(), 8,
                                  cudaMemcpyDeviceToHost, streams[i].get()),
                  cudaSuccess);
      }
      // A stream may end before what it was given.
      streams.pop_back();
    }
    const Result<Buffer> next = pool.allocate(ByteCount{8});
    ASSERT_EQ(cudaMemcpyAsync(&seen->words()[2], next->bytes().data(), 8, cudaMemcpyDeviceToHost,
                              pool.home()),
              cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(seen->words()[0], 0x0505050505050505u) << seed;
    EXPECT_EQ(seen->words()[1], 0x0505050505050505u) << seed;
    EXPECT_EQ(seen->words()[2], 0u) << seed;
  }
}

TEST_P(MemoryPoolTest, ScratchIsInItsStreamsOrderAndTiesNoOther) {
  MemoryPool pool = make_pool();
  Result<Stream> other = pool.make_stream();
  const Result<Buffer> seen = allocate_pinned(ByteCount{8});
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  {
    const Result<Buffer> scratch = pool.allocate_scratch(ByteCount{8}, other->get());
    ASSERT_TRUE(scratch.ok());
    ASSERT_EQ(cudaMemsetAsync(scratch->bytes().data(), 9, 8, other->get()), cudaSuccess);
    ASSERT_EQ(cudaMemcpyAsync(seen->bytes().data(), scratch->bytes().data(), 8,
                              cudaMemcpyDeviceToHost, other->get()),
              cudaSuccess);
  }
  if (GetParam()) {
    EXPECT_EQ(cudaStreamQuery(pool.home()), cudaSuccess);
  }
  ASSERT_TRUE(other->synchronize_blocking().ok());
  EXPECT_EQ(seen->words()[0], 0x0909090909090909u);
  EXPECT_EQ(pool.usage().buffers, 0u);
}

TEST_P(MemoryPoolTest, ScratchOutlivesItsStream) {
  {
    MemoryPool pool = make_pool();
    Result<Buffer> scratch = Buffer();
    {
      const Result<Stream> other = pool.make_stream();
      scratch = pool.allocate_scratch(ByteCount{8}, other->get());
      ASSERT_TRUE(scratch.ok());
      ASSERT_EQ(cudaMemsetAsync(scratch->bytes().data(), 9, 8, other->get()), cudaSuccess);
    }
  }
  expect_nothing_left();
}

TEST_P(MemoryPoolTest, FreedMemoryIsWipedFirst) {
  {
    MemoryPool pool = make_pool();
    const Result<Stream> other = pool.make_stream();
    const Result<Buffer> secret = pool.allocate(ByteCount{1001});
    const Result<Buffer> scratch = pool.allocate_scratch(ByteCount{77}, other->get());
    const Result<Buffer> pinned = allocate_pinned(ByteCount{99});
    ASSERT_EQ(cudaMemsetAsync(secret->bytes().data(), 7, 1001, other->get()), cudaSuccess);
    ASSERT_EQ(cudaMemsetAsync(scratch->bytes().data(), 7, 77, other->get()), cudaSuccess);
    std::memset(pinned->bytes().data(), 7, 99);
  }
  expect_nothing_left();
  EXPECT_EQ(fake_cuda::counts().unwiped_frees, 0u);
  // The count counts.
  void* memory = nullptr;
  ASSERT_EQ(cudaMalloc(&memory, 8), cudaSuccess);
  ASSERT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(fake_cuda::counts().unwiped_frees, 1u);
}

TEST_P(MemoryPoolTest, BuffersAndStreamsMayOutliveThePool) {
  {
    Result<Buffer> buffer = Buffer();
    {
      MemoryPool pool = make_pool();
      buffer = pool.allocate(ByteCount{100});
      ASSERT_TRUE(buffer.ok());
    }
    EXPECT_EQ(fake_cuda::live().streams, 1u);
  }
  expect_nothing_left();
}

TEST_P(MemoryPoolTest, FullIsOutOfMemoryAndNothingIsLost) {
  fake_cuda::Settings small = settings();
  small.memory_bytes = 1 << 20;
  fake_cuda::reset(small);
  {
    MemoryPool pool = make_pool();
    for (int i = 0; i < 50; ++i) {
      const Result<Buffer> most = pool.allocate(ByteCount{900'000});
      ASSERT_TRUE(most.ok()) << i;
      const Error error = pool.allocate(ByteCount{900'000}).error();
      EXPECT_EQ(error.code, ErrorCode::kOutOfMemory);
      EXPECT_THAT(error.message, HasSubstr("900000 bytes on cuda:0"));
      EXPECT_EQ(pool.usage().buffers, 1u);
    }
    EXPECT_TRUE(pool.trim(ByteCount{0}).ok());
  }
  expect_nothing_left();
}

TEST_P(MemoryPoolTest, EveryFailureOfACallIsReportedAndLeavesNothing) {
  using fake_cuda::Call;
  for (const Call call : {Call::kAllocate, Call::kAllocateHost, Call::kCreate, Call::kCopy}) {
    // The n-th call, until a run has fewer.
    for (int nth = 1; nth < 20; ++nth) {
      fake_cuda::reset(settings());
      fake_cuda::fail_call(call, nth, cudaErrorMemoryAllocation);
      Result<void> seen;
      {
        Result<MemoryPool> pool = MemoryPool::create(0, kKeep);
        if (!pool) seen = pool.error();
        if (pool) {
          const Result<Stream> stream = pool->make_stream();
          if (!stream) seen = stream.error();
          const Result<Buffer> buffer = pool->allocate(ByteCount{64});
          if (!buffer) seen = buffer.error();
          const Result<Buffer> pinned = allocate_pinned(ByteCount{64});
          if (!pinned) seen = pinned.error();
        }
      }
      expect_nothing_left();
      if (fake_cuda::failures_left() != 0) {
        EXPECT_GT(nth, 1);
        EXPECT_TRUE(seen.ok());
        break;
      }
      // The last copy is the wipe of a free, which has nobody to tell.
      if (call == Call::kCopy && nth > 1) continue;
      ASSERT_FALSE(seen.ok()) << static_cast<int>(call) << " " << nth;
      EXPECT_EQ(seen.error().code, ErrorCode::kOutOfMemory);
    }
  }
}

TEST_P(MemoryPoolTest, AfterADeviceFailedAllIsAnErrorAndEndsWell) {
  MemoryPool pool = make_pool();
  const Result<Stream> stream = pool.make_stream();
  Result<Buffer> buffer = pool.allocate(ByteCount{64});
  fake_cuda::stop_device(0, cudaErrorIllegalAddress);
  EXPECT_EQ(pool.allocate(ByteCount{64}).error().code, ErrorCode::kDeviceFailed);
  EXPECT_EQ(pool.allocate_scratch(ByteCount{64}, stream->get()).error().code,
            ErrorCode::kDeviceFailed);
  EXPECT_EQ(pool.make_stream().error().code, ErrorCode::kDeviceFailed);
  EXPECT_EQ(stream->synchronize_blocking().error().code, ErrorCode::kDeviceFailed);
  *buffer = Buffer();
  EXPECT_EQ(pool.usage().buffers, 0u);
}

TEST_P(MemoryPoolTest, ThreadsOnTwoDevices) {
  fake_cuda::Settings two = settings();
  two.devices = 2;
  fake_cuda::reset(two);
  {
    std::vector<MemoryPool> pools{make_pool(0), make_pool(1)};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        MemoryPool& pool = pools[static_cast<std::size_t>(t % 2)];
        const Result<Stream> stream = pool.make_stream();
        ASSERT_TRUE(stream.ok());
        const Result<Buffer> seen = allocate_pinned(ByteCount{64});
        for (int i = 0; i < 50; ++i) {
          const Result<Buffer> own = pool.allocate_scratch(ByteCount{64}, stream->get());
          const Result<Buffer> any = pool.allocate(ByteCount{64});
          ASSERT_TRUE(own.ok() && any.ok());
          ASSERT_EQ(cudaMemsetAsync(own->bytes().data(), i, 64, stream->get()), cudaSuccess);
          ASSERT_EQ(cudaMemcpyAsync(any->bytes().data(), own->bytes().data(), 64,
                                    cudaMemcpyDeviceToDevice, stream->get()),
                    cudaSuccess);
          ASSERT_EQ(cudaMemcpyAsync(seen->bytes().data(), any->bytes().data(), 64,
                                    cudaMemcpyDeviceToHost, stream->get()),
                    cudaSuccess);
          ASSERT_TRUE(stream->synchronize_blocking().ok());
          ASSERT_EQ(seen->bytes()[63], i);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(pools[0].usage().buffers, 0u);
    EXPECT_EQ(pools[1].usage().buffers, 0u);
  }
}

TEST_P(MemoryPoolTest, PinnedMemoryIsZeroedAndOfItsSize) {
  {
    const Result<Buffer> pinned = allocate_pinned(ByteCount{100});
    ASSERT_TRUE(pinned.ok());
    EXPECT_EQ(pinned->bytes().size(), 100u);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pinned->bytes().data()) % 64, 0u);
    for (const std::uint8_t byte : pinned->bytes()) EXPECT_EQ(byte, 0);
    EXPECT_TRUE(allocate_pinned(ByteCount{0})->empty());
  }
  expect_nothing_left();
}

INSTANTIATE_TEST_SUITE_P(Devices, MemoryPoolTest, ::testing::Bool(),
                         [](const ::testing::TestParamInfo<bool>& info) {
                           return info.param ? "WithPools" : "WithoutPools";
                         });

}  // namespace
}  // namespace beaverpond::cuda
