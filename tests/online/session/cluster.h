// Players as threads: each with its own machine on a simulated disk.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "online/session/lease.h"
#include "online/transport/local.h"
#include "tests/offline/pool/memory_disk.h"
#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {

inline Deadline in_ms(int ms) {
  return std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
}

struct Cluster {
  MemoryDisk disk;
  TestSite site;

  explicit Cluster(int players) {
    site.storage = &disk;
    site.players = players;
    site.make_machines();
  }

  /// Runs `body` as every player at once; a player that returns closes its transport.
  void run(const std::function<void(int, Transport&)>& body) const {
    auto transports = make_local_transports(site.players);
    std::vector<std::thread> threads;
    for (int player = 0; player < site.players; ++player) {
      threads.emplace_back(
          [&body, player, mine = std::move(transports[static_cast<std::size_t>(player)])] {
            body(player, *mine);
          });
    }
    for (std::thread& thread : threads) thread.join();
  }

  LeaseOptions lease_options(std::uint64_t k) const {
    LeaseOptions options;
    options.key = test_key();
    options.max_bundles = k;
    options.poll_interval = std::chrono::milliseconds(2);
    options.peer_timeout = std::chrono::milliseconds(20000);
    return options;
  }

  Result<Pool> open_pool(int player) const { return Pool::open(site.pool_options(player)); }
};

}  // namespace beaverpond::testing
