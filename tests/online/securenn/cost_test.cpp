// What the cost model predicts is what each of SecureNN's players does: rounds and bytes, by
// operation, by layer and in all, exactly.
#include "online/securenn/cost.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "online/nn/model.h"
#include "online/securenn/engine.h"
#include "tests/online/protocol/engine_harness.h"
#include "tests/online/transport/players.h"

namespace beaverpond::testing {
namespace {

constexpr int kThree = 3;

struct RunCase {
  std::uint32_t member = 0;
  bool skip_reveals = false;
};

/// What a player counted until the end of a run.
struct Counted {
  std::uint64_t rounds = 0;
  std::uint64_t sent_bytes = 0;  ///< in this run alone, with headers
  EngineProfile profile;
};

/// What player `rank` counts of the runs, one after another.
std::vector<Counted> count_runs(const Program& program, const Plan& plan,
                                const std::vector<RunCase>& runs, std::vector<Bundle> bundles,
                                Transport& transport) {
  std::vector<Counted> counted;
  Result<PairKeys> keys = exchange_pair_keys(transport, Tag{1, 0, 0, 0}, in_ms(60'000));
  BP_CHECK(keys.ok(), "keys");
  const std::unique_ptr<Backend> backend = make_cpu_backend();
  EngineOptions options;
  options.session = 1;
  options.profile = true;
  Result<std::unique_ptr<Engine>> engine =
      create_securenn_engine(program, plan, *backend, transport, std::move(keys).value(), options);
  BP_CHECK(engine.ok(), "an engine");
  std::vector<WordVector> words(program.inputs);
  RunInputs inputs;
  inputs.inputs.resize(program.inputs);
  inputs.step_multiplier = 3;
  for (const Op& op : program.ops) {
    if (op.code != OpCode::kInput || static_cast<int>(op.owner) != transport.rank()) continue;
    words[op.slot].assign(program.value(op.out).shape.count(), 1000);
    inputs.inputs[op.slot] = words[op.slot];
  }
  for (std::size_t run = 0; run < runs.size(); ++run) {
    const std::uint64_t sent = transport.stats().sent_bytes;
    inputs.skip_reveals = runs[run].skip_reveals;
    const Result<void> done = runs[run].member == 0
                                  ? (*engine)->run(std::move(bundles[run]), inputs)
                                  : (*engine)->run_next(inputs);
    EXPECT_TRUE(done.ok()) << done.error().message;
    counted.push_back(
        {(*engine)->stats().rounds, transport.stats().sent_bytes - sent, (*engine)->profile()});
  }
  return counted;
}

void expect_as_predicted(const Program& program, Protocol protocol,
                         const std::vector<RunCase>& runs,
                         const std::vector<std::unique_ptr<Transport>>& transports) {
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr, CompareProfile::kLan, protocol).value();
  TestDealer dealer(plan, kThree, 23, make_cpu_backend());
  std::vector<std::vector<Bundle>> bundles(kThree);
  for (std::size_t run = 0; run < runs.size(); ++run) {
    std::vector<Bundle> dealt = dealer.deal(run);
    for (std::size_t i = 0; i < dealt.size(); ++i) bundles[i].push_back(std::move(dealt[i]));
  }
  std::vector<std::vector<Counted>> counted(kThree);
  run_players(kThree, [&](int rank) {
    const auto i = static_cast<std::size_t>(rank);
    counted[i] = count_runs(program, plan, runs, std::move(bundles[i]), *transports[i]);
  });
  for (int rank = 0; rank < kThree; ++rank) {
    std::uint64_t rounds = 0;
    std::vector<OpTraffic> traffic(program.ops.size());
    std::vector<std::uint64_t> layer_rounds(program_layers(program).names.size());
    for (std::size_t run = 0; run < runs.size(); ++run) {
      SCOPED_TRACE("player " + std::to_string(rank) + ", run " + std::to_string(run));
      const Counted& now = counted[static_cast<std::size_t>(rank)][run];
      const RunCost cost =
          securenn_run_cost(program, plan, {runs[run].member, runs[run].skip_reveals, rank});
      EXPECT_GT(cost.rounds.size(), 1u);
      EXPECT_EQ(now.rounds, rounds += cost.rounds.size());
      EXPECT_EQ(now.sent_bytes, sent_bytes(program, cost, kThree, rank));
      for (std::size_t op = 0; op < program.ops.size(); ++op) {
        traffic[op] += cost.ops[op].traffic;
        EXPECT_EQ(now.profile.ops[op].traffic, traffic[op])
            << op << ", " << program.ops[op].layer << ' ' << to_string(program.ops[op].code);
      }
      for (std::size_t layer = 0; layer < layer_rounds.size(); ++layer) {
        layer_rounds[layer] += cost.layer_rounds[layer];
      }
      EXPECT_EQ(now.profile.layer_rounds, layer_rounds);
    }
  }
}

LayerConfig dense(std::uint32_t units) {
  LayerConfig layer;
  layer.units = units;
  return layer;
}
LayerConfig conv(std::uint32_t channels) {
  LayerConfig layer;
  layer.kind = LayerKind::kConv2d;
  layer.channels = channels;
  layer.kernel = 5;
  return layer;
}
LayerConfig of_kind(LayerKind kind) {
  LayerConfig layer;
  layer.kind = kind;
  if (kind == LayerKind::kMaxPool) layer.kernel = layer.stride = 2;
  return layer;
}

/// Net A, or MiniONN's: the layers of online/examples/netA.toml and minionn.toml, the latter on
/// images of 16 x 16 with few channels and units.
ModelConfig net(char name, Loss loss) {
  ModelConfig model;
  model.channels = 1;
  model.loss = loss;
  const LayerConfig relu = of_kind(LayerKind::kRelu);
  const LayerConfig pool = of_kind(LayerKind::kMaxPool);
  if (name == 'A') {
    model.height = model.width = 28;
    model.layers = {dense(128), relu, dense(128), relu, dense(10)};
  } else {
    model.height = model.width = 16;
    model.layers = {conv(3), relu, pool, conv(4), relu, pool, dense(6), relu, dense(4)};
  }
  return model;
}

struct NetCase {
  char net;
  Protocol protocol;
  Loss loss;
};
class SecurennCost : public ::testing::TestWithParam<NetCase> {};

TEST_P(SecurennCost, OfTrainingIsWhatEachPlayerSpends) {
  const NetCase& c = GetParam();
  TrainingProgramOptions options;
  for (std::uint32_t player = 0; player < kThree; ++player) options.parts.push_back({player, 2});
  options.loss_receivers = 5;
  const OptimiserConfig optimiser = c.net == 'A' ? OptimiserConfig{} : OptimiserConfig{3, 5};
  const auto built = build_training_program(net(c.net, c.loss), {12, 12}, optimiser, options);
  ASSERT_TRUE(built.ok()) << built.error().message;
  const bool tls = c.net == 'A';
  expect_as_predicted(built->program, c.protocol, {{0, false}, {0, true}},
                      tls ? make_tls_transports(kThree) : make_local_transports(kThree));
}

TEST_P(SecurennCost, OfASeriesIsWhatEachPlayerSpends) {
  const NetCase& c = GetParam();
  for (const bool shared : {false, true}) {
    InferenceProgramOptions options;
    options.batch = 3;
    options.image_owner = 2;
    if (shared) options.weight_owner.reset();
    options.answer = shared ? Answer::kClass : Answer::kProbabilities;
    options.receivers = 2;
    options.members = 3;
    const auto built = build_inference_program(net(c.net, Loss::kSoftmax), {12, 12}, options);
    ASSERT_TRUE(built.ok()) << built.error().message;
    expect_as_predicted(built->program, c.protocol,
                        {{0, false}, {1, false}, {2, false}, {0, false}},
                        make_local_transports(kThree));
    const Plan plan =
        make_plan(built->program, PrgKind::kAes128Ctr, CompareProfile::kLan, c.protocol).value();
    const auto bundle_bytes = [&](std::uint32_t member) {
      const RunCost cost = securenn_run_cost(built->program, plan, {member, false, 0});
      return std::accumulate(
          cost.ops.begin(), cost.ops.end(), std::uint64_t{0},
          [](std::uint64_t sum, const OpCost& op) { return sum + op.bundle_bytes; });
    };
    EXPECT_EQ(bundle_bytes(0) + 2 * bundle_bytes(1), plan.correction_size.value);
    const RunCost first = securenn_run_cost(built->program, plan, {});
    for (const std::uint32_t op : first.op_of_entry) EXPECT_LT(op, built->program.ops.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Nets, SecurennCost,
                         ::testing::Values(NetCase{'A', Protocol::kSecurenn, Loss::kNormalisedRelu},
                                           NetCase{'A', Protocol::kSecurennFused,
                                                   Loss::kSquaredError},
                                           NetCase{'B', Protocol::kSecurenn, Loss::kSoftmax},
                                           NetCase{'B', Protocol::kSecurennFused, Loss::kSoftmax}));

}  // namespace
}  // namespace beaverpond::testing
