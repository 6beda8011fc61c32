// How many bundles one core deals: one thread, corrections into memory, no disk. Before a plan is
// timed, one of its bundles is spent in an engine run whose result must be right.
//
//   beaverpond-factory-bench [--json FILE] [--examples DIR] [--only NAME] [--quick]
#include <chrono>
#include <cstdio>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "beaverpond/program_builder.h"
#include "bench/dealing/dealing.h"
#include "bench/report/report.h"
#include "offline/factory/seeds.h"
#include "online/session/pair_keys.h"
#include "online/transport/local.h"

namespace beaverpond {
namespace {

constexpr int kPlayers = 2;
using WordVector = std::vector<std::uint64_t>;

struct DealingSpeed {
  double bundles_per_second = 0;
  double cpu_seconds = 0;  ///< a bundle
};

Result<DealingSpeed> time_dealing(const Plan& plan, bool quick) {
  const std::unique_ptr<Backend> backend = make_cpu_backend();
  BP_ASSIGN(Dealer dealer, Dealer::create(plan, kPlayers, *backend));
  BP_ASSIGN(const Buffer correction, backend->allocate(plan.correction_size));
  SeedMaker seed_maker(fill_random_blocking);
  BP_ASSIGN(const SetId set_id, seed_maker.make_set_id());
  std::uint64_t number = 0;
  // Deals for at least `seconds`; every bundle from seeds of its own, as the factory does it.
  const auto deal_for = [&](double seconds) -> Result<DealingSpeed> {
    const auto start = std::chrono::steady_clock::now();
    const double cpu_start = thread_cpu_seconds();
    double elapsed = 0;
    double count = 0;
    while (elapsed < seconds) {
      std::vector<Seed> seeds;
      for (int player = 0; player < kPlayers; ++player) {
        BP_ASSIGN(const Seed seed, seed_maker.make_seed(set_id, player));
        seeds.push_back(seed);
      }
      BP_TRY(dealer.deal(seeds, designated_player(number++, kPlayers), correction.bytes(),
                         kHostStream));
      elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      ++count;
    }
    return DealingSpeed{count / elapsed, (thread_cpu_seconds() - cpu_start) / count};
  };
  BP_TRY(deal_for(0.1));  // warms the caches up
  std::vector<double> rates, costs;
  for (int i = 0; i < (quick ? 3 : 9); ++i) {
    BP_ASSIGN(const DealingSpeed speed, deal_for(quick ? 0.05 : 0.4));
    rates.push_back(speed.bundles_per_second);
    costs.push_back(speed.cpu_seconds);
  }
  return DealingSpeed{median(rates), median(costs)};
}

BenchRow dealing_row(const std::string& name, const std::string& unit, const Plan& plan,
                     const DealingSpeed& speed) {
  BenchRow row;
  row.name = name;
  row.value = speed.bundles_per_second;
  row.unit = unit;
  row.extra = {{"offline_seconds", speed.cpu_seconds},
               {"bytes", static_cast<double>(plan.correction_size.value)}};
  return row;
}

/// Runs `body(rank)` on one thread per player; the first error.
template <class Body>
Result<void> for_each_player(Body body) {
  std::vector<Result<void>> outcomes(kPlayers);
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < kPlayers; ++rank) {
    threads.emplace_back([&, rank] { outcomes[rank] = body(rank); });
  }
  for (std::thread& thread : threads) thread.join();
  for (Result<void>& outcome : outcomes) BP_TRY(std::move(outcome));
  return {};
}

Result<bool> training_is_right(const TrainingCase& test) {
  BP_ASSIGN(Dealt dealt, deal_bundles(test.setup.plan, kPlayers, test.job.training.steps));
  const auto transports = make_local_transports(kPlayers);
  std::vector<WeightTensor> weights;
  BP_TRY(for_each_player([&](std::size_t rank) -> Result<void> {
    BP_ASSIGN(TrainReport report,
              train_player_blocking(test, *transports[rank], std::move(dealt.of_player[rank]), {}));
    if (rank == 0) weights = std::move(report.weights);
    return {};
  }));
  return weights == test.expected;
}

Result<void> bench_training(BenchReport& report, const std::string& name,
                            const std::string& job_path, bool quick) {
  BP_ASSIGN(const TrainingCase test, make_training_case(job_path, 1));
  BP_ASSIGN(const bool right, training_is_right(test));
  if (!right) {
    report.fail(name, "a step with a dealt bundle did not give the twin's weights");
    return {};
  }
  BP_ASSIGN(const DealingSpeed speed, time_dealing(test.setup.plan, quick));
  report.add(dealing_row(name, "bundles/s", test.setup.plan, speed));
  return {};
}

WordVector random_words(std::size_t count, std::mt19937_64& random) {
  WordVector words(count);
  for (std::uint64_t& word : words) word = random();
  return words;
}

WordVector naive_product(const WordVector& x, const WordVector& y, std::size_t n) {
  WordVector out(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < n; ++k) {
      for (std::size_t j = 0; j < n; ++j) out[i * n + j] += x[i * n + k] * y[k * n + j];
    }
  }
  return out;
}

/// Spends one bundle on inputs, by slot and so by owner, and gives what player 0 sees revealed.
Result<WordVector> spend_one(const Program& program, const Plan& plan,
                             const std::vector<WordVector>& inputs) {
  BP_ASSIGN(Dealt dealt, deal_bundles(plan, kPlayers, 1));
  const auto transports = make_local_transports(kPlayers);
  WordVector seen;
  BP_TRY(for_each_player([&](std::size_t rank) -> Result<void> {
    Transport& transport = *transports[rank];
    const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    BP_ASSIGN(const Session session, Session::create_blocking(transport, deadline));
    BP_ASSIGN(PairKeys keys,
              exchange_pair_keys(transport, Tag{session.id(), 0, 0, kPairKeysOperation}, deadline));
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    EngineOptions options;
    options.session = session.id();
    BP_ASSIGN(const std::unique_ptr<Engine> engine,
              Engine::create(program, plan, *backend, transport, std::move(keys), options));
    RunInputs run;
    run.inputs.resize(program.inputs);
    if (rank < inputs.size()) run.inputs[rank] = inputs[rank];
    BP_TRY(engine->run(std::move(dealt.of_player[rank].front()), run));
    const ConstWords revealed = engine->revealed(0);
    if (rank == 0) seen.assign(revealed.begin(), revealed.end());
    return {};
  }));
  return seen;
}

/// A product of full-range words, every word compared.
Result<bool> product_is_right(const Program& program, const Plan& plan, std::size_t n) {
  std::mt19937_64 random(n);
  const std::vector<WordVector> inputs = {random_words(n * n, random), random_words(n * n, random)};
  BP_ASSIGN(const WordVector product, spend_one(program, plan, inputs));
  return product == naive_product(inputs[0], inputs[1], n);
}

Result<void> bench_product(BenchReport& report, const std::string& name, std::uint32_t n,
                           double recorded, bool quick) {
  ProgramBuilder builder;
  builder.set_layer("product");
  const ValueId x = builder.input(0, {n, n}, 0);
  const ValueId y = builder.input(1, {n, n}, 0);
  builder.reveal(builder.matmul(x, y), 1);
  BP_ASSIGN(const Program program, builder.finish());
  BP_ASSIGN(const Plan plan, make_plan(program, PrgKind::kAes128Ctr));
  BP_ASSIGN(const bool right, product_is_right(program, plan, n));
  if (!right) {
    report.fail(name, "a product with a dealt triple was wrong");
    return {};
  }
  BP_ASSIGN(const DealingSpeed speed, time_dealing(plan, quick));
  BenchRow row = dealing_row(name, "triples/s", plan, speed);
  if (recorded > 0) row.reference = Reference{"MP-SPDZ, 1 thread", "recorded", recorded};
  report.add(std::move(row));
  return {};
}

/// Tuples of ReLU with truncation by 16, rounded: what online/relu-1M spends.
Result<void> bench_relu(BenchReport& report, const std::string& name, bool quick) {
  constexpr std::uint32_t kSide = 1024;
  constexpr std::uint32_t kShift = 16;
  constexpr double kElements = double{kSide} * kSide;
  ProgramBuilder builder;
  builder.set_layer("relu");
  const ValueId x = builder.input(0, {kSide, kSide}, 32);
  builder.reveal(builder.relu_truncate(x, kShift, true).value, 1);
  BP_ASSIGN(const Program program, builder.finish());
  BP_ASSIGN(const Plan plan, make_plan(program, PrgKind::kAes128Ctr));
  std::mt19937_64 random(kShift);
  WordVector input = random_words(std::size_t{kSide} * kSide, random);
  for (std::uint64_t& word : input) {  // every magnitude below 2^61
    word = static_cast<std::uint64_t>(static_cast<std::int64_t>(word) >> (2 + random() % 60));
  }
  WordVector expected;
  for (const std::uint64_t word : input) {
    const auto rounded = static_cast<std::int64_t>(word + (std::uint64_t{1} << (kShift - 1)));
    expected.push_back(rounded < 0 ? 0 : static_cast<std::uint64_t>(rounded) >> kShift);
  }
  BP_ASSIGN(const WordVector seen, spend_one(program, plan, {input}));
  if (seen != expected) {
    report.fail(name, "an element with a dealt tuple is not that of the plaintext");
    return {};
  }
  BP_ASSIGN(const DealingSpeed speed, time_dealing(plan, quick));
  const CompareLayout layout = make_compare_layout(CompareUse::kReluTruncate, kShift, plan.profile);
  const std::uint64_t blocks = layout.blocks(std::uint64_t{kSide} * kSide);
  BenchRow row = dealing_row(name, "tuples/s", plan, speed);
  row.value *= kElements;
  row.extra.emplace_back("bytes_per_element",
                         static_cast<double>(plan.correction_size.value) / kElements);
  row.extra.emplace_back("bytes_per_second", static_cast<double>(plan.correction_size.value) *
                                                 speed.bundles_per_second);
  // Every player's masks, and every share of the correction but the designated player's.
  row.extra.emplace_back(
      "stream_bytes",
      static_cast<double>(blocks * (kPlayers * layout.mask_record_bytes() +
                                    (kPlayers - 1) * layout.correction_record_bytes())));
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
  const auto bench_steps = [&](const std::string& name, const std::string& file) {
    bench(name, [&](const std::string& row) {
      return bench_training(report, row, options.examples + "/" + file, options.quick);
    });
  };
  const auto bench_triples = [&](std::uint32_t n, double recorded) {
    const auto size = std::to_string(n);
    bench("factory/matmul/" + size, [&](const std::string& row) {
      return bench_product(report, row, n, recorded, options.quick);
    });
  };
  bench_steps("factory/netD-b128", "chameleon.toml");
  bench_steps("factory/netA-b128", "netA.toml");
  bench_triples(128, 182);
  bench_triples(512, 3.0);
  bench_triples(1024, 0);  // nothing recorded
  bench("factory/relu",
        [&](const std::string& row) { return bench_relu(report, row, options.quick); });
  return report.finish(options.json_path);
}

}  // namespace
}  // namespace beaverpond

int main(int argc, char** argv) {
  return beaverpond::bench_main(argc, argv, &beaverpond::run);
}
