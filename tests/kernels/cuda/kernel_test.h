// What tests of kernels one by one have in common: operands that are drawn anew under each schedule
// of the emulator.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <random>

#include "beaverpond/seed.h"
#include "simt/run.h"
#include "tests/kernels/cuda/aligned_words.h"

namespace beaverpond::cuda {

class KernelTest : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  WordList words(std::size_t count) {
    WordList drawn(count);
    for (std::uint64_t& word : drawn) word = random_();
    return drawn;
  }
  Seed seed() {
    Seed drawn;
    for (std::uint8_t& byte : drawn.mutable_bytes()) byte = static_cast<std::uint8_t>(random_());
    return drawn;
  }
  static std::uint32_t* halves(WordList& words) {
    return reinterpret_cast<std::uint32_t*>(words.data());
  }
  static const std::uint32_t* halves(const WordList& words) {
    return reinterpret_cast<const std::uint32_t*>(words.data());
  }

  std::mt19937_64 random_{GetParam()};
  const simt::Options options_{.seed = GetParam(), .workers = 2};
};

}  // namespace beaverpond::cuda
