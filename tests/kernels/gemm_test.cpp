#include "kernels/gemm/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "tests/kernels/guarded_words.h"
#include "tests/kernels/workspace.h"
#include "tests/soak.h"

namespace beaverpond {
namespace {

using Words = std::vector<std::uint64_t>;

std::vector<GemmKernel> kernels() {
  std::vector<GemmKernel> all;
  for (GemmKernel kernel :
       {GemmKernel::kPortable, GemmKernel::kAvx2, GemmKernel::kAvx512, GemmKernel::kHybrid}) {
    if (gemm_kernel_supported(kernel)) all.push_back(kernel);
  }
  return all;
}

Words random_words(std::size_t count, std::mt19937_64& random) {
  Words words(count);
  for (std::uint64_t& word : words) word = random();
  return words;
}

void naive(const MatrixView& a, const MatrixView& b, std::uint64_t* c, std::size_t ldc,
           bool accumulate) {
  for (std::size_t i = 0; i < a.rows; ++i) {
    for (std::size_t j = 0; j < b.columns; ++j) {
      std::uint64_t sum = accumulate ? c[i * ldc + j] : 0;
      for (std::size_t k = 0; k < a.columns; ++k) {
        sum += a.data[i * a.row_stride + k * a.column_stride] *
               b.data[k * b.row_stride + j * b.column_stride];
      }
      c[i * ldc + j] = sum;
    }
  }
}

struct Case {
  std::size_t m, k, n;
  bool transpose_a = false, transpose_b = false, accumulate = false;
  std::size_t extra_columns = 0;  ///< ldc - n

  std::string str() const {
    return std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n) +
           (transpose_a ? " A^T" : "") + (transpose_b ? " B^T" : "") +
           (accumulate ? " accumulate" : "") + " ldc +" + std::to_string(extra_columns);
  }
};

/// Runs a case on every kernel and compares all of C, gaps between its rows included.
void check_case(const Case& shape, std::mt19937_64& random) {
  const auto [m, k, n, transpose_a, transpose_b, accumulate, extra] = shape;
  const Words a = random_words(m * k, random), b = random_words(k * n, random);
  const std::size_t ldc = n + extra;
  const Words start = random_words(m * ldc, random);
  const auto view_a = row_major(a.data(), transpose_a ? k : m, transpose_a ? m : k, transpose_a);
  const auto view_b = row_major(b.data(), transpose_b ? n : k, transpose_b ? k : n, transpose_b);
  Words expected = start;
  naive(view_a, view_b, expected.data(), ldc, accumulate);
  Workspace workspace(gemm_workspace_size_bytes());
  for (GemmKernel kernel : kernels()) {
    Words c = start;
    gemm(view_a, view_b, c.data(), ldc, accumulate, workspace.span(), kernel);
    ASSERT_TRUE(c == expected) << to_string(kernel) << " " << shape.str();
  }
}

TEST(Gemm, SmallShapesInEveryCombination) {
  std::mt19937_64 random(1);
  for (std::size_t m : {0u, 1u, 2u, 5u, 12u, 13u, 31u}) {
    for (std::size_t k : {0u, 1u, 3u, 8u, 37u}) {
      for (std::size_t n : {0u, 1u, 4u, 5u, 8u, 9u, 12u, 16u, 17u, 20u, 41u}) {
        for (unsigned bits = 0; bits < 8; ++bits) {
          check_case({m, k, n, (bits & 1u) != 0, (bits & 2u) != 0, (bits & 4u) != 0, bits % 4},
                     random);
        }
      }
    }
  }
}

TEST(Gemm, RandomShapes) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 150; ++round) {
    const unsigned bits = static_cast<unsigned>(random());
    check_case({random() % 97, random() % 311, random() % 83, (bits & 1u) != 0, (bits & 2u) != 0,
                (bits & 4u) != 0, random() % 5},
               random);
  }
}

TEST(Gemm, ShapesOfNetworksAndBeyondEveryBlock) {
  std::mt19937_64 random(3);
  check_case({128, 784, 128}, random);
  check_case({784, 128, 128, true}, random);
  check_case({128, 128, 784, false, true}, random);
  check_case({1021, 500, 5}, random);
  check_case({1021, 500, 50, false, false, true}, random);
  check_case({500, 1021, 50, true}, random);
  check_case({2053, 25, 20}, random);
  check_case({241, 257, 513, false, false, true, 3}, random);  // one past each block size
  check_case({241, 513, 1025, true, true}, random);
  check_case({131, 512, 67}, random);  // rows of A in one cache set: A is copied
  check_case({250, 1024, 33, false, true, true}, random);
}

TEST(Gemm, StridedViews) {
  std::mt19937_64 random(4);
  const Words words = random_words(200000, random);
  Workspace workspace(gemm_workspace_size_bytes());
  for (int round = 0; round < 60; ++round) {
    const std::size_t m = random() % 60, k = random() % 300, n = random() % 90;
    const auto view = [&](std::size_t rows, std::size_t columns) {
      // Both strides free: they may even make elements overlap, or repeat one row (stride 0).
      return MatrixView{words.data() + random() % 1000, rows, columns, random() % 300,
                        random() % 300};
    };
    const MatrixView a = view(m, k), b = view(k, n);
    Words expected(m * n), actual(m * n, 1);
    naive(a, b, expected.data(), n, false);
    for (GemmKernel kernel : kernels()) {
      gemm(a, b, actual.data(), n, false, workspace.span(), kernel);
      ASSERT_TRUE(actual == expected) << to_string(kernel) << " round " << round;
    }
  }
}

/// All kernels against the portable one, for one shape of contiguous rows.
void check_against_portable(std::size_t m, std::size_t k, std::size_t n, const Words& words,
                            std::span<std::byte> workspace) {
  const MatrixView a = row_major(words.data() + m, m, k), b = row_major(words.data() + n, k, n);
  Words expected(m * n), actual(m * n, 1);
  gemm(a, b, expected.data(), n, false, workspace, GemmKernel::kPortable);
  for (GemmKernel kernel : kernels()) {
    gemm(a, b, actual.data(), n, false, workspace, kernel);
    ASSERT_TRUE(actual == expected) << to_string(kernel) << " " << m << "x" << k << "x" << n;
  }
}

TEST(Gemm, EverySizeUpTo70InEachDimension) {
  // Every pair of two sizes with some of the third; a long campaign takes every triple.
  std::mt19937_64 random(7);
  const Words words = random_words(5000, random);
  Workspace workspace(gemm_workspace_size_bytes());
  const auto step = static_cast<std::size_t>(testing::campaign_size(69, 1));
  for (std::size_t x = 1; x <= 70; ++x) {
    for (std::size_t y = 1; y <= 70; ++y) {
      for (std::size_t z = 1 + (x + 3 * y) % step; z <= 70; z += step) {
        check_against_portable(x, z, y, words, workspace.span());
        if (step > 1 && z % 2 == 0) check_against_portable(x, y, z, words, workspace.span());
        if (step > 1 && z % 2 == 1) check_against_portable(z, x, y, words, workspace.span());
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Gemm, LongSumsWrap) {
  std::mt19937_64 random(8);
  Workspace workspace(gemm_workspace_size_bytes());
  const std::size_t k = 100'003, n = 69;
  Words a = random_words(k, random), b = random_words(k * n, random);
  for (const bool extreme : {false, true}) {
    if (extreme) {
      std::fill(a.begin(), a.end(), ~std::uint64_t{0});
      for (std::size_t i = 0; i < b.size(); ++i) b[i] = i % 3 == 0 ? ~std::uint64_t{0} : 1ull << 63;
    }
    Words row(n);
    naive(row_major(a.data(), 1, k), row_major(b.data(), k, n), row.data(), n, false);
    for (GemmKernel kernel : kernels()) {
      const std::size_t m = kernel == GemmKernel::kPortable ? 5 : 37;
      const MatrixView same_rows{a.data(), m, k, 0, 1};
      Words c(m * n);
      gemm(same_rows, row_major(b.data(), k, n), c.data(), n, false, workspace.span(), kernel);
      for (std::size_t i = 0; i < m; ++i) {
        ASSERT_TRUE(std::equal(row.begin(), row.end(), c.data() + i * n))
            << to_string(kernel) << " row " << i;
      }
    }
  }
}

TEST(Gemm, SumsOfTwoProducts) {
  std::mt19937_64 random(9);
  Workspace workspace(gemm_workspace_size_bytes());
  for (int round = 0; round < 120; ++round) {
    const std::size_t m = 1 + random() % 90, n = 1 + random() % 90;
    const std::size_t k0 = random() % (round % 4 == 0 ? 1100 : 60), k1 = random() % 600;
    const bool transpose = round % 2 == 1, accumulate = round % 3 == 0;
    const Words a0 = random_words(m * k0, random), b0 = random_words(k0 * n, random);
    const Words a1 = random_words(m * k1, random), b1 = random_words(k1 * n, random);
    const auto view = [&](const Words& words, std::size_t rows, std::size_t columns) {
      return row_major(words.data(), transpose ? columns : rows, transpose ? rows : columns,
                       transpose);
    };
    const Factors factors[] = {{view(a0, m, k0), row_major(b0.data(), k0, n)},
                               {row_major(a1.data(), m, k1), view(b1, k1, n)}};
    const Words start = random_words(m * n, random);
    Words expected = start;
    naive(factors[0].a, factors[0].b, expected.data(), n, accumulate);
    naive(factors[1].a, factors[1].b, expected.data(), n, true);
    for (GemmKernel kernel : kernels()) {
      Words c = start;
      gemm_sum(factors, c.data(), n, accumulate, workspace.span(), kernel);
      ASSERT_TRUE(c == expected) << to_string(kernel) << " " << m << "x(" << k0 << "+" << k1 << ")x"
                                 << n;
    }
  }
}

TEST(Gemm, NeverTouchesMemoryOutsideItsOperands) {
  std::mt19937_64 random(5);
  GuardedWords workspace(gemm_workspace_size_bytes() / 8, GuardedWords::Edge::kStart);
  const std::span<std::byte> scratch(reinterpret_cast<std::byte*>(workspace.data()),
                                     gemm_workspace_size_bytes());
  for (int round = 0; round < 120; ++round) {
    const auto edge = round % 2 == 0 ? GuardedWords::Edge::kEnd : GuardedWords::Edge::kStart;
    const bool transpose_a = round % 4 >= 2, transpose_b = round % 8 >= 4;
    const std::size_t m = 1 + random() % 40, n = 1 + random() % (round % 3 == 0 ? 100 : 40);
    const std::size_t k = round % 10 == 0 ? 512 : 1 + random() % 40;
    const Words a = random_words(m * k, random), b = random_words(k * n, random);
    GuardedWords guarded_a(m * k, edge), guarded_b(k * n, edge), guarded_c(m * n, edge);
    std::copy(a.begin(), a.end(), guarded_a.data());
    std::copy(b.begin(), b.end(), guarded_b.data());
    const auto view = [](const std::uint64_t* data, std::size_t rows, std::size_t columns,
                         bool transpose) {
      return row_major(data, transpose ? columns : rows, transpose ? rows : columns, transpose);
    };
    Words expected(m * n);
    naive(view(a.data(), m, k, transpose_a), view(b.data(), k, n, transpose_b), expected.data(), n,
          false);
    for (GemmKernel kernel : kernels()) {
      gemm(view(guarded_a.data(), m, k, transpose_a), view(guarded_b.data(), k, n, transpose_b),
           guarded_c.data(), n, false, scratch, kernel);
      ASSERT_TRUE(std::equal(expected.begin(), expected.end(), guarded_c.data()))
          << to_string(kernel) << " " << m << "x" << k << "x" << n;
    }
  }
}

TEST(Gemm, ExtremeWordsWrap) {
  Workspace workspace(gemm_workspace_size_bytes());
  const std::size_t m = 45, k = 300, n = 77;
  for (std::uint64_t word : {~std::uint64_t{0}, std::uint64_t{1} << 63, std::uint64_t{0xffffffff},
                             std::uint64_t{1} << 32, (std::uint64_t{1} << 52) - 1}) {
    const Words a(m * k, word), b(k * n, ~word);
    Words expected(m * n), actual(m * n);
    naive(row_major(a.data(), m, k), row_major(b.data(), k, n), expected.data(), n, false);
    for (GemmKernel kernel : kernels()) {
      gemm(row_major(a.data(), m, k), row_major(b.data(), k, n), actual.data(), n, false,
           workspace.span(), kernel);
      ASSERT_TRUE(actual == expected) << to_string(kernel);
    }
  }
}

TEST(GemmDeathTest, RefusesShapesThatDoNotFitAndSmallWorkspaces) {
  Workspace workspace(gemm_workspace_size_bytes());
  const Words a(6), b(6);
  Words c(9);
  EXPECT_DEATH(gemm(row_major(a.data(), 3, 2), row_major(b.data(), 3, 2), c.data(), 2, false,
                    workspace.span()),
               "do not fit");
  EXPECT_DEATH(gemm(row_major(a.data(), 3, 2), row_major(b.data(), 2, 3), c.data(), 3, false,
                    workspace.span().subspan(64)),
               "workspace");
  EXPECT_DEATH(gemm(row_major(a.data(), 3, 2), row_major(b.data(), 2, 3), c.data(), 2, false,
                    workspace.span()),
               "overlap");
}

}  // namespace
}  // namespace beaverpond
