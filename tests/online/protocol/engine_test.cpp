// Every operation against a plaintext oracle, bit for bit, for 2, 3 and 5 players.
#include <gtest/gtest.h>

#include <tuple>

#include "tests/online/protocol/engine_harness.h"
#include "tests/soak.h"

namespace beaverpond {
namespace {

using testing::domain_words;
using testing::run_program;
using testing::RunResult;
using testing::WordVector;

constexpr std::uint32_t kElements = 12001;  // not a multiple of 64 or of a block

std::uint64_t floor_shift(std::uint64_t x, std::uint64_t added, std::uint32_t shift) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(x + added) >> shift);
}
bool is_negative(std::uint64_t x) {
  return (x >> 63) != 0;
}

WordVector random_words(std::size_t count, std::mt19937_64& random) {
  WordVector words(count);
  for (std::uint64_t& word : words) word = random();
  return words;
}

/// All the operations on one input of a given shift, revealed to everyone.
struct ShiftProgram {
  Program program;
  enum Slot { kTruncated, kRelu, kBit, kTimesBit };
};

ShiftProgram shift_program(std::uint32_t shift, bool round, std::uint64_t everyone) {
  ProgramBuilder b;
  b.set_layer("shift");
  const ValueId x = b.input(0, Shape{kElements}, 62);
  const ValueId g = b.input(1, Shape{kElements}, 62);
  b.reveal(b.truncate(x, shift, round), everyone);
  const ValueAndBit relu = b.relu_truncate(x, shift, round);
  b.reveal(relu.value, everyone);
  b.reveal(b.bit_to_word(relu.bit), everyone);
  b.reveal(b.truncate_times_bit(g, relu.bit, shift, round), everyone);
  return {b.finish().value()};
}

void check_shift(int players, std::uint32_t shift, bool round, PrgKind prg, CompareProfile profile,
                 std::uint32_t repeat = 0) {
  std::mt19937_64 random(repeat * 1000 + shift * 10 + static_cast<std::uint32_t>(players));
  const std::uint64_t added = round ? std::uint64_t{1} << (shift - 1) : 0;
  const std::uint64_t everyone = (std::uint64_t{1} << players) - 1;
  const ShiftProgram p = shift_program(shift, round, everyone);
  const WordVector x = domain_words(kElements, added, random);
  const WordVector g = domain_words(kElements, added, random);
  const RunResult result =
      run_program(p.program, players, {x, g}, {}, 0, prg, repeat * 100 + shift, profile);
  for (int player = 0; player < players; ++player) {
    const std::vector<WordVector>& got = result.revealed[static_cast<std::size_t>(player)];
    for (std::size_t i = 0; i < kElements; ++i) {
      const std::uint64_t y = floor_shift(x[i], added, shift);
      const std::uint64_t bit = is_negative(x[i] + added) ? 0 : 1;
      ASSERT_EQ(got[ShiftProgram::kTruncated][i], y) << "x=" << x[i] << " shift=" << shift;
      ASSERT_EQ(got[ShiftProgram::kRelu][i], bit * y) << "x=" << x[i] << " shift=" << shift;
      ASSERT_EQ(got[ShiftProgram::kBit][i], bit) << "x=" << x[i] << " shift=" << shift;
      ASSERT_EQ(got[ShiftProgram::kTimesBit][i], bit * floor_shift(g[i], added, shift));
    }
  }
}

class EveryShift : public ::testing::TestWithParam<std::tuple<int, CompareProfile>> {};

TEST_P(EveryShift, TruncationReluAndBackwardBitAreExact) {
  const auto repeats = static_cast<std::uint32_t>(testing::campaign_size(1, 30));
  for (std::uint32_t i = 0; i < 61 * repeats; ++i) {
    const std::uint32_t shift = 1 + i % 61;
    SCOPED_TRACE("shift " + std::to_string(shift));
    check_shift(std::get<0>(GetParam()), shift, i % 2 == 0,
                i % 3 == 0 ? PrgKind::kChaCha20 : PrgKind::kAes128Ctr, std::get<1>(GetParam()),
                i / 61);
    if (HasFatalFailure()) return;
  }
}
INSTANTIATE_TEST_SUITE_P(Engine, EveryShift,
                         ::testing::Combine(::testing::Values(2, 3, 5),
                                            ::testing::Values(CompareProfile::kLan,
                                                              CompareProfile::kWan)));

TEST(Engine, RoundingToNearestIsExactAtTheUsualShifts) {
  for (const std::uint32_t shift : {1u, 8u, 16u, 17u, 20u, 28u, 33u}) {
    check_shift(2, shift, true, PrgKind::kAes128Ctr, CompareProfile::kLan);
    check_shift(3, shift, true, PrgKind::kChaCha20, CompareProfile::kLan);
  }
}

TEST(Engine, TinySizesAndBlockEdges) {
  for (const std::uint32_t count : {1u, 2u, 63u, 64u, 65u, 511u, 512u, 513u, 1024u}) {
    const CompareProfile profile = count % 2 == 0 ? CompareProfile::kLan : CompareProfile::kWan;
    ProgramBuilder b;
    const ValueId x = b.input(0, Shape{count}, 16);
    const ValueAndBit relu = b.relu_truncate(x, 16, true);
    b.reveal(relu.value, 1);
    b.reveal(b.bit_to_word(relu.bit), 2);
    const Program program = b.finish().value();
    std::mt19937_64 random(count);
    const WordVector words = domain_words(count, 1 << 15, random);
    const RunResult result =
        run_program(program, 2, {words}, {}, 0, PrgKind::kAes128Ctr, 0, profile);
    ASSERT_EQ(result.revealed[0][0].size(), count);
    ASSERT_TRUE(result.revealed[0][1].empty());  // player 0 is no receiver of the bit
    ASSERT_TRUE(result.revealed[1][0].empty());
    for (std::uint32_t i = 0; i < count; ++i) {
      const bool negative = is_negative(words[i] + (1 << 15));
      EXPECT_EQ(result.revealed[0][0][i], negative ? 0 : floor_shift(words[i], 1 << 15, 16));
      EXPECT_EQ(result.revealed[1][1][i], negative ? 0u : 1u);
    }
  }
}

class ComparePlayers : public ::testing::TestWithParam<int> {};

void check_relu(int players, CompareProfile profile, std::uint32_t count) {
  ProgramBuilder b;
  const ValueId x = b.input(0, Shape{count}, 0);
  const ValueId g = b.input(1, Shape{count}, 0);
  const ValueAndBit relu = b.relu(x);
  b.reveal(relu.value, 1);
  b.reveal(b.multiply_bit(g, relu.bit), 1);
  b.reveal(b.bit_to_word(relu.bit), 1);
  const Program program = b.finish().value();
  std::mt19937_64 random(5);
  WordVector words = random_words(count, random);
  const std::uint64_t top = std::uint64_t{1} << 63;
  const std::uint64_t edges[] = {0, 1, ~std::uint64_t{0}, top, top - 1, top + 1};
  std::copy(std::begin(edges), std::end(edges), words.begin());
  const WordVector gradient = random_words(count, random);
  const RunResult result =
      run_program(program, players, {words, gradient}, {}, 0, PrgKind::kAes128Ctr, 0, profile);
  for (std::size_t i = 0; i < count; ++i) {
    const bool negative = is_negative(words[i]);
    ASSERT_EQ(result.revealed[0][0][i], negative ? 0 : words[i]);
    ASSERT_EQ(result.revealed[0][1][i], negative ? 0 : gradient[i]);
    ASSERT_EQ(result.revealed[0][2][i], negative ? 0u : 1u);
  }
}

TEST_P(ComparePlayers, ReluWithoutTruncationIsExactForEverySigned64BitValue) {
  check_relu(GetParam(), CompareProfile::kLan, 300001);
  check_relu(GetParam(), CompareProfile::kWan, 100001);
}

TEST_P(ComparePlayers, MatrixProductsInAllTranspositionsAndTheirReuse) {
  const int players = GetParam();
  constexpr std::uint32_t kM = 37, kK = 53, kN = 11;
  std::mt19937_64 random(9);
  const WordVector x = random_words(kM * kK, random);
  const WordVector y = random_words(kK * kN, random);
  const WordVector d = random_words(kM * kN, random);
  ProgramBuilder b;
  const ValueId vx = b.input(0, Shape{kM, kK}, 0);
  const ValueId vy = b.input(1, Shape{kK, kN}, 0);
  const ValueId vd = b.input(static_cast<std::uint32_t>(players - 1), Shape{kM, kN}, 0);
  b.reveal(b.matmul(vx, vy), 1);
  b.reveal(b.matmul(vx, vd, true, false), 1);
  b.reveal(b.matmul(vd, vy, false, true), 1);
  b.reveal(b.matmul(vy, vx, true, true), 1);
  b.reveal(b.multiply(vx, vx), 1);
  const Program program = b.finish().value();
  const RunResult result = run_program(program, players, {x, y, d});
  const auto at = [](const WordVector& m, std::uint32_t columns, std::uint32_t i, std::uint32_t j) {
    return m[i * columns + j];
  };
  WordVector xy(kM * kN), xd(kK * kN), dy(kM * kK), yx(kN * kM), xx(kM * kK);
  for (std::uint32_t i = 0; i < kM; ++i) {
    for (std::uint32_t k = 0; k < kK; ++k) {
      xx[i * kK + k] = at(x, kK, i, k) * at(x, kK, i, k);
      for (std::uint32_t j = 0; j < kN; ++j) {
        xy[i * kN + j] += at(x, kK, i, k) * at(y, kN, k, j);
        yx[j * kM + i] += at(x, kK, i, k) * at(y, kN, k, j);
        xd[k * kN + j] += at(x, kK, i, k) * at(d, kN, i, j);
        dy[i * kK + k] += at(d, kN, i, j) * at(y, kN, k, j);
      }
    }
  }
  EXPECT_EQ(result.revealed[0][0], xy);
  EXPECT_EQ(result.revealed[0][1], xd);
  EXPECT_EQ(result.revealed[0][2], dy);
  EXPECT_EQ(result.revealed[0][3], yx);
  EXPECT_EQ(result.revealed[0][4], xx);
  EXPECT_EQ(result.stats.rounds, 2u);  // all masks at once, then the reveals
}

TEST_P(ComparePlayers, LocalOperationsAndUpdate) {
  const int players = GetParam();
  ProgramBuilder b;
  const ValueId x = b.input(0, Shape{2, 3}, 4);
  const ValueId y = b.input(1, Shape{1, 3}, 4);
  const ValueId w = b.state(Shape{3}, 4);
  const ValueId joined = b.concat_rows({x, y});
  const ValueId sum = b.sum_rows(joined);
  b.reveal(joined, 1);
  b.reveal(sum, 1);
  b.reveal(b.add_row(joined, w), 1);
  b.reveal(b.shift_left(b.subtract(b.add(joined, joined), joined), 3), 1);
  b.update(w, sum);
  const Program program = b.finish().value();
  const WordVector state = {100, 200, 300};
  const RunResult result =
      run_program(program, players, {{1, 2, 3, 4, 5, 6}, {7, 8, 9}}, {state}, 10);
  const std::vector<WordVector>& got = result.revealed[0];
  EXPECT_EQ(got[0], (WordVector{1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(got[1], (WordVector{12, 15, 18}));
  EXPECT_EQ(got[2], (WordVector{101, 202, 303, 104, 205, 306, 107, 208, 309}));
  EXPECT_EQ(got[3], (WordVector{8, 16, 24, 32, 40, 48, 56, 64, 72}));
  EXPECT_EQ(result.states[0], (WordVector{std::uint64_t{100} - 120, std::uint64_t{200} - 150,
                                          std::uint64_t{300} - 180}));
}

INSTANTIATE_TEST_SUITE_P(Engine, ComparePlayers, ::testing::Values(2, 3, 5));

/// A convolution and its gradients, from the definition.
struct PlainConv {
  Conv2dShape s;
  template <class F>
  void each(F&& f) const {
    for (std::uint32_t n = 0; n < s.batch; ++n)
      for (std::uint32_t oy = 0; oy < s.out_height(); ++oy)
        for (std::uint32_t ox = 0; ox < s.out_width(); ++ox)
          for (std::uint32_t ky = 0; ky < s.kernel; ++ky)
            for (std::uint32_t kx = 0; kx < s.kernel; ++kx) {
              const std::int64_t iy = std::int64_t{oy} * s.stride + ky - s.pad_before;
              const std::int64_t ix = std::int64_t{ox} * s.stride + kx - s.pad_before;
              if (iy < 0 || ix < 0 || iy >= s.height || ix >= s.width) continue;
              for (std::uint32_t c = 0; c < s.in_channels; ++c)
                for (std::uint32_t o = 0; o < s.out_channels; ++o) {
                  const std::size_t image =
                      ((std::size_t{n} * s.height + static_cast<std::size_t>(iy)) * s.width +
                       static_cast<std::size_t>(ix)) *
                          s.in_channels +
                      c;
                  const std::size_t weight =
                      ((std::size_t{ky} * s.kernel + kx) * s.in_channels + c) * s.out_channels + o;
                  const std::size_t result =
                      ((std::size_t{n} * s.out_height() + oy) * s.out_width() + ox) *
                          s.out_channels +
                      o;
                  f(image, weight, result);
                }
            }
  }
};

TEST(Engine, ConvolutionAndBothGradients) {
  const Conv2dShape shapes[] = {
      {3, 9, 8, 2, 5, 3, 1, 0, 0}, {2, 28, 28, 1, 5, 5, 2, 2, 2}, {4, 7, 11, 3, 2, 4, 3, 1, 2}};
  for (const Conv2dShape& s : shapes) {
    for (const int players : {2, 3, 5}) {
      std::mt19937_64 random(s.kernel);
      const WordVector x = random_words(s.image_shape().count(), random);
      const WordVector w = random_words(s.weight_shape().count(), random);
      const WordVector d = random_words(s.result_shape().count(), random);
      ProgramBuilder b;
      const ValueId vx = b.input(0, s.image_shape(), 0);
      const ValueId vw = b.input(1, s.weight_shape(), 0);
      const ValueId vd = b.input(0, s.result_shape(), 0);
      b.reveal(b.conv2d(vx, vw, s), 2);
      b.reveal(b.conv2d_grad_weight(vx, vd, s), 2);
      b.reveal(b.conv2d_grad_input(vd, vw, s), 2);
      const Program program = b.finish().value();
      const RunResult result = run_program(program, players, {x, w, d});
      WordVector y(d.size()), dw(w.size()), dx(x.size());
      PlainConv{s}.each([&](std::size_t i, std::size_t k, std::size_t o) {
        y[o] += x[i] * w[k];
        dw[k] += x[i] * d[o];
        dx[i] += d[o] * w[k];
      });
      EXPECT_EQ(result.revealed[1][0], y);
      EXPECT_EQ(result.revealed[1][1], dw);
      EXPECT_EQ(result.revealed[1][2], dx);
    }
  }
}

TEST(Engine, RoundsOfReluTruncateAreFourAndThreeInAWideNetwork) {
  ProgramBuilder b;
  b.reveal(b.relu_truncate(b.input(0, Shape{1000}, 32), 16, true).value, 1);
  const Program program = b.finish().value();
  std::mt19937_64 random(3);
  const RunResult result = run_program(program, 3, {domain_words(1000, 1 << 15, random)});
  EXPECT_EQ(result.stats.rounds, 4u + 1u);  // and the reveal
  EXPECT_EQ(result.stats.opened_words, 1000u);
  EXPECT_EQ(result.stats.opened_plane_words, 35u * 16u);  // 35 bits an element, 16 words a plane
  const RunResult wide = run_program(program, 3, {domain_words(1000, 1 << 15, random)}, {}, 0,
                                     PrgKind::kAes128Ctr, 0, CompareProfile::kWan);
  EXPECT_EQ(wide.stats.rounds, 3u + 1u);
  EXPECT_EQ(wide.stats.opened_words, 1000u);
  EXPECT_EQ(wide.stats.opened_plane_words, 16u * 16u);  // 14 wires, delta and lambda
}

TEST(Bundle, WhatWasMovedFromIsEmptyAndKeepsNoSeed) {
  std::mt19937_64 random(4);
  const Seed seed = testing::test_seed(random);
  Bundle bundle(7, 1, seed, {}, nullptr);
  EXPECT_FALSE(bundle.empty());
  const Bundle taken = std::move(bundle);
  EXPECT_TRUE(std::equal(seed.bytes().begin(), seed.bytes().end(), taken.seed().bytes().begin()));
  EXPECT_EQ(taken.number(), 7u);
  EXPECT_TRUE(bundle.empty());  // NOLINT(bugprone-use-after-move): that is the point
  for (const std::uint8_t byte : bundle.seed().bytes()) EXPECT_EQ(byte, 0);
  EXPECT_TRUE(Bundle().empty());
}

TEST(Engine, AnEmptyOrOldBundleIsRefused) {
  ProgramBuilder b;
  const ValueId x = b.input(0, Shape{4}, 0);
  const ValueId y = b.input(1, Shape{4}, 0);
  b.reveal(b.add(x, y), 3);
  const Program program = b.finish().value();
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr).value();
  std::vector<std::unique_ptr<Transport>> transports = make_local_transports(2);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      Transport& transport = *transports[static_cast<std::size_t>(rank)];
      const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      PairKeys keys = exchange_pair_keys(transport, Tag{1, 0, 0, 0}, deadline).value();
      const std::unique_ptr<Backend> backend = testing::test_backend();
      std::unique_ptr<Engine> engine =
          Engine::create(program, plan, *backend, transport, std::move(keys), {}).value();
      const WordVector words = {1, 2, 3, 4};
      RunInputs inputs;
      inputs.inputs.resize(2);
      inputs.inputs[static_cast<std::size_t>(rank)] = words;
      Bundle bundle(5, 0, Seed(), {}, nullptr);
      const Result<void> first = engine->run(std::move(bundle), inputs);
      EXPECT_TRUE(first.ok()) << first.error().message;
      const Result<void> again =
          engine->run(std::move(bundle), inputs);  // NOLINT(bugprone-use-after-move)
      ASSERT_FALSE(again.ok());
      EXPECT_EQ(again.error().code, ErrorCode::kConfig);
      const Result<void> old = engine->run(Bundle(5, 0, Seed(), {}, nullptr), inputs);
      ASSERT_FALSE(old.ok());
      EXPECT_EQ(old.error().code, ErrorCode::kConfig);
      EXPECT_TRUE(engine->run(Bundle(6, 0, Seed(), {}, nullptr), inputs).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Engine, AFailedEngineRefusesToGoOn) {
  ProgramBuilder b;
  b.reveal(b.relu(b.input(0, Shape{4}, 0)).value, 3);
  const Program program = b.finish().value();
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr).value();
  std::vector<std::unique_ptr<Transport>> transports = make_local_transports(2);
  std::vector<std::thread> threads;
  PairKeys keys[2];
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      keys[rank] =
          exchange_pair_keys(*transports[static_cast<std::size_t>(rank)], Tag{1, 0, 0, 0}, deadline)
              .value();
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::unique_ptr<Backend> backend = testing::test_backend();
  EngineOptions options;
  options.round_timeout_ms = 50;
  std::unique_ptr<Engine> engine =
      Engine::create(program, plan, *backend, *transports[0], std::move(keys[0]), options).value();
  const WordVector words = {1, 2, 3, 4};
  RunInputs inputs;
  inputs.inputs = {words};
  const Result<void> alone = engine->run(Bundle(1, 1, Seed(), {}, nullptr), inputs);
  ASSERT_FALSE(alone.ok());
  EXPECT_EQ(alone.error().code, ErrorCode::kTimeout);
  EXPECT_NE(alone.error().operation.find("relu"), std::string::npos);
  const Result<void> again = engine->run(Bundle(2, 1, Seed(), {}, nullptr), inputs);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, ErrorCode::kCancelled);
}

TEST(Engine, APlanOfAnotherProgramIsRefused) {
  ProgramBuilder b;
  b.reveal(b.matmul(b.input(0, Shape{4, 4}, 0), b.input(1, Shape{4, 4}, 0)), 1);
  const Program program = b.finish().value();
  ProgramBuilder other_builder;
  other_builder.reveal(other_builder.multiply(other_builder.input(0, Shape{4, 4}, 0),
                                              other_builder.input(1, Shape{4, 4}, 0)),
                       1);
  const Plan other = make_plan(other_builder.finish().value(), PrgKind::kAes128Ctr).value();
  const std::unique_ptr<Backend> backend = testing::test_backend();
  std::vector<std::unique_ptr<Transport>> transports = make_local_transports(2);
  const Result<std::unique_ptr<Engine>> engine =
      Engine::create(program, other, *backend, *transports[0], PairKeys{}, EngineOptions{});
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, ErrorCode::kRosterMismatch);
}

}  // namespace
}  // namespace beaverpond
