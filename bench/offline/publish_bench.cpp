// How fast a factory fills the pools of three players on this machine: dealt, sealed, written,
// synced and published, against dealing the same bundles into memory. Both with one dealer, taking
// turns. Afterwards every chunk of every pool is authenticated.
//
//   beaverpond-publish-bench [--json FILE] [--examples DIR] [--only NAME] [--quick]
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/dealing/dealing.h"
#include "bench/report/report.h"
#include "offline/factory/factory.h"
#include "offline/pool/dealer_key.h"
#include "offline/pool/pool_key.h"
#include "offline/pool/posix_storage.h"
#include "offline/pool/verify.h"

namespace beaverpond {
namespace {

constexpr int kPlayers = 3;
constexpr std::uint64_t kSegmentBundles = 3;  // a correction for each player's file

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

class PublishBench {
 public:
  PublishBench(std::string root, Plan plan)
      : root_(std::move(root)), plan_(std::move(plan)), backend_(make_cpu_backend()) {}

  Result<void> prepare() {
    BP_ASSIGN(DealerKey key, DealerKey::generate());
    dealer_key_ = std::make_unique<DealerKey>(std::move(key));
    BP_ASSIGN(Dealer dealer, Dealer::create(plan_, kPlayers, *backend_));
    dealer_ = std::make_unique<Dealer>(std::move(dealer));
    BP_ASSIGN(Buffer memory, backend_->allocate(plan_.correction_size));
    memory_ = std::make_unique<Buffer>(std::move(memory));
    FactoryOptions options;
    for (int player = 0; player < kPlayers; ++player) {
      const std::string directory = root_ + "/pool" + std::to_string(player);
      options.pools.directories.push_back(directory);
      BP_ASSIGN(const PublicKey pool_key, create_pool_key(pool_key_path(directory)));
      options.pools.pool_keys.push_back(pool_key);
    }
    options.pools.storage = &storage_;
    options.pools.dealer_key = dealer_key_.get();
    pools_ = options.pools;
    options.key.plan = plan_hash(plan_);
    options.prg = plan_.prg;
    options.correction_size = plan_.correction_size;
    options.segment_bundles = kSegmentBundles;
    options.dealers = {
        [this](std::span<const Seed> seeds, int designated, std::span<std::uint8_t> correction) {
          return dealer_->deal(seeds, designated, correction, kHostStream);
        }};
    BP_ASSIGN(Factory factory, Factory::open(std::move(options)));
    factory_ = std::make_unique<Factory>(std::move(factory));
    return {};
  }

  Result<void> turn() {
    const auto start = std::chrono::steady_clock::now();
    for (std::uint64_t i = 0; i < kSegmentBundles; ++i) {
      BP_ASSIGN(const std::vector<Seed> seeds, fresh_seeds(kPlayers));
      BP_TRY(dealer_->deal(seeds, designated_player(i, kPlayers), memory_->bytes(), kHostStream));
    }
    dealing.push_back(kSegmentBundles / seconds_since(start));
    const auto published = std::chrono::steady_clock::now();
    BP_TRY(factory_->make_blocking(kSegmentBundles));
    publishing.push_back(kSegmentBundles / seconds_since(published));
    bundles_ += kSegmentBundles;
    return {};
  }

  /// Whether every player has all that was published, undamaged.
  Result<bool> is_right() {
    for (int player = 0; player < kPlayers; ++player) {
      const auto index = static_cast<std::size_t>(player);
      PoolOptions options;
      options.directory = pools_.directories[index];
      options.storage = &storage_;
      options.identity.player = player;
      options.identity.players = kPlayers;
      options.dealer_key = dealer_key_->public_key();
      options.pool_key = pools_.pool_keys[index];
      BP_ASSIGN(const PoolReport report, verify_pool_blocking(options));
      if (!report.damaged.empty() || report.bundles != bundles_) return false;
    }
    return true;
  }

  FactoryTotals totals() const { return factory_->totals(); }

  std::vector<double> dealing, publishing;  ///< bundles/s

 private:
  std::string root_;
  Plan plan_;
  std::unique_ptr<Backend> backend_;
  PosixStorage storage_;
  std::unique_ptr<DealerKey> dealer_key_;
  std::unique_ptr<Dealer> dealer_;
  std::unique_ptr<Buffer> memory_;
  PoolSetOptions pools_;
  std::unique_ptr<Factory> factory_;
  std::uint64_t bundles_ = 0;
};

Result<void> run(BenchReport& report, const std::string& name, const BenchOptions& options,
                 const std::string& root) {
  BP_ASSIGN(const Job job, read_job(options.examples + "/lenet.toml"));
  BP_ASSIGN(const TrainingSetup setup, prepare_training(job, PrgKind::kAes128Ctr));
  const std::uint64_t bytes = setup.plan.correction_size.value;
  PublishBench bench(root, setup.plan);
  BP_TRY(bench.prepare());
  for (int i = 0; i < (options.quick ? 1 : 3); ++i) BP_TRY(bench.turn());
  BP_ASSIGN(const bool right, bench.is_right());
  if (!right) {
    report.fail(name, "the pools do not hold what was published");
    return {};
  }
  BenchRow row;
  row.name = name;
  row.value = median(bench.publishing);
  row.unit = "bundles/s";
  row.reference = Reference{"dealing alone", "measured", median(bench.dealing)};
  row.extra = {{"bytes", static_cast<double>(bytes)}, {"players", kPlayers}};
  report.add(std::move(row));
  return {};
}

int run(const BenchOptions& options) {
  const std::string name = "factory/publish/lenet-b128";
  return bench_on_disk(options, name, "beaverpond-publish-bench",
                       [&](BenchReport& report, const std::string& root) {
                         return run(report, name, options, root);
                       });
}

}  // namespace
}  // namespace beaverpond

int main(int argc, char** argv) {
  return beaverpond::bench_main(argc, argv, &beaverpond::run);
}
