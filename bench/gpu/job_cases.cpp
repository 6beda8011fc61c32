#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <thread>

#include "beaverpond/program_builder.h"
#include "bench/dealing/dealing.h"
#include "bench/gpu/cases.h"
#include "bench/gpu/tensors.h"
#include "offline/dealer/dealer.h"
#include "online/transport/local.h"

namespace beaverpond {
namespace {

constexpr int kPlayers = 2;

/// Bundles a second of one plan, corrections in host memory; and bytes.
Result<void> deal_case(DeviceBench& bench, const std::string& name, const std::string& unit,
                       const Plan& plan, std::optional<Reference> reference) {
  BP_ASSIGN(const std::vector<Seed> seeds, fresh_seeds(kPlayers));
  const std::unique_ptr<Backend> cpu = make_cpu_backend();
  BP_ASSIGN(Dealer expected_dealer, Dealer::create(plan, kPlayers, *cpu));
  BP_ASSIGN(const Buffer expected, cpu->allocate(plan.correction_size));
  BP_TRY(expected_dealer.deal(seeds, 1, expected.bytes(), kHostStream));
  BP_ASSIGN(Dealer dealer, Dealer::create(plan, kPlayers, bench.backend));
  BP_ASSIGN(const Buffer correction, bench.backend.allocate_host(plan.correction_size));
  BP_TRY(dealer.deal(seeds, 1, correction.bytes(), kHostStream));
  const auto ours = correction.bytes();
  const auto theirs = expected.bytes();
  if (!std::equal(ours.begin(), ours.end(), theirs.begin(), theirs.end())) {
    bench.report.fail(name, "a correction differs from the CPU's");
    return {};
  }
  Result<void> outcome;
  const double seconds = time_on_device(bench.backend, bench.least_seconds(), [&] {
    Result<void> dealt = dealer.deal(seeds, 1, correction.bytes(), kHostStream);
    if (outcome.ok() && !dealt.ok()) outcome = std::move(dealt);
  });
  BP_TRY(std::move(outcome));
  BenchRow row;
  row.name = name;
  row.value = 1 / seconds;
  row.unit = unit;
  row.reference = std::move(reference);
  const auto bytes = static_cast<double>(plan.correction_size.value);
  row.extra = {{"bytes", bytes}, {"bytes_per_second", bytes / seconds}};
  bench.report.add(std::move(row));
  return {};
}

Result<void> triples_case(DeviceBench& bench, const std::string& name, std::uint32_t n,
                          std::optional<Reference> reference) {
  ProgramBuilder builder;
  builder.set_layer("product");
  const ValueId x = builder.input(0, {n, n}, 0);
  const ValueId y = builder.input(1, {n, n}, 0);
  builder.reveal(builder.matmul(x, y), 1);
  BP_ASSIGN(const Program program, builder.finish());
  BP_ASSIGN(const Plan plan, make_plan(program, PrgKind::kChaCha20));
  return deal_case(bench, name, "triples/s", plan, std::move(reference));
}

Result<void> bundles_case(DeviceBench& bench, const std::string& name, const std::string& file) {
  BP_ASSIGN(Job job, read_job(bench.options.examples + "/" + file));
  BP_ASSIGN(const TrainingSetup setup, prepare_training(job, PrgKind::kChaCha20));
  return deal_case(bench, name, "bundles/s", setup.plan, std::nullopt);
}

/// Steps of two players, who share the device, over local transports.
Result<void> step_case(DeviceBench& bench, const std::string& name, const std::string& file) {
  const std::uint64_t steps = bench.options.quick ? 3 : 8;
  BP_ASSIGN(const TrainingCase test,
            make_training_case(bench.options.examples + "/" + file, steps));
  BP_ASSIGN(Dealt dealt, deal_bundles(test.setup.plan, kPlayers, steps));
  const auto transports = make_local_transports(kPlayers);
  std::vector<std::unique_ptr<Backend>> backends;
  for (int i = 0; i < kPlayers; ++i) {
    BP_ASSIGN(std::unique_ptr<Backend> backend, bench.make_backend());
    backends.push_back(std::move(backend));
  }
  std::vector<Result<TrainReport>> reports(kPlayers,
                                           make_error(ErrorCode::kCancelled, "did not run"));
  std::vector<std::thread> threads;
  std::vector<std::chrono::steady_clock::time_point> marks;
  for (std::size_t rank = 0; rank < kPlayers; ++rank) {
    threads.emplace_back([&, rank] {
      TrainOptions train;
      if (rank == 0) {
        train.on_progress = [&](const TrainProgress&) {
          marks.push_back(std::chrono::steady_clock::now());
        };
      }
      reports[rank] = train_player_blocking(
          test, *transports[rank], std::move(dealt.of_player[rank]), train, backends[rank].get());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (Result<TrainReport>& report : reports) {
    if (!report.ok()) return std::move(report).error();
  }
  const TrainReport& report = reports[0].value();
  if (report.weights != test.expected) {
    bench.report.fail(name, "the weights are not the twin's");
    return {};
  }
  std::vector<double> seconds;  // without the first step, which allocates
  for (std::size_t i = 1; i < marks.size(); ++i) {
    seconds.push_back(std::chrono::duration<double>(marks[i] - marks[i - 1]).count());
  }
  BenchRow row;
  row.name = name;
  row.value = median(seconds);
  row.unit = "s";
  bench.report.add(std::move(row));
  return {};
}

}  // namespace

void run_job_cases(DeviceBench& bench) {
  const auto run = [&](const std::string& name, auto f) {
    if (!bench.options.wants(name)) return;
    const Result<void> result = f(name);
    if (!result.ok()) bench.report.fail(name, result.error().message);
  };
  const auto triples = [&](std::uint32_t n, std::optional<double> recorded) {
    run("device/factory/matmul/" + std::to_string(n), [&](const std::string& name) {
      std::optional<Reference> reference;
      if (recorded) reference = Reference{"MP-SPDZ, 1 thread", "recorded", *recorded};
      return triples_case(bench, name, n, std::move(reference));
    });
  };
  triples(128, 182);
  if (!bench.options.quick) {
    triples(512, 3.0);
    triples(1024, std::nullopt);
    triples(4096, std::nullopt);
  }
  for (const auto& [net, file] : {std::pair{"netA", "netA.toml"},
                                  {"netD", "chameleon.toml"},
                                  {"minionn", "minionn.toml"},
                                  {"lenet", "lenet.toml"}}) {
    if (bench.options.quick && std::string(net) != "netA") continue;
    const std::string job = file;
    run(std::string("device/factory/") + net + "-b128",
        [&](const std::string& name) { return bundles_case(bench, name, job); });
    run(std::string("device/step/") + net + "-b128",
        [&](const std::string& name) { return step_case(bench, name, job); });
  }
}

}  // namespace beaverpond
