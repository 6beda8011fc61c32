#include "kernels/cuda/runtime.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_cuda/control.h"
#include "kernels/cuda/memory_pool.h"

namespace beaverpond::cuda {
namespace {

using ::testing::HasSubstr;

TEST(CudaRuntime, NoDriverAndNoDeviceAreSaidInOneLine) {
  fake_cuda::reset({.driver = false});
  for (const Error& error :
       {device_count().error(), device_properties(0).error(),
        MemoryPool::create(0, ByteCount{0}).error(), allocate_pinned(ByteCount{8}).error()}) {
    EXPECT_EQ(error.code, ErrorCode::kDeviceFailed);
    EXPECT_THAT(error.message, HasSubstr("35"));
    EXPECT_THAT(error.message, HasSubstr("--device cpu"));
    EXPECT_THAT(error.message, ::testing::Not(HasSubstr("\n")));
  }
  fake_cuda::reset({.devices = 0});
  EXPECT_EQ(device_count().error().code, ErrorCode::kDeviceFailed);
  EXPECT_THAT(device_count().error().message, HasSubstr("no GPU is visible"));
}

TEST(CudaRuntime, DevicesAreCountedAndDescribed) {
  fake_cuda::reset({.devices = 3, .memory_bytes = 1 << 20, .major = 9, .minor = 1});
  EXPECT_EQ(*device_count(), 3);
  const Result<DeviceProperties> found = device_properties(2);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->name, "stand-in on host memory");
  EXPECT_EQ(found->major, 9);
  EXPECT_EQ(found->minor, 1);
  EXPECT_EQ(found->memory, ByteCount{1 << 20});
  EXPECT_TRUE(found->memory_pools);
  for (const int device : {-1, 3}) {
    const Error error = device_properties(device).error();
    EXPECT_EQ(error.code, ErrorCode::kConfig);
    EXPECT_THAT(error.message, HasSubstr("cuda:0 to cuda:2"));
  }
}

TEST(CudaRuntime, ErrorsKeepTheirKind) {
  fake_cuda::reset({});
  EXPECT_TRUE(check(cudaSuccess, "work").ok());
  const Error full = check(cudaErrorMemoryAllocation, "cannot work").error();
  EXPECT_EQ(full.code, ErrorCode::kOutOfMemory);
  EXPECT_THAT(full.message, HasSubstr("smaller batch"));
  const Error broken = check(cudaErrorIllegalAddress, "cannot work").error();
  EXPECT_EQ(broken.code, ErrorCode::kDeviceFailed);
  EXPECT_THAT(broken.message, ::testing::StartsWith("cannot work: "));
  EXPECT_THAT(broken.message, HasSubstr("(CUDA error 700)"));
}

TEST(CudaRuntime, AFailureIsNotLeftForTheNextCall) {
  fake_cuda::reset({});
  fake_cuda::fail_call(fake_cuda::Call::kCreate, 1, cudaErrorMemoryAllocation);
  EXPECT_EQ(Event::create().error().code, ErrorCode::kOutOfMemory);
  EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
}

TEST(CudaRuntime, AThreadKeepsTheDeviceItUses) {
  fake_cuda::reset({.devices = 2});
  int device = -1;
  ASSERT_TRUE(use_device(1).ok());
  EXPECT_EQ(use_device(7).error().code, ErrorCode::kDeviceFailed);
  ASSERT_EQ(cudaGetDevice(&device), cudaSuccess);
  EXPECT_EQ(device, 1);
  ASSERT_TRUE(use_device(0).ok());
  ASSERT_EQ(cudaGetDevice(&device), cudaSuccess);
  EXPECT_EQ(device, 0);
}

TEST(CudaRuntime, EventsMarkAndOrder) {
  fake_cuda::reset({});
  Result<MemoryPool> pool = MemoryPool::create(0, ByteCount{0});
  ASSERT_TRUE(pool.ok());
  Result<Stream> other = pool->make_stream();
  ASSERT_TRUE(other.ok());
  const Result<Event> event = Event::create();
  ASSERT_TRUE(event.ok());
  const Result<Buffer> words = pool->allocate(ByteCount{8});
  ASSERT_TRUE(words.ok());
  const Result<Buffer> seen = allocate_pinned(ByteCount{8});
  ASSERT_TRUE(seen.ok());
  ASSERT_EQ(cudaMemsetAsync(words->bytes().data(), 3, 8, other->get()), cudaSuccess);
  ASSERT_TRUE(event->record(other->get()).ok());
  ASSERT_TRUE(event->wait_on(pool->home()).ok());
  ASSERT_EQ(cudaMemcpyAsync(seen->bytes().data(), words->bytes().data(), 8, cudaMemcpyDeviceToHost,
                            pool->home()),
            cudaSuccess);
  ASSERT_TRUE(event->record(pool->home()).ok());
  for (Result<bool> done = event->done(); !*done; done = event->done()) ASSERT_TRUE(done.ok());
  EXPECT_EQ(seen->words()[0], 0x0303030303030303u);
  const Result<bool> reached = event->done_within(std::chrono::seconds(10));
  ASSERT_TRUE(reached.ok() && *reached);
}

TEST(CudaRuntime, WhoeverWaitsForADeviceThatFailedIsTold) {
  fake_cuda::reset({});
  Result<MemoryPool> pool = MemoryPool::create(0, ByteCount{0});
  ASSERT_TRUE(pool.ok());
  const Result<Stream> other = pool->make_stream();
  const Result<Event> event = Event::create();
  ASSERT_TRUE(event.ok());
  ASSERT_TRUE(event->record(other->get()).ok());
  fake_cuda::fail_call(fake_cuda::Call::kSynchronize, 1, cudaErrorLaunchFailure);
  EXPECT_EQ(other->synchronize_blocking().error().code, ErrorCode::kDeviceFailed);
  EXPECT_EQ(event->done().error().code, ErrorCode::kDeviceFailed);
  EXPECT_EQ(event->record(other->get()).error().code, ErrorCode::kDeviceFailed);
  EXPECT_EQ(event->wait_on(other->get()).error().code, ErrorCode::kDeviceFailed);
}

}  // namespace
}  // namespace beaverpond::cuda
