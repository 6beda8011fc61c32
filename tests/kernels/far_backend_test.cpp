// That the stand-in for a device catches what it is for.
#include "tests/kernels/far_backend.h"

#include <gtest/gtest.h>

#include <numeric>

namespace beaverpond::testing {
namespace {

class FarBackendTest : public ::testing::Test {
 protected:
  FarBackendTest() {
    memory_ = backend_.allocate(ByteCount{64 * 8}).value();
    host_.resize(64);
    std::iota(host_.begin(), host_.end(), 1);
  }
  Words far() const { return memory_.words(); }
  void upload() { backend_.upload(bytes_of(ConstWords(host_)), memory_.bytes(), kHostStream); }
  void download(std::vector<std::uint64_t>& to) {
    backend_.download(memory_.bytes(), bytes_of(Words(to)), kHostStream);
  }

  FarBackend backend_;
  Buffer memory_;
  std::vector<std::uint64_t> host_;
};

TEST_F(FarBackendTest, WhatWasUploadedAndChangedComesBack) {
  upload();
  backend_.add_constant(far(), 10, far(), kHostStream);
  std::vector<std::uint64_t> back(64);
  download(back);
  ASSERT_TRUE(backend_.synchronize(kHostStream).ok());
  for (std::size_t i = 0; i < back.size(); ++i) EXPECT_EQ(back[i], host_[i] + 10);
}

TEST_F(FarBackendTest, MemoryIsZeroAtFirst) {
  std::vector<std::uint64_t> back(64, 1);
  download(back);
  ASSERT_TRUE(backend_.synchronize(kHostStream).ok());
  EXPECT_EQ(back, std::vector<std::uint64_t>(64));
}

TEST_F(FarBackendTest, WhoDoesNotSynchronizeReadsNothing) {
  upload();
  std::vector<std::uint64_t> back(64);
  download(back);
  EXPECT_EQ(back, std::vector<std::uint64_t>(64, 0xdddddddddddddddd));
  ASSERT_TRUE(backend_.synchronize(kHostStream).ok());
  EXPECT_EQ(back, host_);
}

TEST_F(FarBackendTest, WhoOverwritesWhatIsOnItsWaySeesIt) {
  upload();
  std::vector<std::uint64_t> back(64);
  download(back);
  backend_.zero(memory_.bytes(), kHostStream);
  ASSERT_TRUE(backend_.synchronize(kHostStream).ok());
  EXPECT_NE(back, host_);
}

TEST_F(FarBackendTest, WhoChangesHostMemoryBeforeSynchronizeSeesIt) {
  upload();
  host_.assign(64, 7);
  std::vector<std::uint64_t> back(64);
  download(back);
  ASSERT_TRUE(backend_.synchronize(kHostStream).ok());
  EXPECT_EQ(back, host_);
}

TEST_F(FarBackendTest, AFailureIsToldOnceAndWhatFollowedItDidNothing) {
  upload();
  ASSERT_TRUE(backend_.synchronize(kHostStream).ok());
  backend_.fail_after(1, ErrorCode::kDeviceFailed);
  backend_.add_constant(far(), 1, far(), kHostStream);
  backend_.add_constant(far(), 10, far(), kHostStream);
  backend_.add_constant(far(), 100, far(), kHostStream);
  const Result<void> failed = backend_.synchronize(kHostStream);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::kDeviceFailed);
  std::vector<std::uint64_t> back(64);
  download(back);
  ASSERT_TRUE(backend_.synchronize(kHostStream).ok());
  for (std::size_t i = 0; i < back.size(); ++i) EXPECT_EQ(back[i], host_[i] + 1);
}

TEST_F(FarBackendTest, AFullDeviceSaysSo) {
  backend_.allow_allocations(1);
  EXPECT_TRUE(backend_.allocate(ByteCount{64}).ok());
  EXPECT_EQ(backend_.allocate(ByteCount{64}).error().code, ErrorCode::kOutOfMemory);
}

using FarBackendDeathTest = FarBackendTest;

TEST_F(FarBackendDeathTest, AHostThatReadsOrWritesItsMemoryCrashes) {
  ASSERT_TRUE(backend_.synchronize(kHostStream).ok());
  EXPECT_DEATH(std::exit(static_cast<int>(*static_cast<volatile std::uint64_t*>(far().data()))),
               "");
  EXPECT_DEATH(*static_cast<volatile std::uint64_t*>(far().data()) = 1, "");
}

TEST_F(FarBackendDeathTest, MemoryOfTheWrongKindIsRefused) {
  const Buffer staging = backend_.allocate_host(ByteCount{64 * 8}).value();
  EXPECT_DEATH(backend_.add(host_, far(), far(), kHostStream), "not its backend's");
  EXPECT_DEATH(backend_.copy(far(), staging.words(), kHostStream), "not its backend's");
  EXPECT_DEATH(backend_.upload(memory_.bytes(), memory_.bytes(), kHostStream), "host's belongs");
  EXPECT_DEATH(backend_.download(staging.bytes(), memory_.bytes(), kHostStream), "host's belongs");
  EXPECT_DEATH(backend_.add_public(far(), far(), true, far(), kHostStream), "host's belongs");
  FarBackend other;
  const Buffer elsewhere = other.allocate(ByteCount{64 * 8}).value();
  EXPECT_DEATH(backend_.copy(elsewhere.words(), far(), kHostStream), "not its backend's");
}

TEST_F(FarBackendDeathTest, NothingEndsBeforeItsWorkIsDone) {
  EXPECT_DEATH(
      {
        backend_.zero(memory_.bytes(), kHostStream);
        memory_ = Buffer();
      },
      "still uses it");
  Buffer staging = backend_.allocate_host(ByteCount{64 * 8}).value();
  EXPECT_DEATH(
      {
        backend_.upload(staging.bytes(), memory_.bytes(), kHostStream);
        staging = Buffer();
      },
      "still uses it");
  EXPECT_DEATH(
      {
        backend_.download(memory_.bytes(), staging.bytes(), kHostStream);
        staging = Buffer();
      },
      "still uses it");
  EXPECT_DEATH(
      {
        auto gone = std::make_unique<FarBackend>();
        const Buffer own = gone->allocate(ByteCount{64}).value();
        gone->zero(own.bytes(), kHostStream);
        gone.reset();
      },
      "before its work was done");
  EXPECT_DEATH(
      {
        auto gone = std::make_unique<FarBackend>();
        const Buffer own = gone->allocate(ByteCount{64}).value();
        gone.reset();
      },
      "outlived its backend");
}

}  // namespace
}  // namespace beaverpond::testing
