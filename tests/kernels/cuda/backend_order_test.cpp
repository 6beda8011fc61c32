// What the backend promises beyond right results: the order of its calls holds in every order in
// which streams may run, failures are typed and found, and no secret stays in freed memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fake_cuda/control.h"
#include "kernels/cpu/prg.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/key_ring.h"

namespace beaverpond::cuda {
namespace {

using fake_cuda::Call;

const WorkLimits kShortPatience{.patience = std::chrono::milliseconds(100)};

std::unique_ptr<Backend> make_backend(const WorkLimits& limits = {}) {
  Result<std::unique_ptr<Backend>> backend = make_cuda_backend(0, {}, limits);
  EXPECT_TRUE(backend.ok()) << backend.error().message;
  return std::move(backend).value();
}

Buffer device(Backend& backend, std::uint64_t words) {
  Result<Buffer> buffer = backend.allocate(ByteCount{words * 8});
  EXPECT_TRUE(buffer.ok()) << buffer.error().message;
  return std::move(buffer).value();
}

Buffer host(Backend& backend, std::uint64_t words) {
  Result<Buffer> buffer = backend.allocate_host(ByteCount{words * 8});
  EXPECT_TRUE(buffer.ok()) << buffer.error().message;
  return std::move(buffer).value();
}

/// Runs `body` with many orders of streams.
void with_seeds(const std::function<void(Backend&)>& body) {
  for (std::uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(seed);
    fake_cuda::reset({.seed = seed});
    body(*make_backend());
  }
}

TEST(CudaBackendOrder, ADownloadSeesWhatCameBefore) {
  with_seeds([](Backend& backend) {
    const Buffer x = device(backend, 40);
    const Buffer seen = host(backend, 40);
    for (std::uint64_t i = 1; i <= 5; ++i) {
      backend.add_constant(x.words(), 1, x.words(), kHostStream);
      backend.download(x.bytes(), seen.bytes(), kHostStream);
      ASSERT_TRUE(backend.synchronize(kHostStream).ok());
      EXPECT_THAT(seen.words(), ::testing::Each(i));
    }
  });
}

TEST(CudaBackendOrder, ADownloadTravelsBesideWhatComesAfter) {
  with_seeds([](Backend& backend) {
    const Buffer x = device(backend, 40);
    const Buffer y = device(backend, 40);
    const Buffer first = host(backend, 40);
    const Buffer second = host(backend, 40);
    backend.add_constant(x.words(), 7, x.words(), kHostStream);
    backend.download(x.bytes(), first.bytes(), kHostStream);
    backend.add_constant(x.words(), 2, y.words(), kHostStream);
    backend.download(y.bytes(), second.bytes(), kHostStream);
    ASSERT_TRUE(backend.synchronize(kHostStream).ok());
    EXPECT_THAT(first.words(), ::testing::Each(7u));
    EXPECT_THAT(second.words(), ::testing::Each(9u));
  });
}

TEST(CudaBackendOrder, AnUploadIsBetweenItsNeighbours) {
  with_seeds([](Backend& backend) {
    const Buffer x = device(backend, 40);
    const Buffer given = host(backend, 40);
    const Buffer seen = host(backend, 40);
    std::ranges::fill(given.words(), 5);
    backend.add_constant(x.words(), 100, x.words(), kHostStream);
    backend.upload(given.bytes(), x.bytes(), kHostStream);
    backend.add_constant(x.words(), 1, x.words(), kHostStream);
    backend.download(x.bytes(), seen.bytes(), kHostStream);
    ASSERT_TRUE(backend.synchronize(kHostStream).ok());
    EXPECT_THAT(seen.words(), ::testing::Each(6u));
  });
}

TEST(CudaBackendOrder, PublicWordsAreReadInTheirTurn) {
  with_seeds([](Backend& backend) {
    const Buffer x = device(backend, 40);
    const Buffer seen = host(backend, 40);
    const Buffer ones = host(backend, 40);
    const Buffer threes = host(backend, 40);
    std::ranges::fill(ones.words(), 1);
    std::ranges::fill(threes.words(), 3);
    for (int i = 0; i < 3; ++i) {
      backend.add_public(x.words(), ones.words(), true, x.words(), kHostStream);
      backend.multiply_public(x.words(), threes.words(), x.words(), kHostStream);
    }
    backend.download(x.bytes(), seen.bytes(), kHostStream);
    ASSERT_TRUE(backend.synchronize(kHostStream).ok());
    EXPECT_THAT(seen.words(), ::testing::Each(39u));
  });
}

Seed seed_of(std::uint8_t first) {
  std::array<std::uint8_t, Seed::kSize> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(first + i);
  return Seed(bytes);
}

/// More keys than a ring holds, again and again, and by both generators.
TEST(CudaBackendOrder, AStreamIsExpandedByTheKeyOfItsTurn) {
  constexpr std::size_t kWords = 24, kStreams = 2 * KeyRing::kSlots + 5;
  const auto prg_of = [](std::size_t i) {
    return i % 5 == 0 ? PrgKind::kAes128Ctr : PrgKind::kChaCha20;
  };
  std::vector<std::uint64_t> expected(kStreams * kWords);
  for (int round = 0; round < 2; ++round) {
    for (std::size_t i = 0; i < kStreams; ++i) {
      Prg(seed_of(static_cast<std::uint8_t>(i / 2)), prg_of(i))
          .add(i, 0, std::span(expected).subspan(i * kWords, kWords));
    }
  }
  with_seeds([&](Backend& backend) {
    const Buffer x = device(backend, expected.size());
    const Buffer seen = host(backend, expected.size());
    for (int round = 0; round < 2; ++round) {
      for (std::size_t i = 0; i < kStreams; ++i) {
        backend.prg_add(seed_of(static_cast<std::uint8_t>(i / 2)), prg_of(i), i,
                        x.words().subspan(i * kWords, kWords), kHostStream);
        if (i == kStreams / 2) {
          ASSERT_TRUE(backend.synchronize(kHostStream).ok());
        }
      }
    }
    backend.download(x.bytes(), seen.bytes(), kHostStream);
    ASSERT_TRUE(backend.synchronize(kHostStream).ok());
    EXPECT_TRUE(std::ranges::equal(seen.words(), expected));
  });
}

TEST(CudaBackendOrder, NothingIsLeftAndAllOfItWasWiped) {
  with_seeds([](Backend& backend) {
    const Buffer x = device(backend, 64 * 64);
    const Buffer y = device(backend, 64 * 64);
    const Buffer seen = host(backend, 64 * 64);
    backend.add_constant(x.words(), 3, x.words(), kHostStream);
    backend.matmul({64, 64, 64, false, true}, x.words(), x.words(), y.words(), false, kHostStream);
    backend.download(y.bytes(), seen.bytes(), kHostStream);
    ASSERT_TRUE(backend.synchronize(kHostStream).ok());
    EXPECT_THAT(seen.words(), ::testing::Each(9u * 64));
  });
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(fake_cuda::counts().unwiped_frees, 0u);
  EXPECT_EQ(fake_cuda::live().device_allocations, 0u);
  EXPECT_EQ(fake_cuda::live().host_allocations, 0u);
  EXPECT_EQ(fake_cuda::live().streams, 0u);
  EXPECT_EQ(fake_cuda::live().events, 0u);
}

/// A small piece of work that uses every kind of call. The matrices fit its only shape.
struct Work {
  static constexpr std::uint64_t kSide = 16;
  std::unique_ptr<Backend> backend;
  Buffer x = device(*backend, kSide* kSide);
  Buffer y = device(*backend, kSide* kSide);
  Buffer given = host(*backend, kSide* kSide);
  Buffer seen = host(*backend, kSide* kSide);

  explicit Work(const WorkLimits& limits = {}) : backend(make_backend(limits)) {
    std::ranges::fill(given.words(), 2);
  }
  /// What synchronize says.
  Result<void> run() const {
    backend->upload(given.bytes(), x.bytes(), kHostStream);
    backend->matmul({kSide, kSide, kSide, false, false}, x.words(), x.words(), y.words(), false,
                    kHostStream);
    backend->add_public(y.words(), given.words(), true, y.words(), kHostStream);
    backend->transpose(kSide, kSide, y.words(), x.words(), kHostStream);
    backend->download(x.bytes(), seen.bytes(), kHostStream);
    return backend->synchronize(kHostStream);
  }
  void expect_right() const { EXPECT_THAT(seen.words(), ::testing::Each(4 * kSide + 2)); }
};

TEST(CudaBackendFailures, EveryCallThatFailsIsFoundAtTheSynchronize) {
  for (const auto& [call, error, code] :
       {std::tuple{Call::kAllocate, cudaErrorMemoryAllocation, ErrorCode::kOutOfMemory},
        std::tuple{Call::kLaunch, cudaErrorLaunchOutOfResources, ErrorCode::kDeviceFailed},
        std::tuple{Call::kCopy, cudaErrorUnknown, ErrorCode::kDeviceFailed},
        std::tuple{Call::kSynchronize, cudaErrorECCUncorrectable, ErrorCode::kDeviceFailed}}) {
    int found = 0;
    for (int nth = 1;; ++nth) {
      SCOPED_TRACE(testing::Message() << "call " << static_cast<int>(call) << ", " << nth);
      fake_cuda::reset({});
      const Work work;
      fake_cuda::fail_call(call, nth, error);
      const Result<void> done = work.run();
      if (fake_cuda::failures_left() != 0) {
        ASSERT_TRUE(done.ok());
        work.expect_right();
        break;
      }
      found += 1;
      ASSERT_FALSE(done.ok());
      EXPECT_EQ(done.error().code, code) << done.error().message;
      if (call == Call::kSynchronize) continue;  // the device is gone
      // Said once; then the backend works again.
      const Result<void> again = work.run();
      ASSERT_TRUE(again.ok()) << again.error().message;
      work.expect_right();
    }
    EXPECT_GT(found, 0) << static_cast<int>(call);
  }
}

TEST(CudaBackendFailures, AKernelThatFaultsIsFoundAndStays) {
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE(nth);
    fake_cuda::reset({});
    const Work work;
    fake_cuda::fail_kernel(nth, cudaErrorIllegalAddress);
    const Result<void> done = work.run();
    if (fake_cuda::failures_left() != 0) {
      EXPECT_TRUE(done.ok());
      EXPECT_GT(nth, 2);
      break;
    }
    ASSERT_FALSE(done.ok());
    EXPECT_EQ(done.error().code, ErrorCode::kDeviceFailed);
    EXPECT_THAT(done.error().message, ::testing::HasSubstr("700"));
    EXPECT_EQ(work.run().error().code, ErrorCode::kDeviceFailed);
    EXPECT_EQ(work.backend->allocate(ByteCount{8}).error().code, ErrorCode::kDeviceFailed);
  }
}

TEST(CudaBackendFailures, NoBackendIsMadeOnADeviceThatCannot) {
  for (const Call call : {Call::kAllocate, Call::kAllocateHost, Call::kCreate, Call::kLaunch,
                          Call::kCopy, Call::kSynchronize}) {
    for (int nth = 1;; ++nth) {
      SCOPED_TRACE(testing::Message() << "call " << static_cast<int>(call) << ", " << nth);
      fake_cuda::reset({});
      fake_cuda::fail_call(call, nth, cudaErrorLaunchFailure);
      const Result<std::unique_ptr<Backend>> backend = make_cuda_backend(0);
      if (fake_cuda::failures_left() != 0) {
        EXPECT_TRUE(backend.ok());
        break;
      }
      // What a wipe could not do has nobody to hear of it.
      if (call != Call::kCopy) {
        EXPECT_FALSE(backend.ok());
      }
      if (!backend.ok()) {
        EXPECT_EQ(backend.error().code, ErrorCode::kDeviceFailed);
      }
    }
  }
}

/// What a lost device may still touch is nobody else's: the kernel that hung ends after all, and
/// finds its memory.
void expect_what_hung_harms_nobody() {
  fake_cuda::let_go();
  EXPECT_GT(fake_cuda::live().device_allocations, 0u);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(CudaBackendHangs, AKernelThatDoesNotEndIsAnErrorAndItsMemoryStays) {
  int found = 0;
  for (const bool pools : {true, false}) {
    for (int nth = 1;; ++nth) {
      SCOPED_TRACE(testing::Message() << nth << (pools ? "" : ", without pools"));
      fake_cuda::reset({.memory_pools = pools, .seed = static_cast<std::uint64_t>(nth)});
      const auto start = std::chrono::steady_clock::now();
      {
        const Work work(kShortPatience);
        fake_cuda::hang_kernel(nth);
        const Result<void> done = work.run();
        if (fake_cuda::failures_left() != 0) {
          EXPECT_TRUE(done.ok());
          break;
        }
        found += 1;
        ASSERT_FALSE(done.ok());
        EXPECT_EQ(done.error().code, ErrorCode::kDeviceFailed);
        EXPECT_THAT(done.error().message, ::testing::HasSubstr("cuda:0 did not end its work"));
        EXPECT_EQ(work.run().error().code, ErrorCode::kDeviceFailed);
        EXPECT_EQ(work.backend->allocate(ByteCount{8}).error().code, ErrorCode::kDeviceFailed);
      }
      EXPECT_LT(seconds_since(start), 10.0);
      expect_what_hung_harms_nobody();
    }
  }
  EXPECT_GT(found, 4);
}

/// Nobody waits for the backend, and it ends with work that does not.
TEST(CudaBackendHangs, ABackendEndsInTime) {
  fake_cuda::reset({});
  const auto start = std::chrono::steady_clock::now();
  {
    const std::unique_ptr<Backend> backend = make_backend(kShortPatience);
    const Buffer x = device(*backend, 40);
    fake_cuda::hang_kernel(1);
    backend->add_constant(x.words(), 1, x.words(), kHostStream);
  }
  EXPECT_LT(seconds_since(start), 10.0);
  expect_what_hung_harms_nobody();
}

/// CUDA itself waits for the device where host memory is not page-locked, and where a thousand
/// launches wait: the stand-in ends the test that comes so far.
TEST(CudaBackendHangs, NoCallWaitsInCudaItself) {
  std::vector<std::uint64_t> words(40, 1);
  const std::span<std::uint8_t> bytes(reinterpret_cast<std::uint8_t*>(words.data()), 320);
  using Step = std::function<void(Backend&, const Buffer&)>;
  const std::vector<Step> steps = {
      [&](Backend& b, const Buffer& x) { b.upload(bytes, x.bytes(), kHostStream); },
      [&](Backend& b, const Buffer& x) { b.download(x.bytes(), bytes, kHostStream); },
      [&](Backend& b, const Buffer& x) {
        b.add_public(x.words(), words, true, x.words(), kHostStream);
      },
      [&](Backend& b, const Buffer& x) {
        for (int i = 0; i < 2000; ++i) b.add_constant(x.words(), 1, x.words(), kHostStream);
      }};
  for (const Step& step : steps) {
    fake_cuda::reset({});
    {
      const std::unique_ptr<Backend> backend = make_backend(kShortPatience);
      const Buffer x = device(*backend, 40);
      fake_cuda::hang_kernel(1);
      backend->add_constant(x.words(), 1, x.words(), kHostStream);
      step(*backend, x);
      EXPECT_EQ(backend->synchronize(kHostStream).error().code, ErrorCode::kDeviceFailed);
    }
    expect_what_hung_harms_nobody();
  }
}

TEST(CudaBackendHangs, ADeviceThatHangsAtTheStartMakesNoBackend) {
  fake_cuda::reset({});
  fake_cuda::hang_kernel(1);
  const Result<std::unique_ptr<Backend>> backend = make_cuda_backend(0, {}, kShortPatience);
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.error().code, ErrorCode::kDeviceFailed);
  expect_what_hung_harms_nobody();
}

TEST(CudaBackendFailures, AFullDeviceIsOutOfMemoryAndGoesOn) {
  fake_cuda::reset({.memory_bytes = 1 << 20});
  const std::unique_ptr<Backend> backend = make_backend();
  const Buffer half = device(*backend, (1 << 19) / 8);
  EXPECT_EQ(backend->allocate(ByteCount{1 << 20}).error().code, ErrorCode::kOutOfMemory);
  backend->add_constant(half.words(), 1, half.words(), kHostStream);
  EXPECT_TRUE(backend->synchronize(kHostStream).ok());
}

}  // namespace
}  // namespace beaverpond::cuda
