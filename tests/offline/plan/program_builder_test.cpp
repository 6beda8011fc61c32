#include "beaverpond/program_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace beaverpond {
namespace {

using ::testing::HasSubstr;

constexpr int kScale = 16;

TEST(ProgramBuilder, DenseLayerHasShapesScalesAndSlots) {
  ProgramBuilder b;
  b.set_layer("dense1");
  const ValueId x = b.input(1, {4, 6}, kScale);
  const ValueId master = b.state({6, 3}, 2 * kScale + 10);
  const ValueId bias = b.state({3}, 2 * kScale);
  const ValueId w = b.truncate(master, kScale + 10, true);
  const ValueId product = b.add_row(b.matmul(x, w), bias);
  const ValueAndBit y = b.relu_truncate(product, kScale, true);
  const ValueId gradient = b.matmul(x, y.value, true, false);
  b.update(master, gradient);
  EXPECT_EQ(b.reveal(y.value, 0b101), 0u);
  const Result<Program> result = b.finish();
  ASSERT_TRUE(result.ok()) << result.error().message;
  const Program& program = result.value();
  EXPECT_EQ(program.inputs, 1u);
  EXPECT_EQ(program.states, 2u);
  EXPECT_EQ(program.reveals, 1u);
  EXPECT_EQ(program.value(w).scale_bits, kScale);
  EXPECT_EQ(program.value(product).scale_bits, 2 * kScale);
  EXPECT_EQ(program.value(product).shape, (Shape{4, 3}));
  EXPECT_EQ(program.value(y.value).scale_bits, kScale);
  EXPECT_EQ(program.value(y.bit).kind, ValueKind::kBit);
  EXPECT_EQ(program.value(y.bit).shape, (Shape{4, 3}));
  EXPECT_EQ(program.value(gradient).shape, (Shape{6, 3}));
  EXPECT_EQ(program.ops[0].owner, 1u);
  EXPECT_EQ(program.ops.back().receivers, 0b101u);
  for (const Op& op : program.ops) EXPECT_EQ(op.layer, "dense1");
  const Op& update = program.ops[program.ops.size() - 2];
  EXPECT_EQ(update.code, OpCode::kUpdate);
  EXPECT_EQ(update.slot, 0u);
  EXPECT_EQ(update.out, kNoValue);
}

TEST(ProgramBuilder, MatmulTransposesEitherSide) {
  ProgramBuilder b;
  const ValueId x = b.input(0, {5, 2}, 1);
  const ValueId y = b.input(0, {3, 5}, 2);
  const ValueId out = b.matmul(x, y, true, true);
  const Result<Program> result = b.finish();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->value(out).shape, (Shape{2, 3}));
  EXPECT_EQ(result->value(out).scale_bits, 3);
}

TEST(ProgramBuilder, ConvolutionsKeepTheThreeShapes) {
  const Conv2dShape c{2, 28, 28, 1, 5, 5, 2, 2, 1};
  ProgramBuilder b;
  const ValueId images = b.input(0, {2, 28, 28, 1}, kScale);
  const ValueId weights = b.state({5, 5, 1, 5}, kScale);
  const ValueId out = b.conv2d(images, weights, c);
  const ValueId grad_weight = b.conv2d_grad_weight(images, out, c);
  const ValueId grad_input = b.conv2d_grad_input(out, weights, c);
  const ValueId sums = b.sum_rows(out);
  const ValueId flat = b.reshape(out, {2, 14 * 14 * 5});
  const Result<Program> result = b.finish();
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result->value(out).shape, (Shape{2, 14, 14, 5}));
  EXPECT_EQ(result->value(grad_weight).shape, c.weight_shape());
  EXPECT_EQ(result->value(grad_input).shape, c.image_shape());
  EXPECT_EQ(result->value(sums).shape, (Shape{5}));
  EXPECT_EQ(result->value(flat).shape, (Shape{2, 980}));
}

TEST(ProgramBuilder, BitsComeFromRelusAndGateWords) {
  ProgramBuilder b;
  const ValueId x = b.input(0, {2, 3}, kScale);
  const ValueAndBit exact = b.relu(x);
  const ValueId gated = b.multiply_bit(x, exact.bit);
  const ValueId word = b.bit_to_word(exact.bit);
  const ValueId joined = b.concat_rows({x, gated, x});
  const ValueId shifted = b.shift_left(x, 4);
  const Result<Program> result = b.finish();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->value(word).scale_bits, 0);
  EXPECT_EQ(result->value(joined).shape, (Shape{6, 3}));
  EXPECT_EQ(result->value(shifted).scale_bits, kScale + 4);
}

struct Mistake {
  const char* name;
  std::function<void(ProgramBuilder&)> build;
  const char* message;
};

std::vector<Mistake> shape_mistakes() {
  return {
      {"inner",
       [](auto& b) {
         b.matmul(b.input(0, {2, 3}, 1), b.input(0, {2, 3}, 1));
       },
       "inner sizes 3 and 2 differ"},
      {"rank",
       [](auto& b) {
         b.matmul(b.input(0, {2}, 1), b.input(0, {2, 3}, 1));
       },
       "needs two matrices"},
      {"empty",
       [](auto& b) {
         b.input(0, {2, 0}, 1);
       },
       "is empty or too large"},
      {"huge",
       [](auto& b) {
         b.input(0, {0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu}, 1);
       },
       "is empty or too large"},
      {"add",
       [](auto& b) {
         b.add(b.input(0, {2, 3}, 1), b.input(0, {3, 2}, 1));
       },
       "shapes differ"},
      {"row",
       [](auto& b) {
         b.add_row(b.input(0, {2, 3}, 1), b.input(0, {2}, 1));
       },
       "the row does not fit"},
      {"reshape",
       [](auto& b) {
         b.reshape(b.input(0, {2, 3}, 1), {5});
       },
       "another count"},
      {"concat",
       [](auto& b) {
         b.concat_rows({b.input(0, {2, 3}, 1), b.input(0, {2, 4}, 1)});
       },
       "cannot join"},
      {"nothing", [](auto& b) { b.concat_rows({}); }, "nothing to join"},
      {"update", [](auto& b) { b.update(b.state({2}, 9), b.input(0, {3}, 1)); }, "shapes differ"},
      {"conv",
       [](auto& b) {
         b.conv2d(b.input(0, {1, 4, 4, 1}, 1), b.state({3, 3, 1, 2}, 1),
                  Conv2dShape{1, 4, 4, 1, 3, 3, 1, 0, 0});
       },
       "the convolution needs"},
      {"kernel",
       [](auto& b) {
         b.conv2d(b.input(0, {1, 4, 4, 1}, 1), b.state({5, 5, 1, 2}, 1),
                  Conv2dShape{1, 4, 4, 1, 2, 5, 1, 0, 0});
       },
       "does not fit into the padded image"},
      {"stride",
       [](auto& b) {
         b.conv2d(b.input(0, {1, 4, 4, 1}, 1), b.state({3, 3, 1, 2}, 1),
                  Conv2dShape{1, 4, 4, 1, 2, 3, 0, 0, 0});
       },
       "must be at least 1"},
  };
}

std::vector<Mistake> other_mistakes() {
  return {
      {"scale", [](auto& b) { b.subtract(b.input(0, {2}, 1), b.input(0, {2}, 2)); },
       "scales differ"},
      {"shift0", [](auto& b) { b.truncate(b.input(0, {2}, 8), 0, true); }, "outside 1..61"},
      {"shift62", [](auto& b) { b.truncate(b.input(0, {2}, 62), 62, true); }, "outside 1..61"},
      {"below", [](auto& b) { b.truncate(b.input(0, {2}, 8), 9, true); }, "scale -1"},
      {"above", [](auto& b) { b.multiply(b.input(0, {2}, 32), b.input(0, {2}, 31)); }, "scale 63"},
      {"word", [](auto& b) { b.multiply_bit(b.input(0, {2}, 1), b.input(0, {2}, 1)); },
       "the bit of a relu"},
      {"bit", [](auto& b) { b.reveal(b.relu(b.input(0, {2}, 1)).bit, 1); }, "words, not bits"},
      {"foreign", [](auto& b) { b.truncate(7, 1, true); }, "not a value of this program"},
      {"bit shape",
       [](auto& b) {
         const ValueAndBit y = b.relu_truncate(b.input(0, {2}, 8), 4, true);
         b.truncate_times_bit(b.input(0, {3}, 8), y.bit, 4, true);
       },
       "differ"},
      {"not a state",
       [](auto& b) {
         const ValueId x = b.input(0, {2}, 1);
         b.update(x, x);
       },
       "is not a state"},
      {"twice",
       [](auto& b) {
         const ValueId w = b.state({2}, 1);
         const ValueId x = b.input(0, {2}, 1);
         b.update(w, x);
         b.update(w, x);
       },
       "updated twice"},
      {"nobody", [](auto& b) { b.reveal(b.input(0, {2}, 1), 0); }, "no receiver"},
  };
}

TEST(ProgramBuilder, EveryMistakeNamesTheLayer) {
  std::vector<Mistake> mistakes = shape_mistakes();
  for (Mistake& mistake : other_mistakes()) mistakes.push_back(std::move(mistake));
  for (const Mistake& mistake : mistakes) {
    SCOPED_TRACE(mistake.name);
    ProgramBuilder b;
    b.set_layer("dense7");
    mistake.build(b);
    const Result<Program> result = b.finish();
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kConfig);
    EXPECT_THAT(result.error().message, HasSubstr("layer 'dense7'"));
    EXPECT_THAT(result.error().message, HasSubstr(mistake.message));
  }
}

TEST(ProgramBuilder, FirstMistakeWinsAndLaterCallsDoNothing) {
  ProgramBuilder b;
  b.set_layer("first");
  const ValueId bad = b.truncate(b.input(0, {2}, 1), 5, true);
  EXPECT_EQ(bad, kNoValue);
  b.set_layer("second");
  EXPECT_EQ(b.relu(bad).bit, kNoValue);
  EXPECT_EQ(b.relu_truncate(bad, 70, true).value, kNoValue);
  EXPECT_EQ(b.concat_rows({bad, bad}), kNoValue);
  EXPECT_EQ(b.conv2d(bad, bad, Conv2dShape{}), kNoValue);
  EXPECT_EQ(b.input(0, {0}, 99), kNoValue);
  b.update(bad, bad);
  EXPECT_EQ(b.reveal(bad, 0), 0u);
  const Result<Program> result = b.finish();
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, HasSubstr("layer 'first'"));
}

TEST(ProgramBuilder, EmptyProgramIsAnError) {
  ProgramBuilder b;
  EXPECT_FALSE(b.finish().ok());
}

}  // namespace
}  // namespace beaverpond
