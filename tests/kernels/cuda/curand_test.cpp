// The installed libcurand through the module's own code: its generator for the CPU, which needs no
// driver. Its generator for GPUs: synthetic_gpu_test.cpp.
#include <gtest/gtest.h>

#include <vector>

#include "kernels/cuda/synthetic.h"
#include "kernels/synthetic/source.h"

namespace beaverpond::cuda {
namespace {

TEST(CuRand, TheHostsGeneratorGivesTheSameWordsAsOurOwn) {
  const std::uint64_t lanes = 4 * 65536;
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0} - 5}) {
    for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{1}, lanes - 2, 3 * lanes + 1,
                                      std::uint64_t{1} << 40, (std::uint64_t{1} << 52) + 7}) {
      for (const std::size_t count : {std::size_t{1}, std::size_t{6}, std::size_t{300'001}}) {
        std::vector<std::uint8_t> theirs(4 * count);
        std::vector<std::uint8_t> ours(4 * count);
        const Result<void> filled =
            fill_synthetic_blocking({.sequence_seed = seed, .first_word = first, .out = theirs});
        ASSERT_TRUE(filled.ok()) << filled.error().message;
        ASSERT_TRUE(SyntheticSource().fill_blocking(seed, first, ours).ok());
        EXPECT_TRUE(theirs == ours) << seed << " " << first << " " << count;
      }
    }
  }
}

}  // namespace
}  // namespace beaverpond::cuda
