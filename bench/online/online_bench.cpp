// Two players, each a process, over TLS on the loopback interface, on bundles dealt beforehand.
// What is timed is verified: every ReLU element by element, every training step by the final
// weights, which must be the plaintext twin's bit for bit.
//
//   beaverpond-online-bench [--json FILE] [--examples DIR] [--only NAME] [--quick]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "beaverpond/program_builder.h"
#include "bench/dealing/dealing.h"
#include "bench/online/processes.h"
#include "bench/report/report.h"
#include "online/session/pair_keys.h"

namespace beaverpond {
namespace {

constexpr int kPlayers = 2;

struct Repetitions {
  std::size_t warm_up = 0;
  std::size_t timed = 0;
  std::size_t all() const { return warm_up + timed; }
};

/// Medians over the timed operations. Wall time and bytes are player 0's, CPU time is everybody's.
BenchRow cost_row(const std::string& name, const std::vector<PlayerResult>& results,
                  const Repetitions& repetitions) {
  std::vector<double> wall, cpu, bytes;
  for (std::size_t i = repetitions.warm_up; i < repetitions.all(); ++i) {
    wall.push_back(results[0].costs[i].wall_seconds);
    bytes.push_back(static_cast<double>(results[0].costs[i].sent_bytes));
    double sum = 0;
    for (const PlayerResult& result : results) sum += result.costs[i].cpu_seconds;
    cpu.push_back(sum);
  }
  return {name,
          median(wall),
          "s",
          std::nullopt,
          {{"cpu_seconds", median(cpu)},
           {"bytes", median(bytes)},
           {"rounds", results[0].rounds},
           {"fastest", *std::min_element(wall.begin(), wall.end())},
           {"repetitions", static_cast<double>(repetitions.timed)}}};
}

// ---- Training steps ----

Result<void> train_and_measure(const TrainingCase& test, std::vector<Bundle> bundles,
                               Transport& transport, PlayerResult& result) {
  CostMeter meter(transport);
  TrainOptions options;
  options.on_progress = [&](const TrainProgress&) { result.add(meter.lap()); };
  BP_ASSIGN(const TrainReport report,
            train_player_blocking(test, transport, std::move(bundles), options));
  result.rounds =
      static_cast<double>(report.engine.rounds) / static_cast<double>(test.job.training.steps);
  result.right = report.weights == test.expected;
  return {};
}

Result<void> bench_training(BenchReport& report, const std::string& name,
                            const std::string& job_path, const Repetitions& repetitions,
                            std::optional<Reference> reference) {
  BP_ASSIGN(const TrainingCase test, make_training_case(job_path, repetitions.all()));
  BP_ASSIGN(Dealt dealt, deal_bundles(test.setup.plan, kPlayers, repetitions.all()));
  BP_ASSIGN(const std::vector<PlayerResult> results,
            run_processes_blocking(kPlayers, [&](Transport& transport, PlayerResult& result) {
              const auto rank = static_cast<std::size_t>(transport.rank());
              return train_and_measure(test, std::move(dealt.of_player[rank]), transport, result);
            }));
  if (!results[0].right) {  // player 0 alone learns the weights
    report.fail(name, "the weights are not the twin's");
    return {};
  }
  BenchRow row = cost_row(name, results, repetitions);
  row.reference = std::move(reference);
  report.add(std::move(row));
  return {};
}

// ---- ReLU ----

constexpr std::uint32_t kReluRows = 1024;
constexpr std::uint64_t kReluElements = std::uint64_t{kReluRows} * kReluRows;
constexpr std::uint32_t kReluShift = 16;
/// Minus one: each run adds its result to the state.
constexpr std::uint64_t kAddToState = ~std::uint64_t{0};

/// state += relu(x / 2^16). The state is opened between the runs, outside the clock.
struct ReluCase {
  Program program;
  Plan plan;
  std::vector<std::uint64_t> input;

  std::uint64_t expected(std::size_t i) const {
    const auto rounded =
        static_cast<std::int64_t>(input[i] + (std::uint64_t{1} << (kReluShift - 1)));
    return rounded < 0 ? 0 : static_cast<std::uint64_t>(rounded >> kReluShift);
  }
};

Result<ReluCase> make_relu_case() {
  ReluCase test;
  ProgramBuilder builder;
  builder.set_layer("relu");
  const ValueId sum = builder.state({kReluRows, kReluRows}, 16);
  const ValueId x = builder.input(0, {kReluRows, kReluRows}, 32);
  builder.update(sum, builder.relu_truncate(x, kReluShift, true).value);
  BP_ASSIGN(test.program, builder.finish());
  BP_ASSIGN(test.plan, make_plan(test.program, PrgKind::kAes128Ctr));
  std::mt19937_64 random(5);
  for (std::uint64_t i = 0; i < kReluElements; ++i) {
    // Both signs and every magnitude below 2^61.
    const std::uint64_t size = (random() >> 3) >> (random() % 60);
    test.input.push_back((random() & 1) != 0 ? std::uint64_t{0} - size : size);
  }
  return test;
}

Result<std::unique_ptr<Engine>> relu_engine(const ReluCase& test, Backend& backend,
                                            Transport& transport, const Session& session) {
  const Tag tag{session.id(), 0, 0, kPairKeysOperation};
  const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  BP_ASSIGN(PairKeys keys, exchange_pair_keys(transport, tag, deadline));
  EngineOptions options;
  options.session = session.id();
  return Engine::create(test.program, test.plan, backend, transport, std::move(keys), options);
}

Result<void> relu_and_measure(const ReluCase& test, std::vector<Bundle> bundles,
                              Transport& transport, PlayerResult& result) {
  const auto in_30_s = [] { return std::chrono::steady_clock::now() + std::chrono::seconds(30); };
  BP_ASSIGN(const Session session, Session::create_blocking(transport, in_30_s()));
  const std::unique_ptr<Backend> backend = make_cpu_backend();
  BP_ASSIGN(const std::unique_ptr<Engine> engine, relu_engine(test, *backend, transport, session));
  RunInputs run;
  run.inputs.resize(test.program.inputs);
  if (transport.rank() == 0) run.inputs[0] = test.input;
  run.step_multiplier = kAddToState;
  const auto count = static_cast<std::uint32_t>(bundles.size());
  result.right = true;
  for (std::uint32_t i = 0; i < count; ++i) {
    // All start together: nobody's clock counts another's comparing.
    const Tag meeting{session.id(), ~std::uint64_t{0}, 0, 2 * i};
    BP_TRY(transport.all_gather_messages_blocking({}, meeting, in_30_s()));
    CostMeter meter(transport);
    BP_TRY(engine->run(std::move(bundles[i]), run));
    result.add(meter.lap());
    BP_ASSIGN(const std::vector<std::uint64_t> sum, engine->reveal_state(0, 1, 2 * i + 1));
    for (std::size_t at = 0; at < sum.size(); ++at) {
      result.right = result.right && sum[at] == (i + 1) * test.expected(at);
    }
  }
  result.rounds = static_cast<double>(engine->stats().rounds) / count;
  return {};
}

Result<void> bench_relu(BenchReport& report, const std::string& name,
                        const Repetitions& repetitions) {
  BP_ASSIGN(const ReluCase test, make_relu_case());
  BP_ASSIGN(Dealt dealt, deal_bundles(test.plan, kPlayers, repetitions.all()));
  BP_ASSIGN(const std::vector<PlayerResult> results,
            run_processes_blocking(kPlayers, [&](Transport& transport, PlayerResult& result) {
              const auto rank = static_cast<std::size_t>(transport.rank());
              return relu_and_measure(test, std::move(dealt.of_player[rank]), transport, result);
            }));
  if (!results[0].right) {
    report.fail(name, "an element is not that of the plaintext");
    return {};
  }
  BenchRow row = cost_row(name, results, repetitions);
  for (const auto& [key, value] : std::vector(row.extra)) {
    if (key == "bytes") row.extra.emplace_back("bytes_per_element", value / kReluElements);
  }
  row.reference = Reference{"SecureNN's public code, another machine", "recorded", 5.57};
  report.add(std::move(row));
  return {};
}

int run(const BenchOptions& options) {
  BenchReport report;
  const auto bench = [&](const std::string& name, auto function) {
    if (!options.wants(name)) return;
    const Result<void> result = function(name);
    if (!result.ok()) report.fail(name, result.error().message);
  };
  const auto bench_steps = [&](const std::string& name, const std::string& file,
                               std::optional<Reference> reference) {
    const Repetitions repetitions = options.quick ? Repetitions{1, 3} : Repetitions{3, 25};
    bench(name, [&](const std::string& row) {
      return bench_training(report, row, options.examples + "/" + file, repetitions, reference);
    });
  };
  bench("online/relu-1M", [&](const std::string& row) {
    return bench_relu(report, row, options.quick ? Repetitions{1, 2} : Repetitions{2, 9});
  });
  bench_steps("online/step/netA-b128", "netA.toml",
              Reference{"SecureNN's public code, another machine", "recorded", 0.367});
  bench_steps("online/step/netD-b128", "chameleon.toml", std::nullopt);
  return report.finish(options.json_path);
}

}  // namespace
}  // namespace beaverpond

int main(int argc, char** argv) {
  try {
    const auto options = beaverpond::parse_bench_options(argc, argv);
    return options.has_value() ? beaverpond::run(*options) : 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
