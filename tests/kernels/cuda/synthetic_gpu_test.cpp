// cuRAND of the built module on a real GPU, word by word against our own; skipped where there is
// none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "kernels/device_module.h"
#include "kernels/synthetic/request.h"
#include "kernels/synthetic/source.h"
#include "tests/kernels/gpu_here.h"

namespace beaverpond {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes expected(std::uint64_t seed, std::uint64_t first, std::size_t size) {
  Bytes bytes(size);
  EXPECT_TRUE(SyntheticSource().fill_blocking(seed, first, bytes).ok());
  return bytes;
}

const DeviceModule* module() {
  const std::string path = BEAVERPOND_CUDA_MODULE;
  const Result<const DeviceModule*> loaded = load_cuda_module_from({&path, 1});
  EXPECT_TRUE(loaded.ok()) << loaded.error().message;
  return loaded.ok() ? *loaded : nullptr;
}

TEST(SyntheticGpu, GivesTheSameWordsAsTheCpu) {
  ASSERT_NE(module(), nullptr);
  const Result<int> count = module()->device_count();
  if (!count.ok() && testing::gpu_here()) FAIL() << count.error().message;
  if (!count.ok()) {
    std::printf("no GPU here: %s\n", count.error().message.c_str());
    return;
  }
  alignas(16) std::array<std::uint8_t, 16> trial{};
  const Result<void> host_generator =
      module()->fill_synthetic_blocking({.device = SyntheticRequest::kOnHost, .out = trial});
  if (!host_generator.ok()) {
    // It came with no toolkit; a library that is there and fails does not end so.
    ASSERT_THAT(host_generator.error().message, ::testing::StartsWith("cannot load cuRAND"));
    std::printf("no cuRAND here: %s\n", host_generator.error().message.c_str());
    return;
  }
  const auto backend = std::move(module()->make_backend(0, {})).value();
  const std::uint64_t lanes = 4 * 65536;
  for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{1}, lanes - 2, 3 * lanes + 1,
                                    std::uint64_t{1} << 40, (std::uint64_t{1} << 41) + 77}) {
    for (const std::size_t words :
         {std::size_t{2}, std::size_t{300'002}, std::size_t{17'000'000}}) {
      const std::uint64_t seed = 0x0123'4567'89ab'cdef;
      const Bytes ours = expected(seed, first, 4 * words);
      Bytes host(ours.size());
      SyntheticRequest request{
          .device = 0, .sequence_seed = seed, .first_word = first, .out = host};
      Result<void> filled = module()->fill_synthetic_blocking(request);
      ASSERT_TRUE(filled.ok()) << filled.error().message;
      EXPECT_TRUE(host == ours) << first << " " << words;

      const Buffer there = std::move(backend->allocate(ByteCount{ours.size()})).value();
      ASSERT_TRUE(backend->synchronize(kHostStream).ok());
      request.out = there.bytes();
      request.memory = MemoryKind::kDevice;
      filled = module()->fill_synthetic_blocking(request);
      ASSERT_TRUE(filled.ok()) << filled.error().message;
      Bytes back(ours.size());
      backend->download(there.bytes(), back, kHostStream);
      ASSERT_TRUE(backend->synchronize(kHostStream).ok());
      EXPECT_TRUE(back == ours) << first << " " << words;
    }
  }
}

}  // namespace
}  // namespace beaverpond
