// The kernels whose threads work together (comparisons: compare_kernels_test.cpp), each by itself
// in small grids: against plain loops, under several schedules, and without races (the same program
// under ThreadSanitizer).
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kernels/cpu/prg.h"
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/digit_product.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/lookup.cuh"
#include "kernels/cuda/operand.cuh"
#include "kernels/cuda/prg.cuh"
#include "kernels/cuda/residue_product.cuh"
#include "kernels/cuda/residues.cuh"
#include "kernels/cuda/simt_product.cuh"
#include "simt/run.h"
#include "tests/kernels/cuda/kernel_test.h"

namespace beaverpond::cuda {
namespace {

using Words = WordList;

class Kernels : public KernelTest {};

INSTANTIATE_TEST_SUITE_P(Schedules, Kernels, ::testing::Values(1, 2, 3));

/// out[m, n] = sum over k of a[m, k] b[n, k].
Words product(const Words& a, const Words& b, std::size_t m, std::size_t n, std::size_t k) {
  Words out(m * n);
  for (std::size_t i = 0; i < m * n; ++i) {
    for (std::size_t d = 0; d < k; ++d) out[i] += a[i / n * k + d] * b[i % n * k + d];
  }
  return out;
}

TEST_P(Kernels, MultiplyWordsInPartsOfDepth) {
  using Tile = SimtNarrow;
  constexpr std::uint32_t kM = 7, kN = 5, kK = 43, kPart = 24;
  const Words a = words(kM * kK), b = words(kN * kK);
  Words out(kM * kN);
  simt::run(options_, &multiply_words<Tile, MatrixOperand, MatrixOperand>, dim3(1, 1, 2),
            Tile::kThreads, Tile::kSharedBytes, MatrixOperand{a.data(), kK, 1, true},
            MatrixOperand{b.data(), kK, 1, true}, out.data(), kM, kN, kK, kPart, true);
  EXPECT_EQ(out, product(a, b, kM, kN, kK));
}

/// m x n x k by digits, k in two parts where `part_k` is less, added to what is there.
template <class Tile>
void expect_product_of_digits(const simt::Options& options, const Words& a, const Words& b,
                              const Words& start, std::uint32_t n, std::uint32_t part_k) {
  const auto m = static_cast<std::uint32_t>(start.size()) / n;
  const auto k = static_cast<std::uint32_t>(b.size()) / n;
  Words out = start;
  Words expected = product(a, b, m, n, k);
  for (std::size_t i = 0; i < out.size(); ++i) expected[i] += start[i];
  simt::run(
      options, &multiply_digits<Tile, MatrixOperand, MatrixOperand>,
      dim3((n + Tile::kN - 1) / Tile::kN, (m + Tile::kM - 1) / Tile::kM, (k + part_k - 1) / part_k),
      Tile::kThreads, Tile::kSharedBytes, MatrixOperand{a.data(), k, 1, true},
      MatrixOperand{b.data(), k, 1, true}, out.data(), m, n, k, part_k, true);
  EXPECT_EQ(out, expected);
}

TEST_P(Kernels, MultiplyDigitsInPartsOfDepth) {
  constexpr std::uint32_t kM = 39, kN = 13, kK = 27;
  const Words a = words(kM * kK), b = words(kN * kK), start = words(kM * kN);
  expect_product_of_digits<DigitNarrow>(options_, a, b, start, kN, 16);
  expect_product_of_digits<DigitMiddle>(options_, a, b, start, kN, 16);
  expect_product_of_digits<DigitWide>(options_, a, b, start, kN, 32);
}

/// Digits that are all -128, all 127, and words that have carries in every digit, at the most that
/// a sum of 32 bits takes.
TEST_P(Kernels, DigitsAtTheirLimitMultiplyToTheRingsProduct) {
  constexpr std::uint32_t kK = kMaxDigitDepth;
  const std::uint64_t extremes[] = {0x7f7f7f7f7f7f7f80u, 0x7f7f7f7f7f7f7f7fu, ~std::uint64_t{0}};
  Words a, b;
  for (const std::uint64_t word : extremes) {
    a.insert(a.end(), kK, word);
    b.insert(b.end(), kK, word);
  }
  expect_product_of_digits<DigitTile<1, 8, 1>>(options_, a, b, words(9), 3, kK);
}

/// Operands as residues, and room for the product's. Five stages of depth: the last is read where
/// the result then goes.
struct ResidueProduct {
  static constexpr std::uint32_t kM = 5, kN = 19, kK = 300, kPitch = 320, kCPitch = 32;

  std::vector<uint4> a, b, c;
  ProductPlanes planes;
  ModulusList moduli;

  ResidueProduct(const simt::Options& options, const Words& x, const Words& y)
      : a(kModuli * kM * kPitch / 16),
        b(kModuli * kN * kPitch / 16),
        c(kModuli * kM * kCPitch / 16) {
    planes.a = residues(options, x, kM, a, false);
    planes.b = residues(options, y, kN, b, true);
    planes.c = reinterpret_cast<std::uint8_t*>(c.data());
    planes.m = kM, planes.n = kN, planes.pitch = kPitch, planes.c_pitch = kCPitch;
    std::copy(std::begin(kModulus), std::end(kModulus), moduli.modulus);
  }

  static std::uint8_t* residues(const simt::Options& options, const Words& from, std::uint32_t rows,
                                std::vector<uint4>& planes, bool fold) {
    auto* const bytes = reinterpret_cast<std::uint8_t*>(planes.data());
    simt::run(options, &make_residues<MatrixOperand>, dim3(1, 3), ResidueTile::kThreads,
              ResidueTile::kSharedBytes, MatrixOperand{from.data(), kK, 1, true},
              residue_weights(fold), bytes, rows, 0u, kK, kPitch, std::uint64_t{rows} * kPitch);
    return bytes;
  }

  template <class Tile>
  void multiply(const simt::Options& options, unsigned layers) {
    simt::run(options, &multiply_residues<Tile>, dim3(1, 1, layers), Tile::kThreads,
              Tile::kSharedBytes, planes, moduli);
  }
};

template <class Tile>
void expect_product_of_residues(const simt::Options& options, const Words& x, const Words& y) {
  using P = ResidueProduct;
  ResidueProduct residues(options, x, y);
  residues.multiply<Tile>(options, kModuli);
  Words out(P::kM * P::kN);
  simt::run(options, &recover_words<false>, 1, 256, 0, residues.planes.c, residue_recovery(),
            out.data(), P::kN, P::kM, P::kN, P::kCPitch, std::uint64_t{P::kM} * P::kCPitch);
  EXPECT_EQ(out, product(x, y, P::kM, P::kN, P::kK));
}

TEST_P(Kernels, ResiduesMultiplyToTheRingsProduct) {
  using P = ResidueProduct;
  const Words x = words(P::kM * P::kK), y = words(P::kN * P::kK);
  expect_product_of_residues<ProductNarrow>(options_, x, y);
  expect_product_of_residues<ProductWide>(options_, x, y);
}

template <class Tile>
void expect_layer_of_residues(const simt::Options& options, const Words& x, const Words& y) {
  using P = ResidueProduct;
  ResidueProduct residues(options, x, y);
  residues.multiply<Tile>(options, 1);
  const int p = static_cast<int>(kModulus[0]);
  for (std::uint32_t i = 0; i < P::kM; ++i) {
    for (std::uint32_t j = 0; j < P::kN; ++j) {
      int sum = 0;
      for (std::uint32_t k = 0; k < P::kPitch; ++k) {
        sum += static_cast<std::int8_t>(residues.planes.a[i * P::kPitch + k]) *
               static_cast<std::int8_t>(residues.planes.b[j * P::kPitch + k]);
      }
      ASSERT_EQ(residues.planes.c[i * P::kCPitch + j], (sum % p + p) % p) << i << "," << j;
    }
  }
}

/// One modulus: few enough threads for a look at races.
TEST_P(Kernels, OneLayerOfResidues) {
  using P = ResidueProduct;
  const Words x = words(P::kM * P::kK), y = words(P::kN * P::kK);
  expect_layer_of_residues<ProductNarrow>(options_, x, y);
  expect_layer_of_residues<ProductWide>(options_, x, y);
}

/// A signed word's residue, times (M/p)^-1 mod p, as the product leaves it.
std::uint8_t folded_residue(std::uint64_t word, int modulus) {
  const auto p = static_cast<std::int64_t>(kModulus[modulus]);
  const std::int64_t residue = (static_cast<std::int64_t>(word) % p + p) % p;
  return static_cast<std::uint8_t>(residue * residue_detail::cofactor_inverse(modulus) % p);
}

/// Bytes of our own in the products' place: a word from its residues, mod 2^64 and added to what
/// is there. Columns that are no multiple of the four that a thread recovers.
TEST_P(Kernels, RecoveredWords) {
  constexpr std::uint32_t kRows = 3, kColumns = 7, kPitch = 16, kOutPitch = 9;
  const Words value = words(kRows * kColumns), start = words(kRows * kOutPitch);
  std::vector<uint4> residues(kModuli * kRows * kPitch / 16);
  auto* const bytes = reinterpret_cast<std::uint8_t*>(residues.data());
  for (std::uint32_t p = 0; p < kModuli; ++p) {
    for (std::uint32_t i = 0; i < kRows * kColumns; ++i) {
      bytes[(p * kRows + i / kColumns) * kPitch + i % kColumns] =
          folded_residue(value[i], static_cast<int>(p));
    }
  }
  Words out = start;
  simt::run(options_, &recover_words<true>, 1, 32, 0, bytes, residue_recovery(), out.data(),
            kOutPitch, kRows, kColumns, kPitch, std::uint64_t{kRows} * kPitch);
  for (std::uint32_t i = 0; i < out.size(); ++i) {
    const std::uint32_t row = i / kOutPitch, column = i % kOutPitch;
    const std::uint64_t added = column < kColumns ? value[row * kColumns + column] : 0;
    ASSERT_EQ(out[i], start[i] + added) << row << "," << column;
  }
  // The same residues as sums that nobody reduced, of either sign and of any size below 2^28.
  std::vector<int4> unreduced(kModuli * kRows * kPitch / 4);
  auto* const sums = reinterpret_cast<std::int32_t*>(unreduced.data());
  for (std::uint32_t i = 0; i < kModuli * kRows * kPitch; ++i) {
    const auto p = static_cast<std::int32_t>(kModulus[i / (kRows * kPitch)]);
    const std::int32_t most = ((1 << 28) - 1 - p) / p;
    sums[i] = bytes[i] + p * (static_cast<std::int32_t>(random_() % (2u * most)) - most);
  }
  Words again = start;
  simt::run(options_, &recover_sums<true>, 1, 32, 0, sums, residue_recovery(), modulus_list(),
            again.data(), kOutPitch, kRows, kColumns, kPitch, std::uint64_t{kRows} * kPitch);
  EXPECT_EQ(again, out);
}

TEST_P(Kernels, RotatedTables) {
  constexpr std::uint32_t kSize = 128;
  const Words table = words(kSize), masks = words(2);
  Words dealt(2 * kSize);
  simt::run(options_, &rotate_tables, 2, 96, 2 * kSize * 8, table.data(), masks.data(), kSize,
            dealt.data());
  for (std::size_t i = 0; i < dealt.size(); ++i) {
    ASSERT_EQ(dealt[i], table[(i - masks[i / kSize]) % kSize]) << i;
  }
  const Words opened = words(2);
  Words found(2);
  simt::run(options_, &for_each_index<LookupElement>, 1, 32, 0,
            LookupElement{dealt.data(), opened.data(), kSize, 0, found.data()}, std::uint64_t{2});
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(found[i], dealt[i * kSize + opened[i] % kSize]) << i;
  }
}

TEST_P(Kernels, Columns) {
  constexpr std::uint64_t kRows = 45, kColumns = 37;
  const Words x = words(kRows * kColumns);
  Words turned(kRows * kColumns), sums(kColumns), expected(kColumns);
  simt::run(options_, &transpose_words, 4, dim3(32, 8), 32 * 33 * 8, x.data(), kRows, kColumns,
            turned.data());
  simt::run(options_, &sum_columns, dim3(2, 2), dim3(32, 8), 0, x.data(), kRows, kColumns,
            std::uint64_t{23}, sums.data());
  for (std::uint64_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(turned[i % kColumns * kRows + i / kColumns], x[i]) << i;
    expected[i % kColumns] += x[i];
  }
  EXPECT_EQ(sums, expected);
}

/// The first `size` bytes of a stream that is added to what memory holds.
template <class Stream>
void check_stream(const simt::Options& options, PrgKind kind, const Seed& seed, const Words& start,
                  Stream run) {
  Words out = start, expected = start;
  StreamTarget target;
  target.data = reinterpret_cast<std::uint8_t*>(out.data());
  target.size_bytes = out.size() * 8;
  target.units = static_cast<std::uint32_t>((target.size_bytes + 63) / 64);
  run(options, target);
  Prg(seed, kind).add(5, 128, expected);
  EXPECT_EQ(out, expected);
}

TEST_P(Kernels, Streams) {
  const Seed key_seed = seed();
  check_stream(options_, PrgKind::kChaCha20, key_seed, words(8 * 150 + 3),
               [&](const simt::Options& options, const StreamTarget& target) {
                 ChaChaKey key{};
                 make_key(key_seed, key);
                 const ChaChaStream stream{&key, 5, 2};
                 simt::run(options, &chacha20_stream<StreamUse::kAdd>, 2, 128, 0, stream, target);
               });
  check_stream(options_, PrgKind::kAes128Ctr, key_seed, words(8 * 1100 + 7),
               [&](const simt::Options& options, const StreamTarget& target) {
                 AesKey key{};
                 make_key(key_seed, key);
                 const AesStream stream{&key, 5, 8};
                 simt::run(options, &aes128_stream<StreamUse::kAdd>, 2, 128, kAesSharedBytes,
                           stream, target);
               });
}

}  // namespace
}  // namespace beaverpond::cuda
