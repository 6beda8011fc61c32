// What the cost model predicts is what the engine does: rounds, words and bytes, exactly.
#include "online/protocol/cost.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "online/nn/model.h"
#include "tests/online/protocol/engine_harness.h"
#include "tests/online/transport/players.h"

namespace beaverpond::testing {
namespace {

struct RunCase {
  std::uint32_t member = 0;
  bool skip_reveals = false;
};

/// What one player counted of one run.
struct Counted {
  EngineStats stats;
  EngineProfile profile;  ///< of all runs so far
  std::uint64_t sent_bytes = 0;
};

/// Element [rank][run]: what each player counted.
std::vector<std::vector<Counted>> count_runs(
    const Program& program, const Plan& plan, const std::vector<RunCase>& runs,
    const std::vector<std::unique_ptr<Transport>>& transports) {
  const auto players = static_cast<int>(transports.size());
  TestDealer dealer(plan, players, 23);
  std::vector<std::vector<Bundle>> bundles;
  for (std::size_t run = 0; run < runs.size(); ++run) bundles.push_back(dealer.deal(run));
  std::vector<std::vector<Counted>> counted(transports.size());
  run_players(players, [&](int rank) {
    const auto i = static_cast<std::size_t>(rank);
    Transport& transport = *transports[i];
    Result<PairKeys> keys = exchange_pair_keys(transport, Tag{1, 0, 0, 0}, in_ms(60'000));
    ASSERT_TRUE(keys.ok()) << keys.error().message;
    const std::unique_ptr<Backend> backend = test_backend();
    EngineOptions options;
    options.session = 1;
    options.profile = true;
    Result<std::unique_ptr<Engine>> engine =
        Engine::create(program, plan, *backend, transport, std::move(keys).value(), options);
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    std::vector<WordVector> words(program.inputs);
    RunInputs inputs;
    inputs.inputs.resize(program.inputs);
    inputs.step_multiplier = 3;
    for (const Op& op : program.ops) {
      if (op.code != OpCode::kInput || static_cast<int>(op.owner) != rank) continue;
      words[op.slot].assign(program.value(op.out).shape.count(), 1000);
      inputs.inputs[op.slot] = words[op.slot];
    }
    for (std::size_t run = 0; run < runs.size(); ++run) {
      const EngineStats before = (*engine)->stats();
      const std::uint64_t sent = transport.stats().sent_bytes;
      inputs.skip_reveals = runs[run].skip_reveals;
      const Result<void> done = runs[run].member == 0
                                    ? (*engine)->run(std::move(bundles[run][i]), inputs)
                                    : (*engine)->run_next(inputs);
      ASSERT_TRUE(done.ok()) << done.error().message;
      Counted now;
      now.profile = (*engine)->profile();
      now.sent_bytes = transport.stats().sent_bytes - sent;
      now.stats = (*engine)->stats();
      now.stats.rounds -= before.rounds;
      now.stats.opened_words -= before.opened_words;
      now.stats.opened_plane_words -= before.opened_plane_words;
      counted[i].push_back(std::move(now));
    }
  });
  return counted;
}

void expect_run_as_predicted(const Program& program, const RunCost& cost, const Counted& now,
                             const EngineProfile& before, int players, int rank) {
  EXPECT_EQ(now.stats.rounds, cost.rounds.size());
  std::uint64_t words = 0;
  std::uint64_t plane_words = 0;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const OpTraffic& predicted = cost.ops[i].traffic;
    words += predicted.opened_words;
    plane_words += predicted.opened_plane_words;
    OpTraffic until_now = before.ops.empty() ? OpTraffic() : before.ops[i].traffic;
    until_now += predicted;
    EXPECT_EQ(now.profile.ops[i].traffic, until_now)
        << "operation " << i << ", " << program.ops[i].layer << ' '
        << to_string(program.ops[i].code);
  }
  EXPECT_EQ(now.stats.opened_words, words);
  EXPECT_EQ(now.stats.opened_plane_words, plane_words);
  for (std::size_t i = 0; i < cost.layer_rounds.size(); ++i) {
    const std::uint64_t earlier = before.ops.empty() ? 0 : before.layer_rounds[i];
    EXPECT_EQ(now.profile.layer_rounds[i] - earlier, cost.layer_rounds[i]) << "layer " << i;
  }
  EXPECT_EQ(now.sent_bytes, sent_bytes(program, cost, players, rank));
}

void expect_as_predicted(const Program& program, const std::vector<RunCase>& runs,
                         const std::vector<std::unique_ptr<Transport>>& transports,
                         CompareProfile profile = CompareProfile::kLan) {
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr, profile).value();
  const auto players = static_cast<int>(transports.size());
  const std::vector<std::vector<Counted>> counted = count_runs(program, plan, runs, transports);
  for (int rank = 0; rank < players; ++rank) {
    const std::vector<Counted>& mine = counted[static_cast<std::size_t>(rank)];
    ASSERT_EQ(mine.size(), runs.size());
    for (std::size_t run = 0; run < runs.size(); ++run) {
      SCOPED_TRACE("player " + std::to_string(rank) + ", run " + std::to_string(run));
      const RunCost cost = run_cost(program, plan, {runs[run].member, runs[run].skip_reveals});
      EXPECT_GT(cost.rounds.size(), 1u);
      expect_run_as_predicted(program, cost, mine[run],
                              run == 0 ? EngineProfile() : mine[run - 1].profile, players, rank);
    }
  }
  const auto bundle_bytes = [&](std::uint32_t member) {
    const RunCost cost = run_cost(program, plan, {member, false});
    return std::accumulate(
        cost.ops.begin(), cost.ops.end(), std::uint64_t{0},
        [](std::uint64_t sum, const OpCost& op) { return sum + op.bundle_bytes; });
  };
  const std::uint64_t later = plan.members > 1 ? (plan.members - 1) * bundle_bytes(1) : 0;
  EXPECT_EQ(bundle_bytes(0) + later, plan.correction_size.value);
}

LayerConfig conv(std::uint32_t channels, std::uint32_t kernel) {
  LayerConfig layer;
  layer.kind = LayerKind::kConv2d;
  layer.channels = channels;
  layer.kernel = kernel;
  return layer;
}

LayerConfig pool(LayerKind kind, std::uint32_t window) {
  LayerConfig layer;
  layer.kind = kind;
  layer.kernel = layer.stride = window;
  return layer;
}

LayerConfig dense(std::uint32_t units) {
  LayerConfig layer;
  layer.units = units;
  return layer;
}

/// The nets of the literature by their kinds of layers, on images of 8x8.
ModelConfig small_net(char name, Loss loss) {
  LayerConfig relu;
  relu.kind = LayerKind::kRelu;
  ModelConfig model;
  model.height = model.width = 8;
  model.channels = 1;
  model.loss = loss;
  const LayerConfig maximum = pool(LayerKind::kMaxPool, 2);
  switch (name) {
    case 'A': model.layers = {dense(6), relu, dense(6), relu, dense(4)}; break;
    case 'B': model.layers = {conv(2, 3), relu, maximum, conv(3, 2), relu, dense(4)}; break;
    case 'C':
      model.layers = {conv(2, 3), maximum, relu,    pool(LayerKind::kAvgPool, 3),
                      dense(5),   relu,    dense(4)};
      break;
    default: model.layers = {conv(2, 3), relu, dense(5), relu, dense(4)}; break;
  }
  return model;
}

Program training(char net, Loss loss, int players, const OptimiserConfig& optimiser) {
  TrainingProgramOptions options;
  for (int i = 0; i < players; ++i) options.parts.push_back({static_cast<std::uint32_t>(i), 2});
  options.loss_receivers = 1;
  Result<TrainingProgram> built =
      build_training_program(small_net(net, loss), {12, 12}, optimiser, options);
  BP_CHECK(built.ok(), "the net can be built");
  return std::move(built->program);
}

struct TrainingCase {
  char net;
  Loss loss;
  int players;
  bool momentum;
};

class TrainingCost : public ::testing::TestWithParam<TrainingCase> {};

TEST_P(TrainingCost, IsWhatTheEngineSpends) {
  const TrainingCase& c = GetParam();
  OptimiserConfig optimiser;
  if (c.momentum) optimiser = {3, 5};
  const Program program = training(c.net, c.loss, c.players, optimiser);
  expect_as_predicted(program, {{0, false}, {0, true}}, make_local_transports(c.players),
                      c.net == 'B' ? CompareProfile::kWan : CompareProfile::kLan);
}

INSTANTIATE_TEST_SUITE_P(Nets, TrainingCost,
                         ::testing::Values(TrainingCase{'A', Loss::kSquaredError, 2, false},
                                           TrainingCase{'B', Loss::kSquaredError, 3, true},
                                           TrainingCase{'C', Loss::kSquaredError, 2, false},
                                           TrainingCase{'D', Loss::kSquaredError, 5, false},
                                           TrainingCase{'A', Loss::kSoftmax, 5, false},
                                           TrainingCase{'B', Loss::kSoftmax, 2, false},
                                           TrainingCase{'C', Loss::kSoftmax, 3, true},
                                           TrainingCase{'D', Loss::kSoftmax, 2, true}));

TEST(Cost, HoldsOverTls) {
  for (const int players : {2, 3}) {
    const Program program = training('B', Loss::kSoftmax, players, {2, 0});
    expect_as_predicted(program, {{0, true}, {0, false}}, make_tls_transports(players));
  }
}

TEST(Cost, HoldsWhereOpeningsAreScattered) {
  for (const int players : {3, 4, 5}) {
    ProgramBuilder b;
    // Three pieces of more than 512 KiB; the second factor, whole, is just too small.
    const ValueId x = b.input(0, {7, 32'767}, 16);
    const ValueId y = b.input(1, {32'767, 1}, 16);
    b.reveal(b.matmul(x, y), 1);
    const Program program = b.finish().value();
    const RunCost cost = run_cost(program, make_plan(program, PrgKind::kAes128Ctr).value(), {});
    EXPECT_EQ(cost.ops[2].traffic.large_words, 7u * 32'767);
    // The opening takes two steps among three or more, and the reveal one.
    EXPECT_EQ(message_steps(cost, 2), cost.rounds.size());
    EXPECT_EQ(message_steps(cost, players), cost.rounds.size() + 1);
    expect_as_predicted(program, {{0, false}}, make_local_transports(players));
    if (players == 3) expect_as_predicted(program, {{0, false}}, make_tls_transports(players));
    // Less than three quarters of what they would send to each other.
    const std::uint64_t direct = static_cast<std::uint64_t>(players - 1) * 8 * 32'767 * 8;
    EXPECT_LT(sent_bytes(program, cost, players, 0) * 4, direct * 3);
  }
}

TEST(Cost, ASeriesPaysForItsWeightsOnce) {
  for (const bool shared : {false, true}) {
    InferenceProgramOptions options;
    options.batch = 3;
    options.image_owner = 1;
    if (shared) options.weight_owner.reset();
    options.answer = shared ? Answer::kClass : Answer::kProbabilities;
    options.receivers = 2;
    options.members = 3;
    const Result<InferenceProgram> built =
        build_inference_program(small_net('B', Loss::kSoftmax), {12, 12}, options);
    ASSERT_TRUE(built.ok()) << built.error().message;
    const Program& program = built->program;
    expect_as_predicted(program, {{0, false}, {1, false}, {2, false}, {0, false}},
                        make_local_transports(3));
    const Plan plan = make_plan(program, PrgKind::kAes128Ctr).value();
    const RunCost first = run_cost(program, plan, {0, false});
    const RunCost later = run_cost(program, plan, {1, false});
    EXPECT_LT(sent_bytes(program, later, 3, 0), sent_bytes(program, first, 3, 0));
  }
}

// x is masked once, by the first product that is ready; the second finds the mask open.
TEST(Cost, AMaskBelongsToWhoeverNeedsItFirst) {
  ProgramBuilder b;
  const ValueId x = b.input(0, {4, 6}, 16);
  const ValueId y = b.input(1, {6, 5}, 16);
  const ValueId z = b.input(1, {6, 7}, 16);
  const ValueId first = b.matmul(x, y);
  const ValueId second = b.matmul(x, z);
  b.reveal(first, 1);
  b.reveal(second, 3);
  const Program program = b.finish().value();
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr).value();
  const RunCost cost = run_cost(program, plan, {});
  EXPECT_EQ(cost.ops[3].traffic, (OpTraffic{.opened_words = 4 * 6 + 6 * 5, .rounds = 1}));
  EXPECT_EQ(cost.ops[4].traffic, (OpTraffic{.opened_words = 6 * 7, .rounds = 1}));
  EXPECT_EQ(cost.ops[6].traffic, (OpTraffic{.revealed_words = 4 * 7, .rounds = 1}));
  EXPECT_EQ(cost.ops[3].multiply_adds, 4u * 6 * 5);
  EXPECT_EQ(cost.ops[3].bundle_bytes, 192u);  // 4 * 5 words are 160 bytes
  EXPECT_EQ(cost.op_of_entry, (std::vector<std::uint32_t>{3, 3, 3, 4, 4}));
  ASSERT_EQ(cost.rounds.size(), 2u);
  EXPECT_EQ(cost.rounds[0].words, 96u);
  // Player 0 opens 96 words to player 1, then reveals the second product to it; two messages.
  EXPECT_EQ(sent_bytes(program, cost, 2, 0), (96u + 28u) * 8 + 2 * (28 + 36));
  EXPECT_EQ(sent_bytes(program, cost, 2, 1), (96u + 20u + 28u) * 8 + 3 * (28 + 36));
}

TEST(Cost, AnEngineThatIsNotAskedKeepsNoProfile) {
  const Program program = training('A', Loss::kSquaredError, 2, {});
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr).value();
  std::vector<std::unique_ptr<Transport>> transports = make_local_transports(2);
  run_players(2, [&](int rank) {
    Transport& transport = *transports[static_cast<std::size_t>(rank)];
    Result<PairKeys> keys = exchange_pair_keys(transport, Tag{1, 0, 0, 0}, in_ms(60'000));
    ASSERT_TRUE(keys.ok());
    const std::unique_ptr<Backend> backend = test_backend();
    const auto engine =
        Engine::create(program, plan, *backend, transport, std::move(keys).value(), {});
    ASSERT_TRUE(engine.ok());
    EXPECT_TRUE((*engine)->profile().ops.empty());
  });
}

}  // namespace
}  // namespace beaverpond::testing
