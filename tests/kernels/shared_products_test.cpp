#include "kernels/cpu/shared_products.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernels/pinning.h"
#include "tests/kernels/workspace.h"

namespace beaverpond::cpu {
namespace {

using Words = std::vector<std::uint64_t>;

Words random_words(std::size_t count, std::mt19937_64& random) {
  Words words(count);
  for (std::uint64_t& word : words) word = random();
  return words;
}

TEST(Crew, EveryPartRunsOnceInEveryPiece) {
  for (int threads : {1, 2, 5}) {
    Crew crew(threads);
    ASSERT_EQ(crew.size(), threads);
    std::vector<std::atomic<int>> runs(static_cast<std::size_t>(threads));
    for (int piece = 1; piece <= 200; ++piece) {
      crew.run([&](int part) { ++runs[static_cast<std::size_t>(part)]; });
      for (const std::atomic<int>& count : runs) ASSERT_EQ(count, piece);
    }
  }
}

TEST(Crew, PinnedHelpersStayWhereTheyAreSent) {
  const std::vector<int> usable = usable_cpus();
  ASSERT_FALSE(usable.empty());
  std::vector<int> cpus(usable.rbegin(), usable.rend());  // not the order that the system has
  if (cpus.size() > 4) cpus.resize(4);
  cpus.push_back(usable[0]);  // so that there is a helper wherever this runs
  Crew crew(static_cast<int>(cpus.size()));
  ASSERT_TRUE(crew.pin(cpus).ok());
  std::vector<std::vector<int>> where(cpus.size());
  crew.run([&](int part) { where[static_cast<std::size_t>(part)] = usable_cpus(); });
  EXPECT_EQ(where[0], usable);  // the caller pins itself
  for (std::size_t i = 1; i < cpus.size(); ++i) EXPECT_EQ(where[i], std::vector<int>{cpus[i]});

  const Result<void> nowhere = crew.pin(std::vector<int>(cpus.size(), 1'000'000));
  ASSERT_FALSE(nowhere.ok());
  EXPECT_EQ(nowhere.error().code, ErrorCode::kConfig);
  EXPECT_NE(nowhere.error().message.find("CPU 1000000"), std::string::npos);
}

TEST(Pinning, PlayersOfAHostShareNoCpuAndTooFewAreRefused) {
  const std::vector<int> usable = usable_cpus();
  std::vector<int> all;
  const auto players = static_cast<int>(usable.size());
  for (int place = 0; place < players; ++place) {
    const Result<std::vector<int>> mine = cpus_of_one(1, players, place);
    ASSERT_TRUE(mine.ok()) << mine.error().message;
    all.insert(all.end(), mine->begin(), mine->end());
  }
  EXPECT_EQ(all, usable);
  EXPECT_EQ(cpus_of_one(players, 1, 0).value(), usable);
  const Result<std::vector<int>> more = cpus_of_one(players + 1, 1, 0);
  ASSERT_FALSE(more.ok());
  EXPECT_EQ(more.error().code, ErrorCode::kConfig);
  EXPECT_NE(more.error().message.find("--threads"), std::string::npos) << more.error().message;
  // A thread that may use one CPU only, as under taskset.
  std::thread([&] {
    ASSERT_TRUE(pin_thread(::pthread_self(), usable.back()).ok());
    EXPECT_EQ(usable_cpus(), std::vector<int>{usable.back()});
    EXPECT_EQ(cpus_of_one(1, 1, 0).value(), std::vector<int>{usable.back()});
    EXPECT_FALSE(cpus_of_one(1, 2, 1).ok());
  }).join();
}

TEST(SharedProducts, MatricesAreThoseOfOneThread) {
  std::mt19937_64 random(1);
  struct Size {
    std::size_t m, k, n;
  };
  for (const auto& [m, k, n] :
       {Size{131, 140, 150}, Size{9, 3000, 125}, Size{4000, 26, 21}, Size{7, 50000, 7},
        Size{257, 100, 97}, Size{5, 5, 5}, Size{20, 40, 3001}}) {
    const Words a = random_words(m * k, random), b = random_words(k * n, random);
    const Factors factors[] = {{row_major(a.data(), m, k), row_major(b.data(), k, n)},
                               {row_major(a.data(), k, m, true), row_major(b.data(), n, k, true)}};
    const Words start = random_words(m * (n + 3), random);
    for (const bool accumulate : {false, true}) {
      Words expected = start;
      Workspace workspace(gemm_workspace_size_bytes());
      gemm_sum(factors, expected.data(), n + 3, accumulate, workspace.span());
      for (int threads : {1, 2, 3}) {
        Crew crew(threads);
        Workspace scratch(shared_gemm_size_bytes(crew));
        Words c = start;
        shared_gemm(crew, factors, c.data(), n + 3, accumulate, scratch.span());
        ASSERT_TRUE(c == expected) << m << "x" << k << "x" << n << ", " << threads << " threads";
      }
    }
  }
}

TEST(SharedProducts, ConvolutionsAreThoseOfOneThread) {
  std::mt19937_64 random(2);
  for (const Conv2dShape& shape :
       {Conv2dShape{7, 12, 12, 20, 50, 5, 1, 0, 0}, Conv2dShape{16, 28, 28, 1, 20, 5, 2, 2, 2},
        Conv2dShape{1, 30, 30, 20, 20, 3, 1, 1, 1}, Conv2dShape{37, 28, 28, 1, 5, 5, 1, 0, 0}}) {
    const Words images = random_words(shape.image_shape().count(), random);
    const Words weights = random_words(shape.weight_shape().count(), random);
    const Words results = random_words(shape.result_shape().count(), random);
    for (const ConvKind kind : {ConvKind::kForward, ConvKind::kGradWeight, ConvKind::kGradInput}) {
      const Words& x = kind == ConvKind::kGradInput ? results : images;
      const Words& y = kind == ConvKind::kGradWeight ? results : weights;
      const Words& out = kind == ConvKind::kForward      ? results
                         : kind == ConvKind::kGradWeight ? weights
                                                         : images;
      const ConvFactors factors[] = {{x.data(), y.data()}, {x.data(), y.data()}};
      for (const bool accumulate : {false, true}) {
        Words expected;
        for (int threads : {1, 2, 3}) {
          Crew crew(threads);
          Workspace scratch(shared_conv_size_bytes(crew, kind, shape));
          Words actual = out;
          shared_conv(crew, kind, shape, factors, actual.data(), accumulate, scratch.span());
          if (threads == 1) expected = actual;
          ASSERT_TRUE(actual == expected) << threads << " threads";
        }
      }
    }
  }
}

}  // namespace
}  // namespace beaverpond::cpu
