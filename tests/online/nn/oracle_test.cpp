// The twin against an oracle that shares no code with it: two training steps of nets A to D and of
// nets with odd shapes must give the same words, the loss included.
#include <gtest/gtest.h>

#include "online/nn/chacha20_draws.h"
#include "online/nn/dataset.h"
#include "online/nn/model.h"
#include "online/nn/softmax_tables.h"
#include "online/nn/twin.h"
#include "tests/oracle/softmax_oracle.h"
#include "tests/oracle/training_oracle.h"

namespace beaverpond {
namespace {

using Words = std::vector<std::uint64_t>;

enum class Data { kRandom, kEdge };

struct Optimisation {
  std::uint32_t momentum_shift = 0;
  std::uint64_t decay_word = 0;
};

struct Case {
  const char* name;
  ModelConfig (*net)();
  int f;
  int extra_bits;
  std::uint32_t batch;
  Loss loss = Loss::kSquaredError;
  Optimisation optimisation = {};
  Data data = Data::kRandom;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

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

LayerConfig conv(std::uint32_t channels, std::uint32_t kernel, std::uint32_t stride = 1,
                 std::uint32_t before = 0, std::uint32_t after = 0) {
  return {LayerKind::kConv2d, 0, channels, kernel, stride, before, after};
}

LayerConfig maximum(std::uint32_t kernel, std::uint32_t stride, std::uint32_t before = 0,
                    std::uint32_t after = 0) {
  return {LayerKind::kMaxPool, 0, 0, kernel, stride, before, after};
}

LayerConfig average(std::uint32_t kernel, std::uint32_t stride, std::uint32_t before = 0,
                    std::uint32_t after = 0) {
  return {LayerKind::kAvgPool, 0, 0, kernel, stride, before, after};
}

ModelConfig net_a() {
  return {28, 28, 1, {dense(128), relu(), dense(128), relu(), dense(10)}};
}
ModelConfig net_b() {
  return {28,
          28,
          1,
          {conv(16, 5), relu(), maximum(2, 2), conv(16, 5), relu(), maximum(2, 2), dense(100),
           relu(), dense(10)}};
}
ModelConfig net_c() {
  return {28,
          28,
          1,
          {conv(20, 5), relu(), maximum(2, 2), conv(50, 5), relu(), maximum(2, 2), dense(500),
           relu(), dense(10)}};
}
ModelConfig net_d() {
  return {28, 28, 1, {conv(5, 5, 2, 2, 2), relu(), dense(100), relu(), dense(10)}};
}
// Strides, padding on one side, windows that overlap, a relu after an average.
ModelConfig net_odd() {
  return {13,
          11,
          3,
          {conv(7, 3, 2, 1, 1), relu(), maximum(3, 2, 1, 1), conv(6, 3, 1, 0, 2),
           average(3, 1, 1, 0), relu(), average(2, 1), dense(9), relu(), dense(4)}};
}
// Pools before anything, on one another and without a relu.
ModelConfig net_pools() {
  return {17,
          16,
          2,
          {maximum(2, 2, 1, 0), average(3, 1, 1, 1), conv(5, 2, 1, 0, 1), average(2, 2),
           maximum(3, 1, 1, 1), relu(), conv(4, 3, 1, 1, 1), maximum(2, 1), maximum(2, 1, 0, 1),
           dense(3)}};
}

oracle::Net oracle_net(const ModelConfig& model, const Case& c, std::uint64_t multiplier) {
  oracle::Net net;
  net.f = c.f;
  net.extra_bits = c.extra_bits;
  net.multiplier = multiplier;
  net.height = static_cast<int>(model.height);
  net.width = static_cast<int>(model.width);
  net.channels = static_cast<int>(model.channels);
  net.softmax = c.loss == Loss::kSoftmax;
  net.momentum_shift = static_cast<int>(c.optimisation.momentum_shift);
  net.decay_word = c.optimisation.decay_word;
  for (const LayerConfig& config : model.layers) {
    oracle::Layer layer;
    switch (config.kind) {
      case LayerKind::kConv2d: layer.kind = oracle::Kind::kConv; break;
      case LayerKind::kDense: layer.kind = oracle::Kind::kDense; break;
      case LayerKind::kRelu: layer.kind = oracle::Kind::kRelu; break;
      case LayerKind::kMaxPool: layer.kind = oracle::Kind::kMaxPool; break;
      case LayerKind::kAvgPool: layer.kind = oracle::Kind::kAveragePool; break;
    }
    layer.size =
        static_cast<int>(config.kind == LayerKind::kDense ? config.units : config.channels);
    layer.kernel = static_cast<int>(config.kernel);
    layer.stride = static_cast<int>(config.stride);
    layer.before = static_cast<int>(config.pad_before);
    layer.after = static_cast<int>(config.pad_after);
    net.layers.push_back(layer);
  }
  return net;
}

class TrainingData {
 public:
  TrainingData(const Case& c, const ModelConfig& model,
               const std::vector<ModelParameter>& parameters)
      : case_(c), draws_(ChaCha20Draws::key_of_seed(99), {7, 7, 7}) {
    image_size = std::size_t{model.height} * model.width * model.channels;
    for (std::size_t i = 0; i < c.batch * image_size; ++i) pixels.push_back(draw_pixel());
    for (std::uint32_t i = 0; i < c.batch; ++i) {
      const auto classes = model.classes();
      labels.push_back(static_cast<int>(edge() ? classes - 1 : draws_.below(classes)));
    }
    for (const ModelParameter& parameter : parameters) {
      Words words(parameter.shape.count());
      for (std::uint64_t& word : words) word = draw_weight(parameter);
      states.push_back(std::move(words));
    }
    if (c.optimisation.momentum_shift == 0) return;
    for (const ModelParameter& parameter : parameters) {
      Words words(parameter.shape.count());
      for (std::uint64_t& word : words) word = draws_.symmetric(std::uint64_t{1} << (2 * c.f - 3));
      states.push_back(std::move(words));
    }
  }

  // Images and one-hot labels of rows [begin, end), as an owner gives them.
  void add_inputs(std::uint32_t begin, std::uint32_t end, std::uint32_t classes,
                  std::vector<Words>& inputs) const {
    Words images;
    for (std::size_t i = begin * image_size; i < end * image_size; ++i) {
      images.push_back(pixel_word(pixels[i], case_.f));
    }
    Words onehot(std::size_t{end - begin} * classes);
    for (std::uint32_t i = begin; i < end; ++i) {
      onehot[(i - begin) * classes + static_cast<std::uint32_t>(labels[i])] = std::uint64_t{1}
                                                                              << case_.f;
    }
    inputs.push_back(std::move(images));
    inputs.push_back(std::move(onehot));
  }

  std::size_t image_size = 0;
  std::vector<std::uint8_t> pixels;
  std::vector<int> labels;
  std::vector<Words> states;

 private:
  bool edge() const { return case_.data == Data::kEdge; }

  std::uint8_t draw_pixel() {
    if (edge()) return draws_.below(2) == 0 ? 0 : 255;
    return static_cast<std::uint8_t>(draws_.below(256));
  }

  // Edge weights lie on and beside the places where rounding changes its mind.
  std::uint64_t draw_weight(const ModelParameter& parameter) {
    const std::uint64_t one = std::uint64_t{1} << parameter.scale_bits;
    const std::uint64_t bound = one / (parameter.bias || parameter.fan_in < 64 ? 2 : 16);
    if (!edge()) return draws_.symmetric(bound);
    const std::uint64_t half = std::uint64_t{1} << (case_.f + case_.extra_bits - 1);
    const std::uint64_t magnitude = half * draws_.below(bound / half) + draws_.below(3) - 1;
    return draws_.below(2) == 0 ? magnitude : 0 - magnitude;
  }

  Case case_;
  ChaCha20Draws draws_;
};

oracle::State oracle_state(const std::vector<Words>& states, std::size_t parameters) {
  oracle::State state;
  const auto middle = states.begin() + static_cast<std::ptrdiff_t>(parameters);
  state.weights.assign(states.begin(), middle);
  state.velocities.assign(middle, states.end());
  return state;
}

class OracleTest : public ::testing::TestWithParam<Case> {};

TEST_P(OracleTest, TwoStepsGiveTheSameWords) {
  const Case& c = GetParam();
  const FixedPoint fixed{c.f, c.extra_bits};
  ModelConfig model = c.net();
  model.loss = c.loss;
  const auto parameters = model_parameters(model, fixed);
  ASSERT_TRUE(parameters.ok()) << parameters.error().message;
  const TrainingData given(c, model, parameters.value());

  // Two owners, so that the joined batch is checked too.
  const std::uint32_t first = c.batch / 3 + 1;
  const OptimiserConfig optimiser{c.optimisation.momentum_shift, c.optimisation.decay_word};
  const auto training =
      build_training_program(model, fixed, optimiser, {{{0, first}, {1, c.batch - first}}, 1});
  ASSERT_TRUE(training.ok()) << training.error().message;
  std::vector<Words> inputs;
  given.add_inputs(0, first, model.classes(), inputs);
  given.add_inputs(first, c.batch, model.classes(), inputs);
  std::vector<Words> twin = given.states;
  oracle::State expected = oracle_state(given.states, parameters->size());
  for (std::uint64_t step = 0; step < 2; ++step) {
    const std::uint64_t multiplier = 3 + step;
    const auto result = run_fixed({training->program, inputs, twin, multiplier, step});
    ASSERT_TRUE(result.ok()) << result.error().message;
    expected =
        oracle::train_step(oracle_net(model, c, multiplier), expected, given.pixels, given.labels);
    const oracle::State got = oracle_state(twin, parameters->size());
    for (std::size_t slot = 0; slot < got.weights.size(); ++slot) {
      EXPECT_TRUE(twin[slot] != given.states[slot]) << "slot " << slot << " was not trained";
      EXPECT_TRUE(got.weights[slot] == expected.weights[slot])
          << "step " << step << ", slot " << slot;
    }
    EXPECT_TRUE(got.velocities == expected.velocities) << "step " << step;
    EXPECT_EQ(result.value()[0], Words{expected.loss}) << "step " << step;
  }
}

constexpr Loss kSoft = Loss::kSoftmax;
constexpr Loss kSquare = Loss::kSquaredError;
const Optimisation kMomentum = {3, 0};
const Optimisation kBoth = {4, 37};
const Optimisation kDecay = {0, 113};

INSTANTIATE_TEST_SUITE_P(
    Dense, OracleTest,
    ::testing::Values(Case{"a16_16", net_a, 16, 16, 4}, Case{"a16_22", net_a, 16, 22, 4},
                      Case{"a16_1_edge", net_a, 16, 1, 4, kSquare, {}, Data::kEdge},
                      Case{"a8_20", net_a, 8, 20, 4}, Case{"a20_14", net_a, 20, 14, 4},
                      Case{"a24_6_edge", net_a, 24, 6, 4, kSquare, {}, Data::kEdge},
                      Case{"a16_16_batch", net_a, 16, 16, 32},
                      Case{"a16_soft", net_a, 16, 16, 4, kSoft},
                      Case{"a8_soft_momentum", net_a, 8, 20, 4, kSoft, kMomentum},
                      Case{"a13_soft_both", net_a, 13, 16, 4, kSoft, kBoth},
                      Case{"a20_soft_decay", net_a, 20, 14, 4, kSoft, kDecay},
                      Case{"a16_soft_edge", net_a, 16, 16, 4, kSoft, {}, Data::kEdge},
                      Case{"a16_both", net_a, 16, 16, 4, kSquare, kBoth},
                      Case{"a24_momentum", net_a, 24, 6, 4, kSquare, kMomentum}),
    [](const auto& info) { return std::string(info.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Strided, OracleTest,
    ::testing::Values(Case{"d16_16", net_d, 16, 16, 4},
                      Case{"d16_16_edge", net_d, 16, 16, 4, kSquare, {}, Data::kEdge},
                      Case{"d13_12", net_d, 13, 12, 4}, Case{"d8_38", net_d, 8, 38, 4},
                      Case{"d24_6", net_d, 24, 6, 4},
                      Case{"d20_10_edge", net_d, 20, 10, 4, kSquare, {}, Data::kEdge},
                      Case{"d16_16_batch", net_d, 16, 16, 32},
                      Case{"d16_both", net_d, 16, 16, 4, kSquare, kBoth},
                      Case{"d16_soft", net_d, 16, 16, 4, kSoft},
                      Case{"d18_soft_both", net_d, 18, 16, 4, kSoft, kBoth}),
    [](const auto& info) { return std::string(info.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Pooled, OracleTest,
    ::testing::Values(Case{"b16", net_b, 16, 16, 3}, Case{"b16_soft", net_b, 16, 16, 3, kSoft},
                      Case{"b16_soft_both", net_b, 16, 16, 3, kSoft, kBoth},
                      Case{"b12_edge", net_b, 12, 20, 3, kSquare, kMomentum, Data::kEdge},
                      Case{"b20_soft_edge", net_b, 20, 12, 3, kSoft, kDecay, Data::kEdge},
                      Case{"b24_both", net_b, 24, 6, 3, kSquare, kBoth},
                      Case{"c16", net_c, 16, 16, 2},
                      Case{"c16_both", net_c, 16, 16, 2, kSquare, kBoth},
                      Case{"c16_soft", net_c, 16, 16, 2, kSoft},
                      Case{"c16_soft_both", net_c, 16, 16, 2, kSoft, kBoth},
                      Case{"c13_soft_edge", net_c, 13, 16, 2, kSoft, {}, Data::kEdge}),
    [](const auto& info) { return std::string(info.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Odd, OracleTest,
    ::testing::Values(Case{"odd16", net_odd, 16, 16, 4},
                      Case{"odd16_soft_both", net_odd, 16, 16, 4, kSoft, kBoth},
                      Case{"odd8_soft_edge", net_odd, 8, 30, 4, kSoft, {}, Data::kEdge},
                      Case{"odd20_soft", net_odd, 20, 10, 4, kSoft},
                      Case{"odd24", net_odd, 24, 6, 4},
                      Case{"odd12_edge", net_odd, 12, 16, 5, kSquare, kBoth, Data::kEdge},
                      Case{"pools16", net_pools, 16, 16, 4},
                      Case{"pools16_soft_both", net_pools, 16, 16, 4, kSoft, kBoth},
                      Case{"pools10_edge", net_pools, 10, 20, 4, kSquare, {}, Data::kEdge},
                      Case{"pools20_soft", net_pools, 20, 10, 4, kSoft, kMomentum},
                      Case{"pools22", net_pools, 22, 10, 4}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(SoftmaxTables, EqualTheFunctionsRoundedToNearest) {
  for (int f = 8; f <= 20; ++f) {
    EXPECT_EQ(exp_table(2, f), oracle::exp_words(4, f)) << f;
    EXPECT_EQ(exp_table(8, f), oracle::exp_words(256, f)) << f;
    for (const std::uint32_t classes : {2u, 10u, 15u, 16u, 255u}) {
      const LineTable reciprocal = reciprocal_table(classes, f);
      const LineTable logarithm = logarithm_table(classes, f);
      const std::size_t size = reciprocal.base.size();
      ASSERT_EQ(size & (size - 1), 0u);
      ASSERT_GT(size, 16 * classes);
      ASSERT_LE(size, 4096u);
      for (const Words* words : {&reciprocal.slope, &logarithm.base, &logarithm.slope}) {
        ASSERT_EQ(words->size(), size);
      }
      for (std::uint32_t i = 0; i < size; ++i) {
        const bool used = i >= 16 && i <= 16 * classes;
        const int j = static_cast<int>(i);
        EXPECT_EQ(reciprocal.base[i], used ? oracle::reciprocal_base(j, f) : 0) << f << " " << j;
        EXPECT_EQ(reciprocal.slope[i], used ? oracle::reciprocal_slope(j, f) : 0) << f << " " << j;
        EXPECT_EQ(logarithm.base[i], used ? oracle::log_base(j, f) : 0) << f << " " << j;
        EXPECT_EQ(logarithm.slope[i], used ? oracle::log_slope(j, f) : 0) << f << " " << j;
      }
    }
  }
}

}  // namespace
}  // namespace beaverpond
