// The kernel that opens bits, on the emulated machine.
#include "kernels/cuda/xor_reduce.cuh"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "simt/run.h"

namespace beaverpond::cuda {
namespace {

TEST(XorReduce, IsTheXorOfAllPartsForAnyGridAndLength) {
  std::mt19937_64 random(3);
  for (const int players : {1, 2, 3, 64}) {
    for (const std::size_t words : {1u, 31u, 257u, 500u}) {
      std::vector<std::uint64_t> parts(words * static_cast<std::size_t>(players));
      for (std::uint64_t& part : parts) part = random();
      std::vector<std::uint64_t> expected(words);
      for (std::size_t i = 0; i < parts.size(); ++i) expected[i % words] ^= parts[i];
      // From fewer threads than words to more than blocks that have anything to do.
      for (const unsigned blocks : {1u, 3u, 20u}) {
        std::vector<std::uint64_t> out(words, 0xdead);
        simt::run(xor_reduce<std::uint64_t>, dim3(blocks), dim3(32), 0, parts.data(), out.data(),
                  std::uint64_t{words}, players);
        EXPECT_EQ(out, expected);
      }
    }
  }
}

}  // namespace
}  // namespace beaverpond::cuda
