#include "kernels/synthetic/source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "kernels/synthetic/philox.h"

namespace beaverpond {
namespace {

using ::testing::ElementsAre;

using Sequence = std::vector<std::uint32_t>;

std::span<std::uint8_t> bytes_of(std::uint32_t* words, std::size_t count) {
  return {reinterpret_cast<std::uint8_t*>(words), count * 4};
}

Sequence words_of(const SyntheticSource& source, std::uint64_t seed, std::uint64_t first,
                  std::size_t count) {
  Sequence words(count);
  const Result<void> filled = source.fill_blocking(seed, first, bytes_of(words.data(), count));
  EXPECT_TRUE(filled.ok()) << filled.error().message;
  return words;
}

// The known answers that come with the paper's own code (Random123, kat_vectors).
TEST(Philox, GivesThePapersWords) {
  EXPECT_THAT(philox4x32_10({0, 0, 0, 0}, 0),
              ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  EXPECT_THAT(philox4x32_10({~0u, ~0u, ~0u, ~0u}, ~std::uint64_t{0}),
              ElementsAre(0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu));
  EXPECT_THAT(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0'a4093822),
              ElementsAre(0xd16cfe09u, 0x94fdcceb, 0x5001e420u, 0x24126ea1u));
}

// Recorded from libcurand 10.4: CURAND_RNG_PSEUDO_PHILOX4_32_10, legacy order, on the host.
TEST(SyntheticSource, GivesCuRandsWords) {
  constexpr std::uint64_t kSeed = 0x12345678'9abcdef0;
  const SyntheticSource cpu;
  EXPECT_THAT(
      words_of(cpu, kSeed, 0, 12),
      ElementsAre(0x092c9b44u, 0x78384bc0u, 0xc9fb80beu, 0x2b3be4ddu, 0x392fd6b2u, 0x26fc076cu,
                  0x74ce119eu, 0x54e7cb63u, 0x8ab1a19du, 0x25d82783u, 0x3209f83bu, 0x4d4aebb8u));
  EXPECT_THAT(words_of(cpu, kSeed, 69999, 1), ElementsAre(0x80d1706cu));
  EXPECT_THAT(words_of(cpu, kSeed, std::uint64_t{1} << 34, 2),
              ElementsAre(0x5eb697e9u, 0x63c4d692u));
}

TEST(SyntheticSource, AnyPieceIsThatOfTheWhole) {
  const SyntheticSource cpu;
  const std::uint64_t around = 4 * 65536 - 8;  // where lanes start over
  const Sequence whole = words_of(cpu, 3, around, 64);
  for (std::size_t first = 0; first < 9; ++first) {
    for (std::size_t count = 0; count < 12; ++count) {
      const auto begin = whole.begin() + static_cast<std::ptrdiff_t>(first);
      EXPECT_EQ(words_of(cpu, 3, around + first, count),
                Sequence(begin, begin + static_cast<std::ptrdiff_t>(count)));
    }
  }
  EXPECT_NE(words_of(cpu, 4, around, 64), whole);
}

TEST(SyntheticSource, NamesAreChecked) {
  for (const char* const name : {"", "gpu", "cuda:", "cuda:x", "curand"}) {
    const Result<SyntheticSource> source = SyntheticSource::open(name);
    ASSERT_FALSE(source.ok()) << name;
    EXPECT_EQ(source.error().code, ErrorCode::kConfig);
    EXPECT_THAT(source.error().message, ::testing::HasSubstr("curand-host"));
  }
}

/// What the module beside this test was asked for: device, seed, first word, memory.
TEST(SyntheticSource, AsksTheModule) {
  const Result<SyntheticSource> gpu = SyntheticSource::open("cuda");
  ASSERT_TRUE(gpu.ok()) << gpu.error().message;
  EXPECT_TRUE(gpu->on_gpu());
  EXPECT_EQ(gpu->line(), "cuRAND on cuda:0");
  EXPECT_THAT(words_of(*gpu, 5, 6, 4), ElementsAre(0u, 5u, 6u, 0u));
  alignas(16) std::uint32_t memory[4] = {};
  ASSERT_TRUE(gpu->fill_blocking(7, 8, bytes_of(memory, 4), MemoryKind::kDevice).ok());
  EXPECT_THAT(memory, ElementsAre(0u, 7u, 8u, 1u));

  const Result<SyntheticSource> host = SyntheticSource::open("curand-host");
  ASSERT_TRUE(host.ok()) << host.error().message;
  EXPECT_FALSE(host->on_gpu());
  EXPECT_THAT(words_of(*host, 5, 6, 4), ElementsAre(~0u, 5u, 6u, 0u));

  EXPECT_EQ(SyntheticSource::open("cuda:1").error().code, ErrorCode::kConfig);
}

TEST(SyntheticSource, OnlyAutoFallsBack) {
  EXPECT_TRUE(SyntheticSource::open("auto")->on_gpu());
  ASSERT_EQ(::setenv("BEAVERPOND_TEST_NO_GPU", "1", 1), 0);
  const Result<SyntheticSource> found = SyntheticSource::open("auto");
  const Result<SyntheticSource> asked = SyntheticSource::open("cuda");
  ::unsetenv("BEAVERPOND_TEST_NO_GPU");
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_FALSE(found->on_gpu());
  EXPECT_EQ(found->line(), "the CPU: no GPU today");
  EXPECT_EQ(words_of(*found, 1, 2, 100), words_of(SyntheticSource(), 1, 2, 100));
  EXPECT_EQ(asked.error().code, ErrorCode::kDeviceFailed);
}

}  // namespace
}  // namespace beaverpond
