// Two players, or SecureNN's three, each a process, over TLS on the loopback interface, on bundles
// dealt beforehand. What is timed is verified: every ReLU element by element, every training step
// by the final weights, which must be the plaintext twin's bit for bit.
//
//   beaverpond-online-bench [--json FILE] [--examples DIR] [--only NAME] [--quick]
//
// `--only compare` sets the protocols side by side: the same work in turns under each, and a table.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "bench/dealing/dealing.h"
#include "bench/online/inference_case.h"
#include "bench/online/op_cases.h"
#include "bench/online/processes.h"
#include "bench/report/report.h"
#include "offline/plan/hash.h"
#include "online/protocol/cost.h"
#include "online/securenn/engine.h"
#include "online/session/pair_keys.h"
#include "online/session/plan_choice.h"

namespace beaverpond {
namespace {

int players_of(const Setting& setting) {
  if (setting.players != 0) return static_cast<int>(setting.players);
  return setting.protocol == Protocol::kAdditive ? 2 : 3;
}

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
  BenchRow row{name,
               median(wall),
               "s",
               std::nullopt,
               {{"cpu_seconds", median(cpu)},
                {"bytes", median(bytes)},
                {"rounds", results[0].rounds},
                {"fastest", *std::min_element(wall.begin(), wall.end())},
                {"repetitions", static_cast<double>(repetitions.timed)}}};
  // Each by itself: SecureNN's players do different work.
  double all_bytes = 0;
  for (std::size_t player = 0; player < results.size(); ++player) {
    std::vector<double> own_cpu, own_bytes;
    for (std::size_t i = repetitions.warm_up; i < repetitions.all(); ++i) {
      own_cpu.push_back(results[player].costs[i].cpu_seconds);
      own_bytes.push_back(static_cast<double>(results[player].costs[i].sent_bytes));
    }
    row.extra.emplace_back("cpu_seconds_" + std::to_string(player), median(own_cpu));
    all_bytes += median(own_bytes);
  }
  row.extra.emplace_back("bytes_all", all_bytes);
  return row;
}

/// Bundles dealt before the clock starts; `seconds`: CPU seconds a bundle.
Result<Dealt> timed_dealing(const Plan& plan, int players, std::uint64_t count, double& seconds) {
  const double start = process_cpu_seconds();
  BP_ASSIGN(Dealt dealt, deal_bundles(plan, players, count));
  seconds = (process_cpu_seconds() - start) / static_cast<double>(count);
  return dealt;
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
                            const std::string& job_path, const Setting& setting,
                            const Repetitions& repetitions, std::optional<Reference> reference) {
  BP_ASSIGN(const TrainingCase test, make_training_case(job_path, repetitions.all(), setting));
  const auto players = static_cast<int>(test.job.players);
  double offline = 0;
  BP_ASSIGN(Dealt dealt, timed_dealing(test.setup.plan, players, repetitions.all(), offline));
  BP_ASSIGN(const std::vector<PlayerResult> results,
            run_processes_blocking(players, [&](Transport& transport, PlayerResult& result) {
              const auto rank = static_cast<std::size_t>(transport.rank());
              return train_and_measure(test, std::move(dealt.of_player[rank]), transport, result);
            }));
  if (!results[0].right) {  // player 0 alone learns the weights
    report.fail(name, "the weights are not the twin's");
    return {};
  }
  BenchRow row = cost_row(name, results, repetitions);
  row.extra.emplace_back("offline_seconds", offline);
  row.reference = std::move(reference);
  report.add(std::move(row));
  return {};
}

// ---- Training steps of players who are far apart ----

struct Distance {
  const char* name;
  std::chrono::microseconds round_trip;
};
constexpr Distance kDistances[] = {{"0ms", std::chrono::milliseconds(0)},
                                   {"1ms", std::chrono::milliseconds(1)},
                                   {"20ms", std::chrono::milliseconds(20)}};

/// Both plans of LeNet's step, among the players of the job. The twin's weights are the same under
/// both.
struct FarCase {
  TrainingCase test;  ///< its plan: lan
  std::vector<PlanOption> options;
  std::vector<double> nearby{0, 0};  ///< seconds a step over a relay that delays nothing
};

Result<FarCase> make_far_case(const std::string& job_path, std::uint64_t steps) {
  FarCase far;
  BP_ASSIGN(far.test, make_training_case(job_path, steps));
  far.test.job.pool.profile.reset();
  BP_ASSIGN(far.test.setup, prepare_training(far.test.job, PrgKind::kAes128Ctr));
  const TrainingSetup& setup = far.test.setup;
  for (const Plan* const plan : {&setup.plan, &*setup.wide_plan}) {
    far.options.push_back({to_string(plan->profile), plan_hash(*plan),
                           message_steps(run_cost(setup.training.program, *plan, {}),
                                         static_cast<int>(far.test.job.players)),
                           plan->correction_size.value});
  }
  return far;
}

/// Whether players with bundles of both plans, who measured this round, take this one: 1 or 0.
double taken_by_auto(const FarCase& far, std::size_t plan, double round_seconds) {
  const PlanVote vote{static_cast<std::uint64_t>(round_seconds * 1e9), {1, 1}};
  return decide_plan(far.options, std::vector<PlanVote>(far.test.job.players, vote)) == plan ? 1
                                                                                             : 0;
}

/// One row. The players of a round send at once, so it costs half a round trip: the limit is
/// `rounds` of these and the step without any delay, which comes first.
Result<void> bench_far(BenchReport& report, const std::string& name, FarCase& far, std::size_t plan,
                       const Distance& distance, const Repetitions& repetitions) {
  TrainingCase test = far.test;
  if (plan == 1) std::swap(test.setup.plan, *test.setup.wide_plan);
  const auto players = static_cast<int>(test.job.players);
  BP_ASSIGN(Dealt dealt, deal_bundles(test.setup.plan, players, repetitions.all()));
  const auto body = [&](Transport& transport, PlayerResult& result) -> Result<void> {
    const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    const Tag tag{1, 0, 0, kPlanOperation};
    BP_ASSIGN(const std::uint64_t round_ns, measure_round_blocking(transport, tag, deadline));
    result.round_seconds = static_cast<double>(round_ns) / 1e9;
    const auto rank = static_cast<std::size_t>(transport.rank());
    return train_and_measure(test, std::move(dealt.of_player[rank]), transport, result);
  };
  BP_ASSIGN(const std::vector<PlayerResult> results,
            run_processes_blocking(players, body, distance.round_trip));
  if (!results[0].right) {
    report.fail(name, "the weights are not the twin's");
    return {};
  }
  BenchRow row = cost_row(name, results, repetitions);
  double round = 0;
  for (const PlayerResult& result : results) round = std::max(round, result.round_seconds);
  const double one_way = std::chrono::duration<double>(distance.round_trip).count() / 2;
  row.extra.emplace_back("round_seconds", round);
  row.extra.emplace_back("taken_by_auto", taken_by_auto(far, plan, round));
  if (distance.round_trip.count() == 0) {
    far.nearby[plan] = row.value;
  } else {
    const double limit = results[0].rounds * one_way + far.nearby[plan];
    row.extra.emplace_back("limit", limit);
    row.extra.emplace_back("fraction_of_limit", limit / row.value);
  }
  report.add(std::move(row));
  return {};
}

/// Every distance under both profiles, if one of the rows is wanted: each needs the first.
void bench_distances(BenchReport& report, const BenchOptions& options) {
  const std::string prefix = "online/step/lenet-b128/";
  const Repetitions repetitions = options.quick ? Repetitions{0, 1} : Repetitions{1, 5};
  const auto name_of = [&](const Distance& distance, const PlanOption& plan) {
    return prefix + distance.name + "/" + plan.name;
  };
  if (options.only.size() > 0 && prefix.find(options.only) == std::string::npos &&
      options.only.find(prefix) == std::string::npos) {
    return;
  }
  Result<FarCase> far = make_far_case(options.examples + "/lenet.toml", repetitions.all());
  if (!far.ok()) return report.fail(prefix, far.error().message);
  for (const Distance& distance : kDistances) {
    for (std::size_t plan = 0; plan < far->options.size(); ++plan) {
      // The smoke test has one bundle of the wide plan less to deal, and no long waits.
      if (options.quick && (plan == 1 || distance.round_trip > std::chrono::milliseconds(1))) {
        continue;
      }
      const std::string name = name_of(distance, far->options[plan]);
      const Result<void> result = bench_far(report, name, *far, plan, distance, repetitions);
      if (!result.ok()) report.fail(name, result.error().message);
    }
  }
}

// ---- One operation ----

Result<std::unique_ptr<Engine>> op_engine(const OpCase& test, Backend& backend,
                                          Transport& transport, const Session& session) {
  const Tag tag{session.id(), 0, 0, kPairKeysOperation};
  const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  BP_ASSIGN(PairKeys keys, exchange_pair_keys(transport, tag, deadline));
  EngineOptions options;
  options.session = session.id();
  if (test.plan.protocol != Protocol::kAdditive) {
    return create_securenn_engine(test.program, test.plan, backend, transport, std::move(keys),
                                  options);
  }
  return Engine::create(test.program, test.plan, backend, transport, std::move(keys), options);
}

Result<void> op_and_measure(const OpCase& test, std::vector<Bundle> bundles, Transport& transport,
                            PlayerResult& result) {
  const auto in_30_s = [] { return std::chrono::steady_clock::now() + std::chrono::seconds(30); };
  BP_ASSIGN(const Session session, Session::create_blocking(transport, in_30_s()));
  const std::unique_ptr<Backend> backend = make_cpu_backend();
  BP_ASSIGN(const std::unique_ptr<Engine> engine, op_engine(test, *backend, transport, session));
  RunInputs run;
  run.inputs.resize(test.program.inputs);
  if (transport.rank() == 0) run.inputs[0] = test.input;
  if (transport.rank() == 1 && !test.second.empty()) run.inputs[1] = test.second;
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
      result.right = result.right && sum[at] == (i + 1) * test.expected[at];
    }
  }
  result.rounds = static_cast<double>(engine->stats().rounds) / count;
  return {};
}

Result<void> bench_op(BenchReport& report, const std::string& name, Result<OpCase> (*make)(),
                      const Setting& setting, const Repetitions& repetitions) {
  BP_ASSIGN(OpCase test, make());
  BP_TRY(plan_for(setting.protocol, test));
  const int players = players_of(setting);
  double offline = 0;
  BP_ASSIGN(Dealt dealt, timed_dealing(test.plan, players, repetitions.all(), offline));
  BP_ASSIGN(const std::vector<PlayerResult> results,
            run_processes_blocking(players, [&](Transport& transport, PlayerResult& result) {
              const auto rank = static_cast<std::size_t>(transport.rank());
              return op_and_measure(test, std::move(dealt.of_player[rank]), transport, result);
            }));
  if (!results[0].right) {
    report.fail(name, "an element is not that of the plaintext");
    return {};
  }
  BenchRow row = cost_row(name, results, repetitions);
  for (const auto& [key, value] : std::vector(row.extra)) {
    if (key != "bytes") continue;
    row.extra.emplace_back("bytes_per_element", value / static_cast<double>(test.input.size()));
  }
  row.extra.emplace_back("offline_seconds", offline);
  row.reference = test.reference;
  report.add(std::move(row));
  return {};
}

// ---- Inference ----

Result<void> infer_and_measure(const InferenceCase& test, std::vector<Bundle> bundles,
                               Transport& transport, PlayerResult& result) {
  CostMeter meter(transport);
  TrainOptions options;
  options.on_progress = [&](const TrainProgress&) { result.add(meter.lap()); };
  BP_ASSIGN(const InferenceReport report,
            infer_player_blocking(test, transport, std::move(bundles), options));
  result.rounds = static_cast<double>(report.engine.rounds) / test.setup.options.series;
  result.right = report.predictions == test.expected;
  return {};
}

/// Batches of one series; the first, which opens the weights, is the warm-up.
Result<void> bench_inference(BenchReport& report, const std::string& name,
                             const std::string& job_path, std::uint32_t batch,
                             const Setting& setting, const Repetitions& repetitions,
                             std::optional<Reference> reference) {
  BP_ASSIGN(
      const InferenceCase test,
      make_inference_case(job_path, batch, static_cast<std::uint32_t>(repetitions.all()), setting));
  const auto players = static_cast<int>(test.job.players);
  BP_ASSIGN(Dealt dealt, deal_bundles(test.setup.plan, players, 1));
  BP_ASSIGN(const std::vector<PlayerResult> results,
            run_processes_blocking(players, [&](Transport& transport, PlayerResult& result) {
              const auto rank = static_cast<std::size_t>(transport.rank());
              return infer_and_measure(test, std::move(dealt.of_player[rank]), transport, result);
            }));
  if (!results[1].right) {  // player 1 alone learns the answers
    report.fail(name, "a class is not the twin's");
    return {};
  }
  BenchRow row = cost_row(name, results, repetitions);
  row.extra.emplace_back("series", static_cast<double>(repetitions.all()));
  row.extra.emplace_back("first_bytes", static_cast<double>(results[0].costs[0].sent_bytes));
  row.extra.emplace_back("first_seconds", results[0].costs[0].wall_seconds);
  row.reference = std::move(reference);
  report.add(std::move(row));
  return {};
}

// ---- Protocols side by side ----

const char* const kCompare = "compare";

struct Compared {
  const char* name;
  Setting setting;
};
constexpr Compared kCompared[] = {{"additive-2", {Protocol::kAdditive, 2}},
                                  {"additive-3", {Protocol::kAdditive, 3}},
                                  {"securenn", {Protocol::kSecurenn, 3}},
                                  {"securenn-fused", {Protocol::kSecurennFused, 3}}};

/// A line for each work and protocol, as Markdown: what does not depend on other load comes first.
void print_comparison(const std::vector<BenchRow>& rows) {
  std::printf(
      "\n| work | protocol | CPU s, all | by player | MB sent, all | rounds | wall s |\n"
      "|---|---|---|---|---|---|---|\n");
  for (const BenchRow& row : rows) {
    if (row.name.rfind(kCompare, 0) != 0) continue;
    const auto value = [&row](const std::string& key) {
      for (const auto& [name, number] : row.extra) {
        if (name == key) return number;
      }
      return -1.0;
    };
    const std::size_t work = std::string(kCompare).size() + 1;
    const std::size_t last = row.name.rfind('/');
    std::string by_player;
    for (int player = 0; value("cpu_seconds_" + std::to_string(player)) >= 0; ++player) {
      char text[32];
      std::snprintf(text, sizeof text, "%s%.3f", player == 0 ? "" : " ",
                    value("cpu_seconds_" + std::to_string(player)));
      by_player += text;
    }
    std::printf("| `%s` | %s | %.3f | %s | %.1f | %.0f | %.3f |\n",
                row.name.substr(work, last - work).c_str(), row.name.substr(last + 1).c_str(),
                value("cpu_seconds"), by_player.c_str(), value("bytes_all") / 1e6, value("rounds"),
                row.value);
  }
}

int run(const BenchOptions& options) {
  BenchReport report;
  const auto bench = [&](const std::string& name, auto function) {
    if (!options.wants(name)) return;
    const Result<void> result = function(name);
    if (!result.ok()) report.fail(name, result.error().message);
  };
  const auto recorded = [](double seconds) {
    return Reference{"SecureNN's public code, another machine", "recorded", seconds};
  };
  Setting setting;
  const auto steps = [&](const std::string& name, const std::string& file,
                         const Repetitions& repetitions, std::optional<Reference> reference) {
    bench(name, [&](const std::string& row) {
      return bench_training(report, row, options.examples + "/" + file, setting,
                            options.quick ? Repetitions{1, 2} : repetitions, reference);
    });
  };
  const auto inference = [&](const std::string& name, const std::string& file, std::uint32_t batch,
                             const Repetitions& repetitions, double reference) {
    bench(name, [&](const std::string& row) {
      return bench_inference(report, row, options.examples + "/" + file, batch, setting,
                             options.quick ? Repetitions{1, 2} : repetitions, recorded(reference));
    });
  };
  const auto op = [&](const std::string& name, Result<OpCase> (*make)()) {
    bench(name, [&](const std::string& row) {
      return bench_op(report, row, make, setting,
                      options.quick ? Repetitions{1, 2} : Repetitions{2, 9});
    });
  };
  op("online/relu-1M", &relu_case);
  op("online/relu-1M-wan", &wide_relu_case);
  op("online/matmul/1024", &matmul_case);
  op("online/maxpool-24x24x20-b128", &maxpool_case);
  op("online/softmax-128x10", &softmax_case);
  steps("online/step/netA-b128", "netA.toml", {3, 25}, recorded(0.367));
  steps("online/step/netD-b128", "chameleon.toml", {3, 25}, std::nullopt);
  steps("online/step/minionn-b128", "minionn.toml", {1, 7}, std::nullopt);
  steps("online/step/lenet-b128", "lenet.toml", {1, 7}, recorded(18.0));
  bench_distances(report, options);
  inference("online/infer/netA-b1", "netA.toml", 1, {3, 25}, 0.014);
  inference("online/infer/minionn-b1", "minionn.toml", 1, {3, 25}, 0.081);
  inference("online/infer/lenet-b1", "lenet.toml", 1, {3, 25}, 0.146);
  inference("online/infer/minionn-b128", "minionn.toml", 128, {1, 7}, 12.9);
  inference("online/infer/lenet-b128", "lenet.toml", 128, {1, 7}, 13.5);
  inference("online/infer/netA-b128", "netA.toml", 128, {1, 7}, 0.245);
  for (const Protocol other : {Protocol::kSecurenn, Protocol::kSecurennFused}) {
    setting = {other, 0};
    const std::string prefix = std::string(to_string(other)) + "/";
    op(prefix + "relu-1M", &plain_relu_case);
    op(prefix + "maxpool-24x24x20-b128", &maxpool_case);
    op(prefix + "matmul-1024", &matmul_case);
    inference(prefix + "infer/netA-b128", "netA.toml", 128, {1, 7}, 0.245);
    steps(prefix + "step/netA-b128", "netA.toml", {3, 9}, recorded(0.367));
    if (options.quick) continue;
    inference(prefix + "infer/minionn-b128", "minionn.toml", 128, {1, 5}, 12.9);
    inference(prefix + "infer/lenet-b128", "lenet.toml", 128, {1, 5}, 13.5);
    steps(prefix + "step/minionn-b128", "minionn.toml", {1, 5}, std::nullopt);
    steps(prefix + "step/lenet-b128", "lenet.toml", {1, 5}, recorded(18.0));
  }
  if (options.only.find(kCompare) == std::string::npos) return report.finish(options.json_path);
  // The same work under each, one after another: what disturbs one disturbs its neighbours.
  const auto each = [&](const std::string& what, auto function) {
    for (const Compared& compared : kCompared) {
      setting = compared.setting;
      function(kCompare + ("/" + what) + "/" + compared.name);
    }
  };
  const auto each_op = [&](const std::string& what, Result<OpCase> (*make)()) {
    each(what, [&](const std::string& name) { op(name, make); });
  };
  each_op("relu-1M", &plain_relu_case);
  each_op("maxpool-24x24x20-b128", &maxpool_case);
  each_op("matmul-1024", &matmul_case);
  for (const char* const net : {"netA", "minionn", "lenet"}) {
    if (options.quick && net != std::string("netA")) continue;
    const std::string file = std::string(net) + ".toml";
    each(std::string("infer/") + net + "-b128", [&](const std::string& name) {
      bench(name, [&](const std::string& row) {
        return bench_inference(report, row, options.examples + "/" + file, 128, setting,
                               options.quick ? Repetitions{1, 2} : Repetitions{1, 5}, std::nullopt);
      });
    });
    each(std::string("step/") + net + "-b128", [&](const std::string& name) {
      steps(name, file, {1, 5}, std::nullopt);
    });
  }
  print_comparison(report.rows());
  return report.finish(options.json_path);
}

}  // namespace
}  // namespace beaverpond

int main(int argc, char** argv) {
  return beaverpond::bench_main(argc, argv, &beaverpond::run);
}
