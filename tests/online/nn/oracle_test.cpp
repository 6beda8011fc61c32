// The twin against an oracle that shares no code with it: one training step of nets A and D must
// give the same words.
#include <gtest/gtest.h>

#include "online/nn/chacha20_draws.h"
#include "online/nn/dataset.h"
#include "online/nn/model.h"
#include "online/nn/twin.h"
#include "tests/oracle/training_oracle.h"

namespace beaverpond {
namespace {

using Words = std::vector<std::uint64_t>;

enum class Kind { kRandom, kEdge };

struct Case {
  const char* name;
  bool conv;
  int f;
  int extra_bits;
  Kind kind;
  std::uint32_t batch;
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

ModelConfig net_a() {
  return {28, 28, 1, {dense(128), relu(), dense(128), relu(), dense(10)}};
}

ModelConfig net_d() {
  LayerConfig conv;
  conv.kind = LayerKind::kConv2d;
  conv.channels = 5;
  conv.kernel = 5;
  conv.stride = 2;
  conv.pad_before = conv.pad_after = 2;
  return {28, 28, 1, {conv, relu(), dense(100), relu(), dense(10)}};
}

oracle::Net oracle_net(const Case& c, std::uint64_t multiplier) {
  oracle::Net net;
  net.f = c.f;
  net.extra_bits = c.extra_bits;
  net.multiplier = multiplier;
  net.units = c.conv ? std::vector<int>{100, 10} : std::vector<int>{128, 128, 10};
  if (c.conv) {
    net.channels = 5;
    net.kernel = 5;
    net.stride = 2;
    net.padding = 2;
  }
  return net;
}

class TrainingData {
 public:
  TrainingData(const Case& c, const std::vector<ModelParameter>& parameters)
      : case_(c), draws_(ChaCha20Draws::key_of_seed(99), {7, 7, 7}) {
    data.images = {c.batch, 28, 28, std::vector<std::uint8_t>(std::size_t{c.batch} * 784)};
    for (std::uint8_t& pixel : data.images.pixels) pixel = draw_pixel();
    for (std::uint32_t i = 0; i < c.batch; ++i) {
      const bool edge = c.kind == Kind::kEdge;
      data.labels.push_back(edge ? 9 : static_cast<std::uint8_t>(draws_.below(10)));
    }
    for (const ModelParameter& parameter : parameters) {
      Words words(parameter.shape.count());
      for (std::uint64_t& word : words) word = draw_weight(parameter);
      states.push_back(std::move(words));
    }
  }

  Dataset data;
  std::vector<Words> states;

 private:
  std::uint8_t draw_pixel() {
    if (case_.kind == Kind::kEdge) return draws_.below(2) == 0 ? 0 : 255;
    return static_cast<std::uint8_t>(draws_.below(256));
  }

  // Edge weights lie on and beside the places where rounding changes its mind.
  std::uint64_t draw_weight(const ModelParameter& parameter) {
    const std::uint64_t one = std::uint64_t{1} << parameter.scale_bits;
    if (case_.kind == Kind::kRandom) return draws_.symmetric(one / (parameter.bias ? 2 : 16));
    const std::uint64_t half = std::uint64_t{1} << (case_.f + case_.extra_bits - 1);
    const std::uint64_t magnitude = half * draws_.below(one / 16 / half) + draws_.below(3) - 1;
    return draws_.below(2) == 0 ? magnitude : 0 - magnitude;
  }

  Case case_;
  ChaCha20Draws draws_;
};

class OracleTest : public ::testing::TestWithParam<Case> {};

TEST_P(OracleTest, TwoStepsGiveTheSameWords) {
  const Case& c = GetParam();
  const FixedPoint fixed{c.f, c.extra_bits};
  const ModelConfig model = c.conv ? net_d() : net_a();
  const auto parameters = model_parameters(model, fixed);
  ASSERT_TRUE(parameters.ok());
  TrainingData given(c, parameters.value());

  // Two owners, so that the joined batch is checked too.
  const std::uint32_t first = c.batch / 3 + 1;
  const auto training =
      build_training_program(model, fixed, {}, {{{0, first}, {1, c.batch - first}}, 0});
  ASSERT_TRUE(training.ok()) << training.error().message;
  std::vector<std::uint32_t> rows(c.batch);
  for (std::uint32_t i = 0; i < c.batch; ++i) rows[i] = i;
  std::vector<Words> inputs;
  for (const auto part : {std::span(rows).first(first), std::span(rows).subspan(first)}) {
    inputs.push_back(image_words(given.data, part, c.f));
    inputs.push_back(label_words(given.data, part, 10, c.f));
  }
  std::vector<Words> twin = given.states;
  oracle::Tensors expected = given.states;
  const std::vector<int> labels(given.data.labels.begin(), given.data.labels.end());
  for (std::uint64_t step = 0; step < 2; ++step) {
    const std::uint64_t multiplier = 3 + step;
    const auto result = run_fixed({training->program, inputs, twin, multiplier, step});
    ASSERT_TRUE(result.ok()) << result.error().message;
    expected =
        oracle::train_step(oracle_net(c, multiplier), expected, given.data.images.pixels, labels);
    for (std::size_t slot = 0; slot < expected.size(); ++slot) {
      EXPECT_TRUE(twin[slot] != given.states[slot]) << "slot " << slot << " was not trained";
      EXPECT_TRUE(twin[slot] == expected[slot]) << "step " << step << ", slot " << slot;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Nets, OracleTest,
                         ::testing::Values(Case{"a16_16", false, 16, 16, Kind::kRandom, 4},
                                           Case{"a16_22", false, 16, 22, Kind::kRandom, 4},
                                           Case{"a16_0_edge", false, 16, 1, Kind::kEdge, 4},
                                           Case{"a8_20", false, 8, 20, Kind::kRandom, 4},
                                           Case{"a20_14", false, 20, 14, Kind::kRandom, 4},
                                           Case{"a24_6_edge", false, 24, 6, Kind::kEdge, 4},
                                           Case{"a16_16_batch", false, 16, 16, Kind::kRandom, 32},
                                           Case{"d16_16", true, 16, 16, Kind::kRandom, 4},
                                           Case{"d16_16_edge", true, 16, 16, Kind::kEdge, 4},
                                           Case{"d13_12", true, 13, 12, Kind::kRandom, 4},
                                           Case{"d8_38", true, 8, 38, Kind::kRandom, 4},
                                           Case{"d24_6", true, 24, 6, Kind::kRandom, 4},
                                           Case{"d20_10_edge", true, 20, 10, Kind::kEdge, 4},
                                           Case{"d16_16_batch", true, 16, 16, Kind::kRandom, 32}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace beaverpond
