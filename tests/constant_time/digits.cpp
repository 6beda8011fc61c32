// SecureNN's digits: drawn, shared, compared, tested; and the signs that the factory deals of them.
#include "kernels/securenn/digits.h"

#include "kernels/securenn/material.h"
#include "tests/constant_time/marks.h"

namespace beaverpond::securenn {
namespace {

using testing::expect_constant_time;
using testing::secret_seed;
using testing::secret_seeds;
using testing::secret_words;
using testing::WordVector;
using ByteVector = std::vector<std::uint8_t>;

constexpr std::uint64_t kCount = 131;

TEST(ConstantTimeDigits, ComparingWords) {
  std::mt19937_64 random(3);
  const Seed dealer_seed = secret_seed(random), common_seed = secret_seed(random);
  const Prg dealer(dealer_seed, PrgKind::kAes128Ctr), common(common_seed, PrgKind::kAes128Ctr);
  const DigitKernels& kernels = digit_kernels();
  const WordVector x = secret_words(kCount, random), bound = secret_words(kCount, random);
  const WordVector beta = secret_words(blocks_of(kCount), random);
  ByteVector x0(packed_bytes(kCount)), x1(x0.size()), sent0(x0.size()), sent1(x0.size());
  WordVector found(beta.size());
  expect_constant_time("digits are drawn", std::span(x0), [&] { kernels.draw({&dealer, 9}, x0); });
  for (const int bits : {64, 63}) {
    const std::string of_bits = " of " + std::to_string(bits) + " bits";
    expect_constant_time("digits are shared" + of_bits, std::span(x1), [&] {
      kernels.share_bits(x, bits, {&dealer, 9}, x1);
    });
    for (const bool at_least : {false, true}) {
      const Draw draw{&common, 5};
      expect_constant_time("P0 compares" + of_bits, std::span(sent0), [&] {
        kernels.compare({0, at_least, bits, x0, bound, beta, draw}, sent0);
      });
      expect_constant_time("P1 compares" + of_bits, std::span(sent1), [&] {
        kernels.compare({1, at_least, bits, x1, bound, beta, draw}, sent1);
      });
      expect_constant_time("P2 looks for zeros" + of_bits, std::span(found),
                           [&] { kernels.find_zero(sent0, sent1, found); });
    }
  }
}

TEST(ConstantTimeDigits, DealingAndReadingSigns) {
  std::mt19937_64 random(4);
  const std::vector<Seed> seeds = secret_seeds(3, random);
  for (const SignKind kind : {SignKind::kConverted, SignKind::kOpened}) {
    ByteVector correction(kCount * 8 + packed_bytes(kCount));
    for (const int designated : {0, 1}) {
      SignDeal deal;
      deal.kind = kind;
      deal.count = kCount;
      deal.seeds = seeds;
      deal.designated = designated;
      deal.mask_stream = 1;
      deal.correction_stream = 2;
      deal.correction = correction;
      expect_constant_time("signs are dealt", std::span(correction), [&] { deal_sign(deal); });
      for (const int player : {0, 1}) {
        const Material material{.seed = &seeds[static_cast<std::size_t>(player)],
                                .mask_stream = deal.mask_stream,
                                .correction_stream = deal.correction_stream,
                                .correction = player == designated ? correction.data() : nullptr,
                                .designated = player == designated};
        WordVector mask(kind == SignKind::kConverted ? kCount : 0), words(kCount);
        ByteVector memory(packed_bytes(kCount));
        expect_constant_time("signs are read", std::span(words), [&] {
          read_sign(kind, material, {mask, words, memory});
        });
      }
    }
  }
}

TEST(ConstantTimeDigits, OddWordsOfStreams) {
  std::mt19937_64 random(5);
  const Seed seed = secret_seed(random);
  for (const PrgKind prg : {PrgKind::kAes128Ctr, PrgKind::kChaCha20}) {
    WordVector words(kCount);
    expect_constant_time("odd words are drawn", std::span(words), [&] {
      cpu_operations().odd_fill({&seed, prg, 7}, words, kHostStream);
    });
    expect_constant_time("odd words are subtracted", std::span(words), [&] {
      cpu_operations().odd_subtract({&seed, prg, 8}, words, kHostStream);
    });
  }
}

}  // namespace
}  // namespace beaverpond::securenn
