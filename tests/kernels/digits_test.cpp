#include "kernels/securenn/digits.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/securenn/draw.h"
#include "tests/soak.h"

namespace beaverpond::securenn {
namespace {

using ByteVector = std::vector<std::uint8_t>;
using WordVector = std::vector<std::uint64_t>;

Seed seed_of(std::uint8_t byte) {
  Seed seed;
  for (std::uint8_t& b : seed.mutable_bytes()) b = byte++;
  return seed;
}

class Digits : public ::testing::TestWithParam<const DigitKernels*> {
 protected:
  void SetUp() override {
    if (GetParam() == &kDigitsAvx512 && !machine_has_digits_avx512()) {
      GTEST_SKIP() << "this machine lacks VBMI";
    }
  }
  const DigitKernels& kernels() const { return *GetParam(); }

  const Prg dealer_{seed_of(1), PrgKind::kAes128Ctr};
  const Prg common_{seed_of(77), PrgKind::kAes128Ctr};
};

/// Words at random, and pairs that are equal, neighbours, or differ in the top or lowest bit alone.
struct Pairs {
  WordVector x, bound;
  explicit Pairs(std::size_t count) {
    std::mt19937_64 random(3);
    const std::uint64_t edges[] = {0, 1, 2, ~0ULL, ~0ULL - 1, 1ULL << 63, (1ULL << 63) - 1};
    for (const std::uint64_t a : edges) {
      for (const std::uint64_t b : edges) push(a, b);
    }
    while (x.size() < count) {
      const std::uint64_t a = random();
      const std::uint64_t near[] = {random(), a, a + 1, a - 1, a ^ (1ULL << 63), a ^ 1,
                                    a ^ (1ULL << (random() % 64))};
      push(a, near[random() % std::size(near)]);
    }
  }
  void push(std::uint64_t a, std::uint64_t b) {
    x.push_back(a);
    bound.push_back(b);
  }
};

TEST_P(Digits, PrivateCompareIsTheComparisonOfWords) {
  const auto count = static_cast<std::uint64_t>(beaverpond::testing::campaign_size(50'003, 10'000'000));
  const Pairs pairs(count);
  WordVector beta(blocks_of(count));
  std::mt19937_64 random(4);
  for (std::uint64_t& word : beta) word = random();
  ByteVector x0(packed_bytes(count)), x1(x0.size()), sent0(x0.size()), sent1(x0.size());
  WordVector found(beta.size());
  for (const int bits : {64, 63}) {
    const Draw dealt{&dealer_, 9};
    kernels().draw(dealt, x0);
    kernels().share_bits(pairs.x, bits, dealt, x1);
    for (const bool at_least : {false, true}) {
      const Draw common{&common_, std::uint64_t{at_least} << 32};
      kernels().compare({0, at_least, bits, x0, pairs.bound, beta, common}, sent0);
      kernels().compare({1, at_least, bits, x1, pairs.bound, beta, common}, sent1);
      kernels().find_zero(sent0, sent1, found);
      for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t mask = bits == 64 ? ~0ULL : ~0ULL >> 1;
        const std::uint64_t x = pairs.x[i] & mask, bound = pairs.bound[i] & mask;
        const bool answer = at_least ? x >= bound : x > bound;
        const bool bit = ((beta[i / 64] >> (i % 64)) & 1) != 0;
        ASSERT_EQ(((found[i / 64] >> (i % 64)) & 1) != 0, answer != bit)
            << i << ": " << x << " and " << bound << ", " << bits << " bits";
      }
    }
  }
}

std::uint8_t digit_at(const ByteVector& packed, std::size_t element, unsigned digit) {
  std::uint64_t word = 0;
  std::memcpy(&word, packed.data() + element * kPackedBytes + digit / 8 * 7, 7);
  return static_cast<std::uint8_t>((word >> (digit % 8 * 7)) & 0x7f);
}

/// Chi-square against the uniform distribution on `cells`; its mean is cells - 1.
double chi_square(const std::vector<std::uint64_t>& seen) {
  double total = 0, sum = 0;
  for (const std::uint64_t n : seen) total += static_cast<double>(n);
  const double expected = total / static_cast<double>(seen.size());
  for (const std::uint64_t n : seen) {
    sum += (static_cast<double>(n) - expected) * (static_cast<double>(n) - expected) / expected;
  }
  return sum;
}

/// Six standard deviations above the mean: beyond alpha = 1e-6 for the cells used here.
double limit_of(std::size_t cells) {
  const double degrees = static_cast<double>(cells) - 1;
  return degrees + 6 * std::sqrt(2 * degrees) + 12;
}

/// What P2 sees of a comparison, for fixed secrets: the place of the zero, the values of the
/// others, and P0's half, which the sum must not determine.
struct Seen {
  std::vector<std::uint64_t> places = std::vector<std::uint64_t>(64);
  std::vector<std::uint64_t> values = std::vector<std::uint64_t>(66);
  std::vector<std::uint64_t> halves = std::vector<std::uint64_t>(67);
  std::uint64_t zeros = 0;
};

TEST_P(Digits, WhatTheAssistantSeesIsUniform) {
  constexpr std::uint64_t kCount = 20'000;
  for (const std::uint64_t x : {std::uint64_t{5}, std::uint64_t{1} << 62}) {
    Seen seen;
    const WordVector words(kCount, x), bound(kCount, 4), beta(blocks_of(kCount), 0);
    ByteVector x0(packed_bytes(kCount)), x1(x0.size()), sent0(x0.size()), sent1(x0.size());
    kernels().draw({&dealer_, 0}, x0);
    kernels().share_bits(words, 64, {&dealer_, 0}, x1);
    kernels().compare({0, false, 64, x0, bound, beta, {&common_, 0}}, sent0);
    kernels().compare({1, false, 64, x1, bound, beta, {&common_, 0}}, sent1);
    for (std::size_t i = 0; i < kCount; ++i) {
      for (unsigned j = 0; j < 64; ++j) {
        const unsigned left = digit_at(sent0, i, j);
        const unsigned sum = (left + digit_at(sent1, i, j)) % 67;
        ++seen.halves[left];
        if (sum != 0) ++seen.values[sum - 1];
        if (sum != 0) continue;
        ++seen.zeros;
        ++seen.places[j];
      }
    }
    EXPECT_EQ(seen.zeros, kCount);  // one an element: x > 4
    EXPECT_LT(chi_square(seen.places), limit_of(64)) << x;
    EXPECT_LT(chi_square(seen.values), limit_of(66)) << x;
    EXPECT_LT(chi_square(seen.halves), limit_of(67)) << x;
  }
}

TEST_P(Digits, DrawsAreUniformAndNoBlockRepeatsAnother) {
  constexpr std::uint64_t kCount = 30'000;
  ByteVector packed(packed_bytes(kCount));
  kernels().draw({&dealer_, 5}, packed);
  std::vector<std::uint64_t> seen(67);
  for (std::size_t i = 0; i < kCount; ++i) {
    for (unsigned j = 0; j < 64; ++j) {
      ASSERT_LT(digit_at(packed, i, j), 67);
      ++seen[digit_at(packed, i, j)];
    }
  }
  EXPECT_LT(chi_square(seen), limit_of(67));
  const std::ptrdiff_t block = kBlockElements * kPackedBytes;
  EXPECT_NE(ByteVector(packed.begin(), packed.begin() + block),
            ByteVector(packed.begin() + block, packed.begin() + 2 * block));
}

INSTANTIATE_TEST_SUITE_P(All, Digits, ::testing::Values(&kDigitsPortable, &kDigitsAvx512),
                         [](const auto& info) { return std::string(info.param->name); });

TEST(DigitsTables, AllInstructionSetsGiveTheSameBytes) {
  if (!machine_has_digits_avx512()) GTEST_SKIP() << "this machine lacks VBMI";
  const Prg prg(seed_of(9), PrgKind::kChaCha20);
  const Pairs pairs(1000);
  const WordVector beta(blocks_of(1000), 0x5a5a33cc00ff17e9);
  const auto run = [&](const DigitKernels& kernels) {
    std::vector<ByteVector> made;
    for (const int bits : {63, 64}) {
      ByteVector x0(packed_bytes(1000)), x1(x0.size()), sent(x0.size());
      kernels.draw({&prg, 0}, x0);
      kernels.share_bits(pairs.x, bits, {&prg, 0}, x1);
      made.push_back(x0);
      made.push_back(x1);
      for (const int player : {0, 1}) {
        for (const bool at_least : {false, true}) {
          kernels.compare({player, at_least, bits, player == 0 ? x0 : x1, pairs.bound, beta,
                           {&prg, 1 << 20}},
                          sent);
          made.push_back(sent);
        }
      }
    }
    return made;
  };
  EXPECT_EQ(run(kDigitsPortable), run(kDigitsAvx512));
}

}  // namespace
}  // namespace beaverpond::securenn
