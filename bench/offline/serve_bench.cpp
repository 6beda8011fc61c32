// How fast a factory serves three players over loopback: `triple-factory serve` deals, seals,
// writes and delivers, three `triple-factory pull` fetch, check and publish, all on this machine
// and its disk, in a steady state. Against the dealer alone, into memory, before and after.
//
//   beaverpond-serve-bench [--json FILE] [--examples DIR] [--only NAME] [--quick]
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include "bench/dealing/dealing.h"
#include "bench/offline/delivery_site.h"
#include "bench/report/report.h"

namespace beaverpond {
namespace {

constexpr int kPlayers = 3;
constexpr int kThreads = 1;                   // that deal, alone and in the factory
constexpr std::uint64_t kSegmentBundles = 3;  // the default for this plan
constexpr std::uint64_t kAheadBundles = 12;

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

/// Deals for the players into memory that is used again.
class DealingAlone {
 public:
  static Result<DealingAlone> create(const Plan& plan) {
    DealingAlone alone;
    alone.backend_ = make_cpu_backend();
    BP_ASSIGN(Dealer dealer, Dealer::create(plan, kPlayers, *alone.backend_));
    alone.dealer_ = std::make_unique<Dealer>(std::move(dealer));
    BP_ASSIGN(Buffer memory, alone.backend_->allocate(plan.correction_size));
    alone.memory_ = std::make_unique<Buffer>(std::move(memory));
    BP_TRY(alone.deal(1));  // memory and tables are touched for the first time
    alone.rates.clear();
    alone.cpu_seconds.clear();
    return alone;
  }

  Result<void> deal(int bundles) {
    for (int i = 0; i < bundles; ++i) {
      const auto start = Clock::now();
      const double cpu = thread_cpu_seconds();
      BP_ASSIGN(const std::vector<Seed> seeds, fresh_seeds(kPlayers));
      BP_TRY(dealer_->deal(seeds, i % kPlayers, memory_->bytes(), kHostStream));
      rates.push_back(1 / seconds_between(start, Clock::now()));
      cpu_seconds.push_back(thread_cpu_seconds() - cpu);
    }
    return {};
  }

  std::vector<double> rates;        ///< bundles/s
  std::vector<double> cpu_seconds;  ///< of one bundle

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Dealer> dealer_;
  std::unique_ptr<Buffer> memory_;
};

/// Costs of `bundles` in the steady state.
struct Sustained {
  std::uint64_t bundles = 0;
  double seconds = 0;
  double factory_cpu_seconds = 0;
  double players_cpu_seconds = 0;
};

/// From one publication to a later one, after the first have passed.
Result<Sustained> measure(DeliverySite& site, double at_least_seconds) {
  const auto deadline = [] { return Clock::now() + std::chrono::seconds(120); };
  BP_ASSIGN(Delivered first, site.wait_for_more(deadline()));
  while (first.bundles < kSegmentBundles) {
    BP_ASSIGN(first, site.wait_for_more(deadline()));
  }
  while (true) {
    BP_ASSIGN(const Delivered last, site.wait_for_more(deadline()));
    Sustained sustained;
    sustained.bundles = last.bundles - first.bundles;
    sustained.seconds = seconds_between(first.when, last.when);
    sustained.factory_cpu_seconds = last.factory_cpu_seconds - first.factory_cpu_seconds;
    sustained.players_cpu_seconds = last.players_cpu_seconds - first.players_cpu_seconds;
    if (sustained.seconds >= at_least_seconds) return sustained;
  }
}

Result<void> run(BenchReport& report, const std::string& name, const BenchOptions& options,
                 const std::string& root) {
  BP_ASSIGN(const Job job, read_job(options.examples + "/lenet.toml"));
  BP_ASSIGN(const TrainingSetup setup, prepare_training(job, PrgKind::kAes128Ctr));
  BP_ASSIGN(DealingAlone alone, DealingAlone::create(setup.plan));
  const int turn = options.quick ? 2 : 9;
  BP_TRY(alone.deal(turn));
  DeliverySiteOptions wanted;
  wanted.root = root;
  wanted.players = kPlayers;
  wanted.threads = kThreads;
  wanted.segment_bundles = kSegmentBundles;
  wanted.ahead_bundles = kAheadBundles;
  BP_ASSIGN(const auto site, DeliverySite::start(wanted, setup.plan));
  BP_ASSIGN(const Sustained sustained, measure(*site, options.quick ? 0 : 20));
  site->stop();
  BP_TRY(alone.deal(turn));
  BP_ASSIGN(const std::uint64_t verified, site->verify());
  if (verified < sustained.bundles + kSegmentBundles) {
    report.fail(name, "the pools do not hold what was published");
    return {};
  }
  const auto bundles = static_cast<double>(sustained.bundles);
  const auto bytes = static_cast<double>(setup.plan.correction_size.value);
  BenchRow row;
  row.name = name;
  row.value = bundles / sustained.seconds;
  row.unit = "bundles/s";
  row.reference = Reference{"dealing alone", "measured", median(alone.rates)};
  row.extra = {
      {"cpu_seconds", (sustained.factory_cpu_seconds + sustained.players_cpu_seconds) / bundles},
      {"factory_cpu_seconds", sustained.factory_cpu_seconds / bundles},
      {"players_cpu_seconds", sustained.players_cpu_seconds / bundles},
      {"offline_seconds", median(alone.cpu_seconds)},
      {"bytes", bytes},
      {"players", kPlayers},
      {"dealing_threads", kThreads},
      {"seconds", sustained.seconds}};
  report.add(std::move(row));
  return {};
}

int run(const BenchOptions& options) {
  const std::string name = "factory/serve/lenet-b128";
  return bench_on_disk(options, name, "beaverpond-serve-bench",
                       [&](BenchReport& report, const std::string& root) {
                         return run(report, name, options, root);
                       });
}

}  // namespace
}  // namespace beaverpond

int main(int argc, char** argv) {
  return beaverpond::bench_main(argc, argv, &beaverpond::run);
}
