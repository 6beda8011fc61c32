// What it costs to agree on bundles: leases among players of this machine, each with a pool and a
// ledger of its own on one disk, against what no ledger can avoid: one write and one fdatasync.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "bench/report/report.h"
#include "offline/factory/factory.h"
#include "offline/pool/dealer_key.h"
#include "offline/pool/pool_key.h"
#include "offline/pool/posix_storage.h"
#include "online/session/lease.h"
#include "online/transport/local.h"

namespace beaverpond {
namespace {

constexpr int kPlayers = 3;
constexpr std::uint64_t kStepsOfALease = 16;  // the default of a job's [pool] lease_steps

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <class T>
T must(Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    std::exit(1);
  }
  return std::move(result).value();
}

void must(const Result<void>& result) {
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    std::exit(1);
  }
}

struct LeaseBench {
  std::string root;
  std::uint64_t leases = 200;
  PosixStorage storage;
  LaneKey key;
  DealerKey dealer = must(DealerKey::generate());
  std::vector<PublicKey> pool_keys;

  PoolOptions pool_options(int player) {
    PoolOptions options;
    options.directory = root + "/pool" + std::to_string(player);
    options.identity.player = player;
    options.identity.players = kPlayers;
    options.storage = &storage;
    options.dealer_key = dealer.public_key();
    options.pool_key = pool_keys[static_cast<std::size_t>(player)];
    return options;
  }

  void fill() {
    FactoryOptions options;
    for (int player = 0; player < kPlayers; ++player) {
      const std::string directory = root + "/pool" + std::to_string(player);
      options.pools.directories.push_back(directory);
      pool_keys.push_back(must(create_pool_key(pool_key_path(directory))));
    }
    options.pools.storage = &storage;
    options.pools.dealer_key = &dealer;
    options.pools.pool_keys = pool_keys;
    options.key = key;
    options.correction_size.value = 64;
    options.dealers = {[](std::span<const Seed> seeds, int, std::span<std::uint8_t> correction) {
      std::fill(correction.begin(), correction.end(), seeds[0].bytes()[0]);
      return Result<void>();
    }};
    Factory factory = must(Factory::open(std::move(options)));
    must(factory.make_blocking(leases * kStepsOfALease));
  }

  /// Median seconds to write a slot of a ledger and sync it.
  double time_sync() {
    auto file = must(storage.open(root + "/sync", Storage::Mode::kCreateNew));
    const Block block{};
    std::vector<double> times;
    for (std::uint64_t i = 0; i < leases; ++i) {
      const auto start = Clock::now();
      must(file->write_at(i % 2 * kBlockSize, block));
      must(file->sync());
      times.push_back(seconds_since(start));
    }
    return median(times);
  }

  /// One player's part. Empty if it did not get every bundle once, in order.
  std::vector<double> lease_all(int player, Transport& transport) {
    Pool pool = must(Pool::open(pool_options(player)));
    const auto deadline = Clock::now() + std::chrono::seconds(60);
    const Session session = must(Session::create_blocking(transport, deadline));
    LeaseOptions options;
    options.key = key;
    options.max_bundles = kStepsOfALease;
    LeaseAgreement agreement(pool, transport, session, options);
    std::vector<double> times;
    for (std::uint64_t i = 0; i < leases; ++i) {
      const auto start = Clock::now();
      Lease lease = must(agreement.acquire_blocking(i, kStepsOfALease, deadline));
      times.push_back(seconds_since(start));
      const std::uint64_t first = i * kStepsOfALease;
      if (lease.first() != first || lease.remaining() != kStepsOfALease) return {};
      for (std::uint64_t step = 0; step < kStepsOfALease; ++step) {
        if (must(lease.next()).number() != first + step) return {};
      }
    }
    return times;
  }

  void run(BenchReport& report) {
    fill();
    const double sync = time_sync();
    auto transports = make_local_transports(kPlayers);
    std::vector<std::vector<double>> times(kPlayers);
    std::vector<std::thread> threads;
    for (int player = 0; player < kPlayers; ++player) {
      const auto index = static_cast<std::size_t>(player);
      threads.emplace_back(
          [&, player, index] { times[index] = lease_all(player, *transports[index]); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::vector<double>& mine : times) {
      if (mine.empty()) return report.fail("pool/lease", "the leases are not what was agreed");
    }
    const double lease = median(times[0]);
    BenchRow row;
    row.name = "pool/lease";
    row.value = 1 / lease;
    row.unit = "leases/s";
    row.reference = Reference{"one write and fdatasync", "measured", 1 / sync};
    row.extra = {{"seconds_per_lease", lease},
                 {"seconds_per_step", lease / static_cast<double>(kStepsOfALease)},
                 {"steps_per_lease", static_cast<double>(kStepsOfALease)},
                 {"sync_seconds", sync},
                 {"players", kPlayers}};
    report.add(std::move(row));
  }
};

}  // namespace
}  // namespace beaverpond

int main(int argc, char** argv) {
  using namespace beaverpond;
  const auto options = parse_bench_options(argc, argv);
  if (!options) return 2;
  BenchReport report;
  if (options->wants("pool/lease")) {
    LeaseBench bench;
    // Beside the results, not in a temporary folder, which may be no disk.
    const std::filesystem::path json(options->json_path);
    bench.root = json.has_parent_path() ? json.parent_path() : std::filesystem::path(".");
    bench.root += "/beaverpond-lease-bench";
    if (options->quick) bench.leases = 10;
    std::filesystem::remove_all(bench.root);
    std::filesystem::create_directories(bench.root);
    bench.run(report);
    std::filesystem::remove_all(bench.root);
  }
  return report.finish(options->json_path);
}
