// What a lease costs, beside the bound that no pool can beat: one sync. How fast corrections go to
// the disk and come back is in storage_bench.cpp.
//
//   beaverpond-pool-bench DIR
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "offline/factory/factory.h"
#include "offline/pool/pool_key.h"
#include "offline/pool/posix_storage.h"
#include "online/session/lease.h"
#include "online/transport/local.h"

namespace beaverpond {
namespace {

constexpr int kPlayers = 2;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
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

void print_times(const char* name, std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const auto at = [&](double q) {
    return 1e6 * seconds[static_cast<std::size_t>(q * static_cast<double>(seconds.size() - 1))];
  };
  std::printf("%-34s median %9.1f us   p90 %9.1f us   p99 %9.1f us   n %zu\n", name, at(0.5),
              at(0.9), at(0.99), seconds.size());
}

struct Bench {
  std::string root;
  PosixStorage storage;
  LaneKey key;
  DealerKey dealer = must(DealerKey::generate());

  PoolOptions pool_options(int player) {
    PoolOptions options;
    options.directory = root + "/pool" + std::to_string(player);
    options.identity.player = player;
    options.identity.players = kPlayers;
    options.storage = &storage;
    options.dealer_key = dealer.public_key();
    options.pool_key = must(create_pool_key(pool_key_path(options.directory)));
    return options;
  }

  void make(std::uint64_t size, std::uint64_t count) {
    FactoryOptions options;
    for (int player = 0; player < kPlayers; ++player) {
      options.pools.directories.push_back(pool_options(player).directory);
      options.pools.pool_keys.push_back(pool_options(player).pool_key);
    }
    options.pools.dealer_key = &dealer;
    options.pools.storage = &storage;
    options.key = key;
    options.correction_size.value = size;
    options.dealers = {[](std::span<const Seed> seeds, int, std::span<std::uint8_t> correction) {
      std::fill(correction.begin(), correction.end(), seeds[0].bytes()[0]);
    }};
    Factory factory = must(Factory::open(std::move(options)));
    const auto start = std::chrono::steady_clock::now();
    must(factory.make_blocking(count));
    const double seconds = seconds_since(start);
    std::printf("%-34s %9.1f MB/s\n", "publish, one dealer, no dealing",
                1e-6 * static_cast<double>(factory.totals().bytes) / seconds);
  }

  void time_sync() {
    auto file = must(storage.open(root + "/sync", Storage::Mode::kCreateNew));
    const Block block{};
    std::vector<double> times;
    for (int i = 0; i < 200; ++i) {
      const auto start = std::chrono::steady_clock::now();
      must(file->write_at(static_cast<std::uint64_t>(i % 2) * kBlockSize, block));
      must(file->sync());
      times.push_back(seconds_since(start));
    }
    print_times("bound: write 4 KiB and fdatasync", times);
  }

  /// Every player on this machine, so that the syncs of all meet one disk.
  void time_leases(std::uint64_t count) {
    key.lane = 1;
    make(4096, count);
    auto transports = make_local_transports(kPlayers);
    std::vector<std::vector<double>> times(kPlayers);
    std::vector<std::thread> threads;
    for (int player = 0; player < kPlayers; ++player) {
      threads.emplace_back([&, player] {
        Transport& transport = *transports[static_cast<std::size_t>(player)];
        Pool pool = must(Pool::open(pool_options(player)));
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
        const Session session = must(Session::create_blocking(transport, deadline));
        LeaseOptions options;
        options.key = key;
        options.max_bundles = 1;
        LeaseAgreement agreement(pool, transport, session, options);
        for (std::uint64_t i = 0; i < count; ++i) {
          const auto start = std::chrono::steady_clock::now();
          Lease lease = must(agreement.acquire_blocking(i, 1, deadline));
          times[static_cast<std::size_t>(player)].push_back(seconds_since(start));
          (void)must(lease.next());
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    print_times("lease of one bundle, 2 players", times[0]);
  }
};

}  // namespace
}  // namespace beaverpond

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: beaverpond-pool-bench DIR\n");
    return 2;
  }
  beaverpond::Bench bench;
  bench.root = std::string(argv[1]) + "/beaverpond-pool-bench";
  std::filesystem::remove_all(bench.root);
  std::filesystem::create_directories(bench.root);
  bench.time_sync();
  bench.time_leases(200);
  std::filesystem::remove_all(bench.root);
  return 0;
}
