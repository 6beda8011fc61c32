#include "online/nn/twin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "beaverpond/program_builder.h"
#include "online/nn/blocks.h"
#include "online/nn/chacha20_draws.h"

namespace beaverpond {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::uint64_t>;
using Build = std::function<ValueId(ProgramBuilder&)>;

Words words(const std::vector<std::int64_t>& values) {
  return {values.begin(), values.end()};
}

// Runs what `build` builds, revealing its value.
Result<Words> evaluate(const Build& build, const std::vector<Words>& inputs) {
  ProgramBuilder b;
  b.set_layer("layer");
  b.reveal(build(b), 1);
  BP_ASSIGN(const Program program, b.finish());
  std::vector<Words> states;
  BP_ASSIGN(std::vector<Words> reveals, run_fixed({program, inputs, states, 1, 7}));
  return std::move(reveals[0]);
}

void expect_words(const Build& build, const std::vector<Words>& inputs,
                  const std::vector<std::int64_t>& expected) {
  const Result<Words> result = evaluate(build, inputs);
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result.value(), words(expected));
}

const Words kAroundZero = words({-9, -8, -7, -5, -4, -3, -1, 0, 1, 3, 4, 5, 8});

ValueId thirteen(ProgramBuilder& b) {
  return b.input(0, {13}, 20);
}

TEST(Twin, TruncateRoundsDown) {
  expect_words([](auto& b) { return b.truncate(thirteen(b), 3, false); }, {kAroundZero},
               {-2, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 1});
}

TEST(Twin, TruncateRoundsToNearestHalvesUp) {
  expect_words([](auto& b) { return b.truncate(thirteen(b), 3, true); }, {kAroundZero},
               {-1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 1, 1, 1});
}

TEST(Twin, ReluTruncateGivesValueAndBitOfTheRoundedSum) {
  expect_words([](auto& b) { return b.relu_truncate(thirteen(b), 3, true).value; }, {kAroundZero},
               {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1});
  // -4 + 4 = 0 is not negative: small negatives keep their gradient.
  expect_words([](auto& b) { return b.bit_to_word(b.relu_truncate(thirteen(b), 3, true).bit); },
               {kAroundZero}, {0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  expect_words([](auto& b) { return b.bit_to_word(b.relu_truncate(thirteen(b), 3, false).bit); },
               {kAroundZero}, {0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1});
}

TEST(Twin, TruncateTimesBitUsesTheForwardBit) {
  expect_words(
      [](auto& b) {
        const ValueAndBit y = b.relu_truncate(b.input(0, {4}, 8), 2, false);
        return b.truncate_times_bit(b.input(0, {4}, 8), y.bit, 2, true);
      },
      {words({-1, 0, 5, -100}), words({8, -6, 7, 8})}, {0, -1, 2, 0});
}

TEST(Twin, ReluIsExactForEveryWord) {
  expect_words([](auto& b) { return b.relu(b.input(0, {4}, 8)).value; },
               {words({INT64_MIN, -1, 0, INT64_MAX})}, {0, 0, 0, INT64_MAX});
  expect_words(
      [](auto& b) {
        const ValueId x = b.input(0, {4}, 8);
        return b.multiply_bit(b.shift_left(x, 1), b.relu(x).bit);
      },
      {words({-5, -1, 0, 6})}, {0, 0, 0, 12});
}

TEST(Twin, MatmulInAllFourOrientations) {
  const Words x = words({1, 2, 3, 4, 5, 6});  // [2,3] or, read transposed, [3,2]
  const Words y = words({7, 8, 9, 10, -11, 12});
  const auto product = [](Shape a, Shape c, bool tx, bool ty) {
    return [=](ProgramBuilder& b) {
      const ValueId left = b.input(0, a, 4);
      return b.matmul(left, b.input(0, c, 4), tx, ty);
    };
  };
  expect_words(product({2, 3}, {3, 2}, false, false), {x, y}, {-8, 64, 7, 154});
  expect_words(product({2, 3}, {2, 3}, false, true), {x, y}, {50, 24, 122, 57});
  expect_words(product({3, 2}, {3, 2}, true, false), {x, y}, {-21, 98, -16, 128});
  expect_words(product({3, 2}, {2, 3}, true, true), {x, y}, {76, 37, 100, 48});
}

TEST(Twin, RowsAndShapes) {
  const Words x = words({1, 2, 3, 4});
  expect_words(
      [](auto& b) {
        const ValueId a = b.input(0, {2, 2}, 4);
        return b.add_row(a, b.input(0, {2}, 4));
      },
      {x, words({10, -10})}, {11, -8, 13, -6});
  expect_words([](auto& b) { return b.sum_rows(b.input(0, {2, 1, 2}, 4)); }, {x}, {4, 6});
  expect_words(
      [](auto& b) {
        const ValueId a = b.input(0, {2, 2}, 4);
        return b.concat_rows({a, b.input(1, {1, 2}, 4), a});
      },
      {x, words({8, 9})}, {1, 2, 3, 4, 8, 9, 1, 2, 3, 4});
  expect_words([](auto& b) { return b.reshape(b.input(0, {2, 2}, 4), {4}); }, {x}, {1, 2, 3, 4});
  expect_words(
      [](auto& b) {
        const ValueId a = b.input(0, {4}, 4);
        return b.subtract(b.add(b.multiply(a, a), b.shift_left(a, 4)), b.shift_left(a, 4));
      },
      {x}, {1, 4, 9, 16});
}

TEST(Twin, ConvolutionWithPaddingAndStride) {
  // 3x3 image, 2x2 kernel, stride 2, padding 1 above and left only: four windows.
  const Conv2dShape c{1, 3, 3, 1, 1, 2, 2, 1, 0};
  ASSERT_EQ(c.out_height(), 2u);
  const Words image = words({1, 2, 3, 4, 5, 6, 7, 8, 9});
  const Words kernel = words({1, 10, 100, 1000});
  expect_words(
      [&](auto& b) {
        const ValueId x = b.input(0, c.image_shape(), 4);
        return b.conv2d(x, b.input(0, c.weight_shape(), 4), c);
      },
      {image, kernel}, {1000, 3200, 7040, 9865});
  const Words gradient = words({1, 2, 3, 4});
  expect_words(
      [&](auto& b) {
        const ValueId x = b.input(0, c.image_shape(), 4);
        return b.conv2d_grad_weight(x, b.input(0, c.result_shape(), 4), c);
      },
      {image, gradient}, {20, 36, 36, 64});
  expect_words(
      [&](auto& b) {
        const ValueId d = b.input(0, c.result_shape(), 4);
        return b.conv2d_grad_input(d, b.input(0, c.weight_shape(), 4), c);
      },
      {gradient, kernel}, {1000, 200, 2000, 30, 4, 40, 3000, 400, 4000});
}

Words random_words(std::uint32_t stream, std::uint64_t count) {
  ChaCha20Draws draws(ChaCha20Draws::key_of_seed(3), {stream, 0, 0});
  Words out(count);
  for (std::uint64_t& word : out) word = draws.symmetric(1000);
  return out;
}

std::uint64_t dot(const Words& a, const Words& b) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// <conv(x, w), g> = <w, grad_weight(x, g)> = <x, grad_input(g, w)> ties the three together.
TEST(Twin, ConvolutionGradientsAreAdjoint) {
  for (const Conv2dShape& c :
       {Conv2dShape{2, 7, 5, 3, 4, 3, 1, 1, 1}, Conv2dShape{3, 9, 8, 2, 3, 4, 3, 2, 1},
        Conv2dShape{1, 4, 4, 1, 1, 1, 2, 0, 0}, Conv2dShape{2, 28, 28, 1, 5, 5, 2, 2, 2}}) {
    const Words x = random_words(1, c.image_shape().count());
    const Words w = random_words(2, c.weight_shape().count());
    const Words g = random_words(3, c.result_shape().count());
    const auto forward = evaluate(
        [&](auto& b) {
          const ValueId a = b.input(0, c.image_shape(), 4);
          return b.conv2d(a, b.input(0, c.weight_shape(), 4), c);
        },
        {x, w});
    const auto by_weight = evaluate(
        [&](auto& b) {
          const ValueId a = b.input(0, c.image_shape(), 4);
          return b.conv2d_grad_weight(a, b.input(0, c.result_shape(), 4), c);
        },
        {x, g});
    const auto by_input = evaluate(
        [&](auto& b) {
          const ValueId a = b.input(0, c.result_shape(), 4);
          return b.conv2d_grad_input(a, b.input(0, c.weight_shape(), 4), c);
        },
        {g, w});
    ASSERT_TRUE(forward.ok() && by_weight.ok() && by_input.ok());
    EXPECT_EQ(dot(forward.value(), g), dot(w, by_weight.value()));
    EXPECT_EQ(dot(forward.value(), g), dot(x, by_input.value()));
  }
}

constexpr std::int64_t kLimit = std::int64_t{1} << 62;

void expect_domain_error(const Build& build, const std::vector<Words>& inputs) {
  const Result<Words> result = evaluate(build, inputs);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kDomain);
  EXPECT_THAT(result.error().message, HasSubstr("step 7: layer 'layer'"));
}

TEST(Twin, DomainIsCheckedAtEveryTruncation) {
  const Build down = [](auto& b) { return b.truncate(b.input(0, {1}, 32), 16, false); };
  expect_words(down, {words({kLimit - 1})}, {(kLimit - 1) >> 16});
  expect_words(down, {words({-kLimit})}, {-kLimit >> 16});
  expect_domain_error(down, {words({kLimit})});
  expect_domain_error(down, {words({-kLimit - 1})});
  expect_domain_error(down, {words({INT64_MIN})});
  // The rounding constant counts, and may not wrap its way back into the domain.
  const Build nearest = [](auto& b) {
    return b.relu_truncate(b.input(0, {1}, 61), 61, true).value;
  };
  expect_words(nearest, {words({kLimit - 1 - (std::int64_t{1} << 60)})}, {1});
  expect_domain_error(nearest, {words({kLimit - (std::int64_t{1} << 60)})});
  expect_domain_error(nearest, {words({INT64_MAX})});
}

TEST(Twin, ProductsThatWrapBackIntoTheDomainAreCaught) {
  // 2^33 * 2^33 = 2^66 is zero mod 2^64.
  const Words big = words({std::int64_t{1} << 33});
  expect_domain_error(
      [](auto& b) {
        const ValueId x = b.input(0, {1, 1}, 16);
        return b.matmul(x, b.input(0, {1, 1}, 16));
      },
      {big, big});
  // Large operands whose product is small pass.
  expect_words(
      [](auto& b) {
        const ValueId x = b.input(0, {1, 2}, 16);
        return b.matmul(x, b.input(0, {2, 1}, 16));
      },
      {words({std::int64_t{1} << 61, 1}), words({1, 5})}, {(std::int64_t{1} << 61) + 5});
}

TEST(Twin, SumsThatWrapAreCaught) {
  const std::int64_t big = kLimit - 1;
  const auto two = [](auto& b) { return b.input(0, {2, 1}, 16); };
  expect_domain_error([&](auto& b) { return b.sum_rows(b.add(two(b), two(b))); },
                      {words({big, big}), words({big, big})});
  expect_domain_error([&](auto& b) { return b.shift_left(two(b), 2); }, {words({0, big})});
  expect_words([&](auto& b) { return b.shift_left(two(b), 1); }, {words({1, kLimit / 2})},
               {2, kLimit});
  // A maximum compares untruncated words by their difference.
  const Build max = [](auto& b) { return max_rows(b, b.input(0, {2, 2}, 32)).max; };
  expect_words(max, {words({big, 3, -kLimit, 3})}, {big, 3});
  expect_domain_error(max, {words({INT64_MAX, 3, -kLimit, 3})});
  expect_domain_error(
      [](auto& b) {
        return b.lookup(b.input(0, {1}, 0), {5, 6}, 0);
      },
      {words({2})});
  expect_domain_error(
      [](auto& b) {
        return b.lookup(b.input(0, {1}, 0), {5, 6}, 0);
      },
      {words({-1})});
}

TEST(Twin, MaximumTakesTheFirstOfEqualsAndItsGradientGoesThere) {
  // Five rows: an odd one passes twice.
  const Words x = words({3, -9, 5, -9, 5, -1, 2, -1, 5, -8});
  const auto build = [](bool gradient) {
    return [gradient](auto& b) {
      const MaxTree tree = max_rows(b, b.input(0, {5, 2}, 32));
      const ValueId g = b.input(0, {1, 2}, 16);
      return gradient ? max_rows_grad(b, tree, g) : tree.max;
    };
  };
  expect_words(build(false), {x, words({7, 8})}, {5, -1});
  expect_words(build(true), {x, words({7, 8})}, {0, 0, 7, 0, 0, 8, 0, 0, 0, 0});
  expect_words([](auto& b) { return argmax_rows(b, b.input(0, {5, 2}, 32)); }, {x}, {1, 2});
}

TEST(Twin, WindowsRepeatTheEdgeOrSeeZero) {
  // A 2 x 3 image of one channel, windows of 2 x 2, stride 2, padding before.
  Pool2dShape pool{1, 2, 3, 1, 2, 2, 2, 1, 0, true};
  const Words image = words({1, 2, 3, 4, 5, 6});
  const auto taps = [&pool](auto& b) { return b.window(b.input(0, {1, 2, 3, 1}, 8), pool); };
  expect_words(taps, {image}, {1, 2, 1, 3, 1, 2, 1, 3});
  pool.clamp = false;
  expect_words(taps, {image}, {0, 0, 0, 0, 0, 2, 1, 3});
  expect_words([&](auto& b) { return b.window_grad(taps(b), pool); }, {image}, {1, 2, 3, 0, 0, 0});
}

Program update_program(int state_scale) {
  ProgramBuilder b;
  b.set_layer("dense1");
  const ValueId state = b.state({2}, state_scale);
  b.update(state, b.input(0, {2}, 16));
  b.reveal(b.truncate(b.state({2}, 32), 16, false), 1);
  return b.finish().value();
}

TEST(Twin, UpdateSubtractsTheMultipleAtTheEndOfTheRun) {
  const Program program = update_program(32);
  std::vector<Words> states{words({100, -100}), words({0, 0})};
  ASSERT_TRUE(run_fixed({program, {words({3, -4})}, states, 7, 0}).ok());
  EXPECT_EQ(states[0], words({79, -72}));
}

TEST(Twin, FailedRunLeavesTheStatesAlone) {
  const Program program = update_program(32);
  std::vector<Words> states{words({100, -100}), words({0, kLimit})};
  const auto result = run_fixed({program, {words({3, -4})}, states, 7, 12});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kDomain);
  EXPECT_THAT(result.error().message, HasSubstr("step 12: layer 'dense1': truncate"));
  EXPECT_THAT(result.error().message, HasSubstr("divide the features (data.divide_by)"));
  const auto outside = run_fixed({program, {words({3, -4})}, states, 7});
  EXPECT_THAT(outside.error().message, ::testing::StartsWith("layer 'dense1'"));
  EXPECT_THAT(outside.error().message, ::testing::Not(HasSubstr("learning rate")));
  EXPECT_THAT(result.error().message, HasSubstr("element 1"));
  EXPECT_EQ(states[0], words({100, -100}));
}

TEST(Twin, UpdateThatLeavesTheDomainIsCaught) {
  const Program program = update_program(32);
  std::vector<Words> states{words({0, 0}), words({0, 0})};
  EXPECT_FALSE(run_fixed({program, {words({1 << 30, 0})}, states, 1ull << 40, 0}).ok());
}

TEST(Twin, FaithfulSecurennRefusesWhatItsComparisonGetsWrong) {
  ProgramBuilder b;
  b.set_layer("pool1");
  const ValueId pair = b.input(0, {2, 2}, 16);
  b.reveal(max_rows(b, pair).max, 1);
  const Program program = b.finish().value();
  constexpr std::int64_t kQuarter = std::int64_t{1} << 61;
  std::vector<Words> none;
  // The second column's difference is the least that is too large, or the last that is not.
  const auto run = [&](std::int64_t top, Protocol protocol) {
    return run_fixed({program, {words({1, top, 2, -kQuarter})}, none, 1, 3, protocol});
  };
  const auto refused = run(kQuarter, Protocol::kSecurenn);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kDomain);
  EXPECT_THAT(refused.error().message, HasSubstr("step 3: layer 'pool1': relu (operation"));
  EXPECT_THAT(refused.error().message, HasSubstr("element 1: word 4611686018427387904"));
  EXPECT_THAT(refused.error().message, HasSubstr("use protocol = \"securenn-fused\""));
  EXPECT_TRUE(run(kQuarter - 1, Protocol::kSecurenn).ok());
  for (const Protocol every : {Protocol::kAdditive, Protocol::kSecurennFused}) {
    const auto taken = run(kQuarter, every);
    ASSERT_TRUE(taken.ok()) << taken.error().message;
    EXPECT_EQ(taken.value()[0], words({2, kQuarter}));
  }
}

TEST(Twin, SlotsThatDoNotFitAreConfigErrors) {
  const Program program = update_program(32);
  std::vector<Words> states{words({0, 0}), words({0, 0})};
  EXPECT_EQ(run_fixed({program, {}, states, 1, 0}).error().code, ErrorCode::kConfig);
  const auto result = run_fixed({program, {words({1, 2, 3})}, states, 1, 0});
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, HasSubstr("input 0 has shape [2], it was given 3 words"));
}

TEST(Twin, FloatRunDividesExactly) {
  ProgramBuilder b;
  const ValueId x = b.input(0, {4}, 8);
  const ValueAndBit y = b.relu_truncate(x, 2, true);
  b.reveal(y.value, 1);
  b.reveal(b.bit_to_word(y.bit), 1);
  b.reveal(b.truncate_times_bit(b.shift_left(x, 3), y.bit, 4, true), 1);
  const Program program = b.finish().value();
  std::vector<std::vector<double>> states;
  const auto reveals = run_float({program, {{-1, 0, 1, 6}}, states, 1, 0});
  ASSERT_TRUE(reveals.ok());
  EXPECT_EQ(reveals.value()[0], (std::vector<double>{0, 0, 0.25, 1.5}));
  EXPECT_EQ(reveals.value()[1], (std::vector<double>{0, 1, 1, 1}));
  EXPECT_EQ(reveals.value()[2], (std::vector<double>{0, 0, 0.5, 3}));
}

}  // namespace
}  // namespace beaverpond
