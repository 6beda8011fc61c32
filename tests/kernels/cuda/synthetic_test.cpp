// cuRAND's words through the module's own code, on the stand-ins.
#include "kernels/cuda/synthetic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "fake_cuda/control.h"
#include "kernels/cuda/memory_pool.h"
#include "kernels/synthetic/source.h"
#include "tests/fake_cuda/curand/standin.h"

namespace beaverpond::cuda {
namespace {

using curand::Status;
using fake_curand::Call;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kSeed = 0xfeed'0000'0000'0007;

Bytes expected(std::uint64_t first, std::size_t size) {
  Bytes bytes(size);
  EXPECT_TRUE(SyntheticSource().fill_blocking(kSeed, first, bytes).ok());
  return bytes;
}

class CudaSynthetic : public ::testing::Test {
 protected:
  CudaSynthetic() {
    fake_cuda::reset({.devices = 2});
    fake_curand::reset();
  }
  ~CudaSynthetic() override {
    EXPECT_EQ(fake_curand::counts().live, 0);
    // Buffers are wiped and freed in the order of their streams.
    for (const int device : {1, 0}) {
      cudaSetDevice(device);
      cudaDeviceSynchronize();
    }
    EXPECT_EQ(fake_cuda::live().queued, 0u);
    EXPECT_EQ(fake_cuda::live().device_allocations, 0u);
  }

  static Result<void> fill(int device, std::uint64_t first, std::span<std::uint8_t> out,
                           MemoryKind memory = MemoryKind::kHost) {
    return fill_synthetic_blocking({.device = device,
                                    .sequence_seed = kSeed,
                                    .first_word = first,
                                    .out = out,
                                    .memory = memory});
  }
};

TEST_F(CudaSynthetic, HostAndDevicesGiveTheSameWords) {
  for (const int device : {SyntheticRequest::kOnHost, 0, 1}) {
    for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{1} << 40}) {
      Bytes bytes(1000);
      const Result<void> filled = fill(device, first, bytes);
      ASSERT_TRUE(filled.ok()) << filled.error().message;
      EXPECT_EQ(bytes, expected(first, bytes.size())) << device;
    }
  }
  EXPECT_EQ(fake_curand::counts().host_generators, 3);
  EXPECT_EQ(fake_curand::counts().device_generators, 6);
}

TEST_F(CudaSynthetic, LargeOnesGoInParts) {
  Bytes bytes((std::size_t{1} << 26) + 40);
  ASSERT_TRUE(fill(0, 5, bytes).ok());
  EXPECT_TRUE(bytes == expected(5, bytes.size()));
}

TEST_F(CudaSynthetic, MemoryOfADeviceIsFilledWhereItLies) {
  MemoryPool pool = std::move(MemoryPool::create(1, ByteCount{0})).value();
  const Buffer buffer = std::move(pool.allocate(ByteCount{4096})).value();
  ASSERT_EQ(cudaStreamSynchronize(pool.home()), cudaSuccess);
  ASSERT_TRUE(fill(1, 11, buffer.bytes(), MemoryKind::kDevice).ok());
  Bytes seen(4096);
  fake_cuda::peek(buffer.bytes().data(), seen.data(), seen.size());
  EXPECT_EQ(seen, expected(11, seen.size()));
  EXPECT_EQ(fake_cuda::counts().bytes_to_host, 0u);
}

TEST_F(CudaSynthetic, NothingIsAskedOfNobody) {
  EXPECT_TRUE(fill(0, 0, {}).ok());
  EXPECT_EQ(fake_curand::counts().device_generators, 0);
}

TEST_F(CudaSynthetic, WithoutTheLibraryItSaysWhatToDo) {
  fake_curand::set_installed(false);
  Bytes bytes(16);
  for (const int device : {SyntheticRequest::kOnHost, 0}) {
    const Result<void> filled = fill(device, 0, bytes);
    ASSERT_FALSE(filled.ok());
    EXPECT_EQ(filled.error().code, ErrorCode::kDeviceFailed);
    EXPECT_THAT(filled.error().message, ::testing::HasSubstr("--device cpu"));
  }
}

TEST_F(CudaSynthetic, ADeviceThereIsNotIsRefused) {
  Bytes bytes(16);
  EXPECT_EQ(fill(2, 0, bytes).error().code, ErrorCode::kConfig);
  fake_cuda::reset({.driver = false});
  EXPECT_EQ(fill(0, 0, bytes).error().code, ErrorCode::kDeviceFailed);
  EXPECT_TRUE(fill(SyntheticRequest::kOnHost, 0, bytes).ok());
}

TEST_F(CudaSynthetic, EachCallOfTheLibraryMayFail) {
  Bytes bytes(64);
  for (const Call call : {Call::kCreate, Call::kOrdering, Call::kSeed, Call::kOffset, Call::kStream,
                          Call::kGenerate}) {
    fake_curand::fail_call(call, 1, Status::kLaunchFailure);
    const Result<void> filled = fill(0, 0, bytes);
    ASSERT_FALSE(filled.ok());
    EXPECT_EQ(filled.error().code, ErrorCode::kDeviceFailed);
    EXPECT_THAT(filled.error().message, ::testing::HasSubstr("status 201"));
  }
  fake_curand::fail_call(Call::kGenerate, 1, Status::kAllocationFailed);
  EXPECT_EQ(fill(0, 0, bytes).error().code, ErrorCode::kOutOfMemory);
  EXPECT_TRUE(fill(0, 0, bytes).ok());
}

TEST_F(CudaSynthetic, EachCallOfTheDeviceMayFail) {
  Bytes bytes(64);
  for (const fake_cuda::Call call : {fake_cuda::Call::kAllocate, fake_cuda::Call::kCreate}) {
    fake_cuda::fail_call(call, 1, cudaErrorMemoryAllocation);
    EXPECT_EQ(fill(0, 0, bytes).error().code, ErrorCode::kOutOfMemory);
  }
  fake_cuda::fail_call(fake_cuda::Call::kCopy, 1, cudaErrorLaunchFailure);
  EXPECT_EQ(fill(0, 0, bytes).error().code, ErrorCode::kDeviceFailed);
}

}  // namespace
}  // namespace beaverpond::cuda
