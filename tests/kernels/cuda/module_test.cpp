// The module's entry and what it does before a backend exists, on the stand-ins.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_cuda/control.h"
#include "kernels/cuda/probe.h"
#include "kernels/device_module.h"

extern "C" const beaverpond::DeviceModule* beaverpond_cuda_module(int version);

namespace beaverpond::cuda {
namespace {

TEST(CudaModule, SaysItsVersionToEveryCaller) {
  for (const int version : {kDeviceModuleVersion, kDeviceModuleVersion + 7}) {
    const DeviceModule* const module = beaverpond_cuda_module(version);
    ASSERT_NE(module, nullptr);
    EXPECT_EQ(module->version, kDeviceModuleVersion);
  }
}

TEST(CudaModule, CountsDevicesAndRefusesThoseThereAreNot) {
  const DeviceModule& module = *beaverpond_cuda_module(kDeviceModuleVersion);
  fake_cuda::reset({.devices = 2});
  EXPECT_EQ(*module.device_count(), 2);
  EXPECT_EQ(module.make_backend(2, {}).error().code, ErrorCode::kConfig);
  fake_cuda::reset({.driver = false});
  EXPECT_EQ(module.device_count().error().code, ErrorCode::kDeviceFailed);
  EXPECT_EQ(module.make_backend(0, {}).error().code, ErrorCode::kDeviceFailed);
}

class CudaProbe : public ::testing::Test {
 protected:
  CudaProbe() {
    fake_cuda::reset({});
    pool_.emplace(std::move(MemoryPool::create(0, ByteCount{0})).value());
  }
  std::optional<MemoryPool> pool_;
};

TEST_F(CudaProbe, PassesOnADeviceThatWorks) {
  EXPECT_TRUE(probe_blocking(*pool_).ok());
  EXPECT_EQ(fake_cuda::counts().kernels, 1u);
  EXPECT_EQ(fake_cuda::live().host_allocations, 0u);
}

TEST_F(CudaProbe, AKernelThatDoesNotFitIsSaid) {
  fake_cuda::fail_call(fake_cuda::Call::kLaunch, 1, cudaErrorNoKernelImageForDevice);
  const Error error = probe_blocking(*pool_).error();
  EXPECT_EQ(error.code, ErrorCode::kDeviceFailed);
  EXPECT_THAT(error.message, ::testing::HasSubstr("built for other GPUs"));
}

TEST_F(CudaProbe, AKernelThatFaultsIsSaid) {
  fake_cuda::fail_kernel(1, cudaErrorIllegalAddress);
  EXPECT_EQ(probe_blocking(*pool_).error().code, ErrorCode::kDeviceFailed);
}

TEST_F(CudaProbe, ADeviceThatStopsIsSaid) {
  fake_cuda::fail_call(fake_cuda::Call::kSynchronize, 1, cudaErrorECCUncorrectable);
  EXPECT_EQ(probe_blocking(*pool_).error().code, ErrorCode::kDeviceFailed);
}

TEST_F(CudaProbe, EachCallMayFail) {
  using fake_cuda::Call;
  for (const Call call : {Call::kAllocate, Call::kAllocateHost}) {
    fake_cuda::fail_call(call, 1, cudaErrorMemoryAllocation);
    EXPECT_EQ(probe_blocking(*pool_).error().code, ErrorCode::kOutOfMemory);
    EXPECT_TRUE(probe_blocking(*pool_).ok());
  }
  for (const int nth : {1, 2}) {
    fake_cuda::fail_call(Call::kCopy, nth, cudaErrorLaunchFailure);
    EXPECT_EQ(probe_blocking(*pool_).error().code, ErrorCode::kDeviceFailed);
  }
}

}  // namespace
}  // namespace beaverpond::cuda
