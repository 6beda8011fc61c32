#include "online/nn/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "online/nn/chacha20_draws.h"
#include "online/nn/twin.h"

namespace beaverpond {
namespace {

using ::testing::HasSubstr;

const FixedPoint kFixed{16, 16};

LayerConfig dense(std::uint32_t units) {
  LayerConfig layer;
  layer.units = units;
  return layer;
}

LayerConfig relu() {
  LayerConfig layer;
  layer.kind = LayerKind::kRelu;
  return layer;
}

LayerConfig conv(std::uint32_t channels, std::uint32_t kernel, std::uint32_t stride,
                 std::uint32_t padding) {
  LayerConfig layer;
  layer.kind = LayerKind::kConv2d;
  layer.channels = channels;
  layer.kernel = kernel;
  layer.stride = stride;
  layer.pad_before = layer.pad_after = padding;
  return layer;
}

ModelConfig net_a() {
  return {28, 28, 1, {dense(128), relu(), dense(128), relu(), dense(10)}};
}
ModelConfig net_d() {
  return {28, 28, 1, {conv(5, 5, 2, 2), relu(), dense(100), relu(), dense(10)}};
}

long count(const Program& program, OpCode code) {
  return std::count_if(program.ops.begin(), program.ops.end(),
                       [code](const Op& op) { return op.code == code; });
}

TEST(Model, ParametersOfNetD) {
  const auto parameters = model_parameters(net_d(), kFixed);
  ASSERT_TRUE(parameters.ok());
  ASSERT_EQ(parameters->size(), 6u);
  const std::vector<Shape> shapes{{5, 5, 1, 5}, {5}, {980, 100}, {100}, {100, 10}, {10}};
  const std::vector<std::uint64_t> fan_in{25, 25, 980, 980, 100, 100};
  for (std::size_t i = 0; i < 6; ++i) {
    const ModelParameter& parameter = parameters.value()[i];
    EXPECT_EQ(parameter.shape, shapes[i]);
    EXPECT_EQ(parameter.fan_in, fan_in[i]);
    EXPECT_EQ(parameter.bias, i % 2 == 1);
    EXPECT_EQ(parameter.output, i >= 4);
    EXPECT_EQ(parameter.scale_bits, 48);
  }
  EXPECT_EQ(parameters.value()[0].layer, "conv1");
  EXPECT_EQ(parameters.value()[5].layer, "dense2");
}

TEST(Model, TrainingProgramOfNetA) {
  const auto training = build_training_program(net_a(), kFixed, {}, {{{0, 64}, {2, 64}}, 0});
  ASSERT_TRUE(training.ok()) << training.error().message;
  const Program& program = training->program;
  EXPECT_EQ(program.inputs, 4u);
  EXPECT_EQ(program.states, 6u);
  EXPECT_EQ(program.reveals, 0u);
  EXPECT_EQ(count(program, OpCode::kMatMul), 3 + 3 + 2);  // forward, weights, inputs but the first
  EXPECT_EQ(count(program, OpCode::kTruncate), 6 + 1);    // each parameter once, the output
  EXPECT_EQ(count(program, OpCode::kReluTruncate), 2);
  EXPECT_EQ(count(program, OpCode::kTruncateTimesBit), 2);
  EXPECT_EQ(count(program, OpCode::kUpdate), 6);
  std::vector<std::uint32_t> updated;
  for (const Op& op : program.ops) {
    if (op.code == OpCode::kTruncate && program.value(op.inputs[0]).scale_bits == 48) {
      EXPECT_EQ(op.shift, 32u);
      EXPECT_TRUE(op.round_to_nearest);
    }
    if (op.code == OpCode::kUpdate) {
      updated.push_back(op.slot);
      EXPECT_EQ(program.value(op.inputs[0]).scale_bits, 48);
      EXPECT_EQ(program.value(op.inputs[1]).scale_bits, 32);
    }
    if (op.code == OpCode::kInput) {
      EXPECT_EQ(op.owner, op.slot / 2 == 0 ? 0u : 2u);
    }
    EXPECT_FALSE(op.layer.empty());
  }
  EXPECT_THAT(updated, ::testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(Model, TrainingProgramOfNetD) {
  const auto training = build_training_program(net_d(), kFixed, {}, {{{1, 128}}, 0b10});
  ASSERT_TRUE(training.ok()) << training.error().message;
  const Program& program = training->program;
  EXPECT_EQ(program.inputs, 2u);
  EXPECT_EQ(program.reveals, 1u);
  EXPECT_EQ(count(program, OpCode::kConcatRows), 0);
  EXPECT_EQ(count(program, OpCode::kConv2d), 1);
  EXPECT_EQ(count(program, OpCode::kConv2dGradWeight), 1);
  EXPECT_EQ(count(program, OpCode::kConv2dGradInput), 0);
  const auto reveal = std::find_if(program.ops.begin(), program.ops.end(),
                                   [](const Op& op) { return op.code == OpCode::kReveal; });
  EXPECT_EQ(reveal->receivers, 0b10u);
  EXPECT_EQ(program.value(reveal->inputs[0]).shape, (Shape{1}));
  EXPECT_EQ(program.value(reveal->inputs[0]).scale_bits, 32);
}

TEST(Model, InferenceProgramOfNetD) {
  const auto inference =
      build_inference_program(net_d(), kFixed, {500, 1, 2, Answer::kScores, 0b100});
  ASSERT_TRUE(inference.ok()) << inference.error().message;
  const Program& program = inference->program;
  EXPECT_EQ(program.inputs, 7u);
  EXPECT_EQ(program.states, 0u);
  EXPECT_EQ(program.reveals, 1u);
  EXPECT_EQ(count(program, OpCode::kReluTruncate), 2);
  EXPECT_EQ(count(program, OpCode::kTruncate), 1);
  for (const Op& op : program.ops) {
    if (op.code != OpCode::kInput) continue;
    EXPECT_EQ(op.owner, op.slot == InferenceProgram::kImageSlot ? 1u : 2u);
    EXPECT_EQ(program.value(op.out).scale_bits, 16);
  }
}

TEST(Model, ImpossibleModelsAreConfigErrors) {
  struct Case {
    ModelConfig model;
    const char* message;
  };
  const std::vector<Case> cases{
      {{28, 28, 1, {}}, "the last layer must be dense"},
      {{28, 28, 1, {dense(10), relu()}}, "the last layer must be dense"},
      {{28, 28, 1, {relu(), dense(10)}}, "a relu must follow"},
      {{28, 28, 1, {dense(10), conv(1, 1, 1, 0), dense(10)}},
       "takes images, but a dense layer gives rows"},
      {{3, 28, 1, {conv(1, 5, 1, 0), dense(10)}}, "layer 'conv1': kernel 5 does not fit"},
      {{0, 28, 1, {dense(10)}}, "empty or too large"},
  };
  for (const Case& c : cases) {
    const auto training = build_training_program(c.model, kFixed, {}, {{{0, 4}}, 0});
    ASSERT_FALSE(training.ok());
    EXPECT_EQ(training.error().code, ErrorCode::kConfig);
    EXPECT_THAT(training.error().message, HasSubstr(c.message));
  }
  EXPECT_FALSE(build_training_program(net_a(), kFixed, {}, {{}, 0}).ok());
}

using Reals = std::vector<std::vector<double>>;

// A small net with every kind of layer, and data for it.
class GradientCheck {
 public:
  GradientCheck() {
    model_ = {6,
              5,
              1,
              {conv(2, 3, 1, 1), relu(), conv(3, 3, 2, 1), dense(7), relu(), dense(5), dense(3)}};
    ChaCha20Draws draws(ChaCha20Draws::key_of_seed(11), {0, 0, 0});
    const auto real = [&draws](double size) {
      const auto draw = static_cast<std::int64_t>(draws.symmetric(1 << 20));
      return static_cast<double>(draw) / (1 << 20) * size;
    };
    inputs_ = {std::vector<double>(4 * 30), std::vector<double>(4 * 3, 0)};
    for (double& pixel : inputs_[0]) pixel = real(1) * scale(16);
    for (std::size_t i = 0; i < 4; ++i) inputs_[1][i * 3 + i % 3] = scale(16);
    const auto parameters = model_parameters(model_, kFixed);
    for (const ModelParameter& p : parameters.value()) {
      auto& state = states_.emplace_back(p.shape.count());
      for (double& weight : state) weight = real(p.bias ? 0.3 : 0.6) * scale(48);
    }
    program_ = build_training_program(model_, kFixed, {}, {{{0, 4}}, 1}).value().program;
  }

  static double scale(int bits) { return std::ldexp(1.0, bits); }

  // Half the squared error of the batch; `states` becomes the updated states.
  double step(Reals& states, std::uint64_t multiplier) const {
    const auto reveals = run_float({program_, inputs_, states, multiplier, 0});
    return reveals.value()[0][0] / 2 / scale(32);
  }

  Reals states_;

 private:
  ModelConfig model_;
  Program program_;
  Reals inputs_;
};

// The update of every parameter is the derivative of the loss, as finite differences see it.
TEST(Model, AveragesThatTheFixedPointCannotTellAreConfigErrors) {
  LayerConfig pool;
  pool.kind = LayerKind::kAvgPool;
  const auto with_kernel = [&pool](std::uint32_t kernel) {
    pool.kernel = kernel;
    return ModelConfig{28, 28, 1, {conv(2, 3, 1, 1), pool, dense(10)}};
  };
  for (const std::uint32_t kernel : {2u, 3u, 4u, 8u}) {
    EXPECT_TRUE(model_parameters(with_kernel(kernel), {24, 6}).ok()) << kernel;
  }
  // 1/49 of 16 is 0: every average would be.
  const auto coarse = model_parameters(with_kernel(7), {24, 6});
  ASSERT_FALSE(coarse.ok());
  EXPECT_EQ(coarse.error().code, ErrorCode::kConfig);
  EXPECT_THAT(coarse.error().message, HasSubstr("layer 'avgpool1'"));
  EXPECT_THAT(coarse.error().message, HasSubstr("49 values"));
  EXPECT_TRUE(model_parameters(with_kernel(7), kFixed).ok());
}

TEST(Model, UpdatesAreTheGradientOfTheSquaredError) {
  GradientCheck check;
  Reals updated = check.states_;
  check.step(updated, 1);
  const double unit = GradientCheck::scale(48);
  const double delta = 1e-5;
  int checked = 0;
  for (std::size_t slot = 0; slot < updated.size(); ++slot) {
    for (std::size_t i = 0; i < updated[slot].size(); i += 1 + updated[slot].size() / 9) {
      // W at 2f+K loses one gradient at 2f: a change of gradient * 2^-K.
      const double gradient = (check.states_[slot][i] - updated[slot][i]) / unit * (1 << 16);
      Reals up = check.states_;
      Reals down = check.states_;
      up[slot][i] += delta * unit;
      down[slot][i] -= delta * unit;
      const double numeric = (check.step(up, 0) - check.step(down, 0)) / (2 * delta);
      EXPECT_NEAR(gradient, numeric, 1e-5 + 1e-5 * std::abs(numeric)) << slot << ":" << i;
      checked += std::abs(numeric) > 1e-3 ? 1 : 0;
    }
  }
  EXPECT_GT(checked, 30);
}

}  // namespace
}  // namespace beaverpond
