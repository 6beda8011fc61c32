// What the stand-in promises to the tests that build on it: work waits, runs in the order that
// streams and events leave open, and what the code under test must not do does not pass.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <set>
#include <vector>

#include "fake_cuda/control.h"
#include "fake_cuda/queue.h"

namespace {

using fake_cuda::Call;
using fake_cuda::Settings;

__global__ void add_one(unsigned* words, unsigned count) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) words[i] += 1;
}

__global__ void write_at(unsigned* words, unsigned at) {
  words[at] = 7;
}

cudaError_t start(cudaStream_t stream, unsigned* words, unsigned count) {
  cudaLaunchConfig_t config;
  config.gridDim = dim3((count + 31) / 32);
  config.blockDim = dim3(32);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, add_one, words, count);
}

class FakeCuda : public ::testing::Test {
 protected:
  void SetUp() override { begin(Settings{}); }
  void begin(const Settings& settings) {
    fake_cuda::reset(settings);
    if (!settings.driver || settings.devices == 0) return;
    for (cudaStream_t* stream : {&a, &b}) {
      ASSERT_EQ(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), cudaSuccess);
    }
    ASSERT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
  }
  unsigned* device_words(std::size_t count) {
    unsigned* words = nullptr;
    EXPECT_EQ(cudaMalloc(&words, count * 4), cudaSuccess);
    return words;
  }
  unsigned* pinned_words(std::size_t count) {
    void* words = nullptr;
    EXPECT_EQ(cudaHostAlloc(&words, count * 4, cudaHostAllocDefault), cudaSuccess);
    return static_cast<unsigned*>(words);
  }
  cudaStream_t a = nullptr;
  cudaStream_t b = nullptr;
  cudaEvent_t event = nullptr;
};

TEST_F(FakeCuda, AStreamIsInOrderAndWaitsUntilSomebodyWaits) {
  unsigned* const words = device_words(100);
  unsigned* const seen = pinned_words(100);
  ASSERT_EQ(cudaMemsetAsync(words, 0, 400, a), cudaSuccess);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(start(a, words, 100), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(seen, words, 400, cudaMemcpyDeviceToHost, a), cudaSuccess);
  EXPECT_EQ(fake_cuda::counts().kernels, 0u);
  EXPECT_EQ(fake_cuda::live().queued, 7u);
  EXPECT_NE(seen[0], 5u);
  ASSERT_EQ(cudaStreamSynchronize(a), cudaSuccess);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(seen[i], 5u) << i;
  EXPECT_EQ(fake_cuda::counts().kernels, 5u);
}

/// a fills, b reads; returns what b saw.
unsigned hand_over(cudaStream_t a, cudaStream_t b, cudaEvent_t event, unsigned* words,
                   unsigned* seen, bool with_event) {
  EXPECT_EQ(cudaMemset(words, 0, 4), cudaSuccess);
  EXPECT_EQ(start(a, words, 1), cudaSuccess);
  if (with_event) {
    EXPECT_EQ(cudaEventRecord(event, a), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(b, event), cudaSuccess);
  }
  EXPECT_EQ(cudaMemcpyAsync(seen, words, 4, cudaMemcpyDeviceToHost, b), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(b), cudaSuccess);
  const unsigned result = *seen;
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  return result;
}

TEST_F(FakeCuda, AnEventOrdersTwoStreamsAndAMissingOneShows) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    begin(Settings{.seed = seed});
    unsigned* const words = device_words(1);
    unsigned* const seen = pinned_words(1);
    std::set<unsigned> without;
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(hand_over(a, b, event, words, seen, true), 1u);
      without.insert(hand_over(a, b, event, words, seen, false));
    }
    EXPECT_EQ(without, (std::set<unsigned>{0, 1})) << seed;
  }
}

TEST_F(FakeCuda, AWaitMeansTheLatestMarkAtItsCall) {
  // Never recorded: nothing to wait for.
  ASSERT_EQ(cudaStreamWaitEvent(b, event), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(b), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  unsigned* const words = device_words(1);
  ASSERT_EQ(cudaMemset(words, 0, 4), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, a), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(b, event), cudaSuccess);
  ASSERT_EQ(start(a, words, 1), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, a), cudaSuccess);
  ASSERT_EQ(cudaEventSynchronize(event), cudaSuccess);
  EXPECT_EQ(fake_cuda::counts().kernels, 1u);
}

TEST_F(FakeCuda, OneEventMarksSeveralStreamsInTurn) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    begin(Settings{.seed = seed});
    cudaStream_t c = nullptr;
    ASSERT_EQ(cudaStreamCreateWithFlags(&c, cudaStreamNonBlocking), cudaSuccess);
    unsigned* const words = device_words(2);
    unsigned* const seen = pinned_words(2);
    ASSERT_EQ(cudaMemset(words, 0, 8), cudaSuccess);
    for (int i = 0; i < 2; ++i) {
      cudaStream_t const each = i == 0 ? a : b;
      ASSERT_EQ(start(each, words + i, 1), cudaSuccess);
      ASSERT_EQ(cudaEventRecord(event, each), cudaSuccess);
      ASSERT_EQ(cudaStreamWaitEvent(c, event), cudaSuccess);
    }
    ASSERT_EQ(cudaMemcpyAsync(seen, words, 8, cudaMemcpyDeviceToHost, c), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(c), cudaSuccess);
    EXPECT_EQ(seen[0], 1u) << seed;
    EXPECT_EQ(seen[1], 1u) << seed;
  }
}

TEST_F(FakeCuda, AskingLetsTimePass) {
  unsigned* const words = device_words(1);
  for (int i = 0; i < 10; ++i) ASSERT_EQ(start(a, words, 1), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, a), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  int asked = 1;
  while (cudaEventQuery(event) == cudaErrorNotReady) ++asked;
  EXPECT_GT(asked, 2);
  EXPECT_EQ(cudaStreamQuery(a), cudaSuccess);
}

TEST_F(FakeCuda, PageableCopiesAreReadAtTheCallAndWrittenBeforeItReturns) {
  unsigned* const words = device_words(1);
  unsigned source = 5;
  unsigned target = 0;
  ASSERT_EQ(cudaMemcpyAsync(words, &source, 4, cudaMemcpyHostToDevice, a), cudaSuccess);
  source = 6;
  ASSERT_EQ(start(a, words, 1), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(&target, words, 4, cudaMemcpyDeviceToHost, a), cudaSuccess);
  EXPECT_EQ(target, 6u);
  EXPECT_EQ(fake_cuda::counts().synchronizes, 0u);
}

TEST_F(FakeCuda, PinnedCopiesAreReadWhenTheirTurnComes) {
  unsigned* const words = device_words(1);
  unsigned* const source = pinned_words(1);
  *source = 5;
  ASSERT_EQ(cudaMemcpyAsync(words, source, 4, cudaMemcpyHostToDevice, a), cudaSuccess);
  *source = 6;  // too early: the bug that this shows
  ASSERT_EQ(cudaStreamSynchronize(a), cudaSuccess);
  unsigned seen = 0;
  fake_cuda::peek(words, &seen, 4);
  EXPECT_EQ(seen, 6u);
}

TEST_F(FakeCuda, RowsWithPitches) {
  const std::array<unsigned char, 12> source{0, 1, 2, 99, 3, 4, 5, 99, 6, 7, 8, 99};
  void* memory = nullptr;
  ASSERT_EQ(cudaMalloc(&memory, 15), cudaSuccess);
  ASSERT_EQ(cudaMemset(memory, 255, 15), cudaSuccess);
  ASSERT_EQ(cudaMemcpy2DAsync(memory, 5, source.data(), 4, 3, 3, cudaMemcpyHostToDevice, a),
            cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(a), cudaSuccess);
  std::array<unsigned char, 15> seen{};
  fake_cuda::peek(memory, seen.data(), 15);
  EXPECT_EQ(seen, (std::array<unsigned char, 15>{0, 1, 2, 255, 255, 3, 4, 5, 255, 255, 6, 7, 8, 255,
                                                 255}));
}

TEST_F(FakeCuda, MemoryIsGarbageUntilWrittenAndAfterItsEnd) {
  void* memory = nullptr;
  ASSERT_EQ(cudaMallocAsync(&memory, 1000, a), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(a), cudaSuccess);
  std::array<unsigned char, 1000> seen{};
  fake_cuda::peek(memory, seen.data(), 1000);
  EXPECT_NE(seen[0], 0);
  EXPECT_NE(seen[999], 0);
  ASSERT_EQ(cudaFreeAsync(memory, a), cudaSuccess);
  EXPECT_EQ(fake_cuda::live().device_allocations, 1u);
  ASSERT_EQ(cudaStreamSynchronize(a), cudaSuccess);
  EXPECT_EQ(fake_cuda::live().device_allocations, 0u);
  EXPECT_EQ(fake_cuda::live().device_bytes, 0u);
}

TEST_F(FakeCuda, FreedPlacesAreUsedAgainAndFullIsOutOfMemory) {
  begin(Settings{.memory_bytes = 1 << 20});
  for (int i = 0; i < 100; ++i) {
    std::array<void*, 4> parts{};
    for (void*& part : parts) ASSERT_EQ(cudaMallocAsync(&part, 1 << 18, a), cudaSuccess) << i;
    void* more = nullptr;
    ASSERT_EQ(cudaMallocAsync(&more, 1, a), cudaErrorMemoryAllocation);
    EXPECT_EQ(more, nullptr);
    // Only queued: the next round has to wait for them, as the driver does.
    for (void* part : parts) ASSERT_EQ(cudaFreeAsync(part, a), cudaSuccess);
  }
  void* whole = nullptr;
  ASSERT_EQ(cudaMalloc(&whole, 1 << 20), cudaSuccess);
}

TEST_F(FakeCuda, PlannedFailuresComeOnceAtTheirCall) {
  fake_cuda::fail_call(Call::kAllocate, 2, cudaErrorMemoryAllocation);
  void* memory = nullptr;
  EXPECT_EQ(cudaMallocAsync(&memory, 8, a), cudaSuccess);
  EXPECT_EQ(cudaMallocAsync(&memory, 8, a), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMallocAsync(&memory, 8, a), cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  unsigned* const words = device_words(1);
  fake_cuda::fail_call(Call::kLaunch, 1, cudaErrorLaunchOutOfResources);
  EXPECT_EQ(start(a, words, 1), cudaErrorLaunchOutOfResources);
  EXPECT_EQ(start(a, words, 1), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(a), cudaSuccess);
  EXPECT_EQ(fake_cuda::counts().kernels, 1u);
  EXPECT_EQ(fake_cuda::failures_left(), 0);
}

TEST_F(FakeCuda, APlanOfOneDeviceCountsThatOnesCalls) {
  begin(Settings{.devices = 2});
  fake_cuda::fail_call(Call::kAllocate, 2, cudaErrorMemoryAllocation, 1);
  void* memory = nullptr;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(cudaMalloc(&memory, 8), cudaSuccess);
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&memory, 8), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&memory, 8), cudaErrorMemoryAllocation);
  fake_cuda::fail_kernel(1, cudaErrorIllegalAddress, 1);
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  EXPECT_EQ(start(a, device_words(1), 1), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(a), cudaSuccess);
  EXPECT_EQ(fake_cuda::failures_left(), 1);
}

TEST_F(FakeCuda, AKernelThatFaultsStopsItsDeviceForGood) {
  begin(Settings{.devices = 2});
  unsigned* const words = device_words(1);
  ASSERT_EQ(cudaMemset(words, 0, 4), cudaSuccess);
  fake_cuda::fail_kernel(2, cudaErrorIllegalAddress);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(start(a, words, 1), cudaSuccess);
  // Another stream waits behind it, and gets its turn all the same.
  ASSERT_EQ(cudaEventRecord(event, a), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(b, event), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(a), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaStreamSynchronize(b), cudaErrorIllegalAddress);
  EXPECT_EQ(start(a, words, 1), cudaErrorIllegalAddress);
  void* memory = nullptr;
  EXPECT_EQ(cudaMallocAsync(&memory, 8, a), cudaErrorIllegalAddress);
  unsigned seen = 0;
  fake_cuda::peek(words, &seen, 4);
  EXPECT_EQ(seen, 1u);
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&memory, 8), cudaSuccess);
}

TEST_F(FakeCuda, NoDriverAndNoDevices) {
  begin(Settings{.driver = false});
  int count = -5;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
  EXPECT_EQ(count, -5);
  cudaStream_t stream = nullptr;
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaErrorInsufficientDriver);
  begin(Settings{.devices = 0});
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  EXPECT_EQ(count, -5);
}

TEST_F(FakeCuda, LaunchesNoDeviceTakesAreRefused) {
  unsigned* const words = device_words(1);
  cudaLaunchConfig_t config;
  config.stream = a;
  config.blockDim = dim3(1025);
  EXPECT_EQ(cudaLaunchKernelEx(&config, add_one, words, 1u), cudaErrorInvalidConfiguration);
  config.blockDim = dim3(32);
  config.gridDim = dim3(1, 65536);
  EXPECT_EQ(cudaLaunchKernelEx(&config, add_one, words, 1u), cudaErrorInvalidConfiguration);
  config.gridDim = dim3(1);
  config.dynamicSmemBytes = 48 * 1024 + 1;
  EXPECT_EQ(cudaLaunchKernelEx(&config, add_one, words, 1u), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(add_one, cudaFuncAttributeMaxDynamicSharedMemorySize, 1 << 20),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(add_one, cudaFuncAttributeMaxDynamicSharedMemorySize, 100000),
            cudaSuccess);
  EXPECT_EQ(cudaLaunchKernelEx(&config, add_one, words, 1u), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(a), cudaSuccess);
}

TEST_F(FakeCuda, OtherLibrariesQueueWorkThatWaitsForOthers) {
  bool arrived = false;
  bool ran = false;
  ASSERT_EQ(fake_cuda::enqueue(a, {"a collective", [&] { return arrived; }, [&] { ran = true; }}),
            cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(a), cudaErrorNotReady);
  EXPECT_FALSE(ran);
  arrived = true;
  fake_cuda::notify();
  EXPECT_EQ(cudaStreamSynchronize(a), cudaSuccess);
  EXPECT_TRUE(ran);
}

using FakeCudaDeathTest = FakeCuda;

TEST_F(FakeCudaDeathTest, TheHostCannotTouchDeviceMemory) {
  volatile unsigned* const words = device_words(1);
  EXPECT_DEATH(static_cast<void>(*words), "");
  EXPECT_DEATH(*words = 1, "");
}

TEST_F(FakeCudaDeathTest, WritesBeyondTheEndAreFound) {
  unsigned* const words = device_words(3);
  cudaLaunchConfig_t config;
  config.stream = a;
  EXPECT_DEATH(
      {
        (void)cudaLaunchKernelEx(&config, write_at, words, 3u);
        (void)cudaStreamSynchronize(a);
        (void)cudaFree(words);
      },
      "beyond the end|use-after-poison");
}

TEST_F(FakeCuda, MemoryIsKnownByItsAddress) {
  const auto type_of = [](const void* memory) {
    cudaPointerAttributes attributes{};
    EXPECT_EQ(cudaPointerGetAttributes(&attributes, memory), cudaSuccess);
    return attributes.type;
  };
  unsigned* const words = device_words(4);
  const unsigned pageable = 0;
  EXPECT_EQ(type_of(words + 3), cudaMemoryTypeDevice);
  EXPECT_EQ(type_of(pinned_words(4)), cudaMemoryTypeHost);
  EXPECT_EQ(type_of(&pageable), cudaMemoryTypeUnregistered);
}

TEST_F(FakeCudaDeathTest, MisuseEndsTheTest) {
  unsigned* const words = device_words(4);
  unsigned* const pinned = pinned_words(4);
  unsigned pageable = 0;
  EXPECT_DEATH((void)cudaMemcpyAsync(words, pinned, 20, cudaMemcpyHostToDevice, a),
               "are not in one allocation");
  EXPECT_DEATH((void)cudaMemcpyAsync(words, pinned, 16, cudaMemcpyDeviceToHost, a), "direction");
  EXPECT_DEATH((void)cudaMemsetAsync(&pageable, 0, 4, a), "no device memory");
  EXPECT_DEATH((void)cudaMemsetAsync(words, 0, 4, nullptr), "legacy stream");
  EXPECT_DEATH((void)(cudaFreeAsync(words, a), cudaFreeAsync(words, b)), "twice");
  EXPECT_DEATH((void)(cudaFreeAsync(words, a), cudaMemsetAsync(words, 0, 16, b)),
               "are not in one allocation");
  EXPECT_DEATH(
      (void)(cudaMemcpyAsync(words, pinned, 16, cudaMemcpyHostToDevice, a), cudaFreeHost(pinned)),
      "freed while a copy is queued");
  EXPECT_DEATH((void)(cudaStreamDestroy(a), cudaStreamSynchronize(a)), "not there");
  EXPECT_DEATH((void)cudaStreamCreateWithFlags(&a, cudaStreamDefault), "legacy stream");
}

}  // namespace
