// Several plans, several jobs, fewer players than all, and players that come back with less.
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <set>

#include "tests/online/session/cluster.h"

namespace beaverpond::testing {
namespace {

TestSite site_of(const Cluster& cluster, std::uint8_t plan, std::uint32_t lane = 0) {
  TestSite site = cluster.site;
  site.key.plan.fill(plan);
  site.key.lane = lane;
  return site;
}

/// Runs `body` as each of some players; ranks of the transport are places in `live`.
void run_live(const std::vector<int>& live, const std::function<void(int, Transport&)>& body) {
  auto transports = make_local_transports(static_cast<int>(live.size()));
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < live.size(); ++i) {
    threads.emplace_back(
        [&body, player = live[i], mine = std::move(transports[i])] { body(player, *mine); });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(LeaseClasses, PlansOfAStepAreLeasedTogetherInTheCallersOrder) {
  Cluster cluster(3);
  ASSERT_TRUE(site_of(cluster, 0x5a).publish_once(0, 9, 1).ok());
  ASSERT_TRUE(site_of(cluster, 0x11).publish_once(0, 7, 2).ok());
  ASSERT_TRUE(site_of(cluster, 0x99).publish_once(4, 20, 3).ok());
  cluster.run([&](int player, Transport& transport) {
    auto pool = cluster.open_pool(player);
    auto session = Session::create_blocking(transport, in_ms(20000));
    LeaseOptions options = cluster.lease_options(5);
    options.more = {{site_of(cluster, 0x99).key.plan, 4}, {site_of(cluster, 0x11).key.plan, 2}};
    LeaseAgreement agreement(*pool, transport, *session, options);
    auto leases = agreement.acquire_all_blocking(0, 100, in_ms(0));
    ASSERT_TRUE(leases.ok()) << leases.error().message;
    ASSERT_EQ(leases->size(), 3u);  // three steps: the plan 0x11 has seven bundles, two a step
    EXPECT_EQ((*leases)[0].end(), 3u);
    EXPECT_EQ((*leases)[1].first(), 4u);
    EXPECT_EQ((*leases)[1].end(), 16u);
    EXPECT_EQ((*leases)[2].end(), 6u);
    auto bundle = (*leases)[1].next();
    ASSERT_TRUE(bundle.ok());
    site_of(cluster, 0x99).expect_bundle(*bundle, player, 3, 4);
    // One bundle of 0x11 is left: none of the others is touched.
    auto none = agreement.acquire_all_blocking(3, 100, in_ms(0));
    ASSERT_FALSE(none.ok());
    EXPECT_EQ(none.error().code, ErrorCode::kPoolDry);
    EXPECT_NE(none.error().message.find("plan 1111111111111111 lane 0 wanted 10"),
              std::string::npos)
        << none.error().message;
    EXPECT_EQ(pool->watermark(test_key()).value(), 3u);
    EXPECT_EQ(pool->watermark(site_of(cluster, 0x99).key).value(), 16u);
  });
}

TEST(LeaseClasses, JobsThatWaitForEachOthersPlansDoNotBlock) {
  // Two jobs, each needs both plans; one lane each. The factory serves the second job first.
  Cluster cluster(2);
  for (const std::uint8_t plan : {0x5a, 0x11}) {
    ASSERT_TRUE(site_of(cluster, plan, 1).publish_once(0, 4, plan).ok());
  }
  ASSERT_TRUE(site_of(cluster, 0x5a, 0).publish_once(0, 4, 7).ok());
  std::map<int, int> done;
  std::mutex mutex;
  std::vector<std::unique_ptr<Pool>> pools;
  for (int player = 0; player < 2; ++player) {
    pools.push_back(std::make_unique<Pool>(std::move(cluster.open_pool(player)).value()));
  }
  std::vector<std::thread> jobs;
  for (const std::uint32_t lane : {0u, 1u}) {
    jobs.emplace_back([&, lane] {
      cluster.run([&](int player, Transport& transport) {
        auto session = Session::create_blocking(transport, in_ms(20000));
        LeaseOptions options = cluster.lease_options(4);
        options.key.lane = lane;
        options.more = {{site_of(cluster, 0x11).key.plan, 1}};
        LeaseAgreement agreement(*pools[static_cast<std::size_t>(player)], transport, *session,
                                 options);
        auto leases = agreement.acquire_all_blocking(0, 100, in_ms(15000));
        ASSERT_TRUE(leases.ok()) << leases.error().message;
        const std::lock_guard<std::mutex> guard(mutex);
        ++done[static_cast<int>(lane)];
        if (lane == 1 && done[1] == 2) {
          EXPECT_EQ(done[0], 0);
          EXPECT_TRUE(site_of(cluster, 0x11, 0).publish_once(0, 4, 8).ok());
        }
      });
    });
  }
  for (std::thread& job : jobs) job.join();
  EXPECT_EQ(done[0], 2);
}

TEST(LeaseLanes, ManyJobsAtOnceGetDisjointBundles) {
  constexpr int kJobs = 6;
  Cluster cluster(3);
  for (std::uint32_t lane = 0; lane < kJobs; ++lane) {
    ASSERT_TRUE(site_of(cluster, 0x5a, lane).publish_once(0, 30, lane + 1).ok());
  }
  std::vector<std::unique_ptr<Pool>> pools;
  for (int player = 0; player < 3; ++player) {
    pools.push_back(std::make_unique<Pool>(std::move(cluster.open_pool(player)).value()));
  }
  std::vector<std::thread> jobs;
  for (std::uint32_t lane = 0; lane < kJobs; ++lane) {
    jobs.emplace_back([&, lane] {
      cluster.run([&](int player, Transport& transport) {
        auto session = Session::create_blocking(transport, in_ms(20000));
        LeaseOptions options = cluster.lease_options(4);
        options.key.lane = lane;
        LeaseAgreement agreement(*pools[static_cast<std::size_t>(player)], transport, *session,
                                 options);
        for (std::uint64_t step = 0; step < 30;) {
          auto lease = agreement.acquire_blocking(step, 30 - step, in_ms(0));
          ASSERT_TRUE(lease.ok()) << lease.error().message;
          for (; lease->remaining() > 0; ++step) {
            auto bundle = lease->next();
            ASSERT_TRUE(bundle.ok()) << bundle.error().message;
            site_of(cluster, 0x5a, lane).expect_bundle(*bundle, player, lane + 1, step);
          }
        }
      });
    });
  }
  for (std::thread& job : jobs) job.join();
}

TEST(LeaseLanes, FewerPlayersThanAllSpendOnlyWithTheOwner) {
  Cluster cluster(3);
  for (const std::uint32_t lane : {0u, 1u}) {
    ASSERT_TRUE(site_of(cluster, 0x5a, lane).publish_once(0, 12, lane + 1).ok());
  }
  const auto lease_two = [&](std::uint32_t lane, const std::vector<int>& live) {
    std::vector<Result<std::uint64_t>> firsts(3, std::uint64_t{0});
    run_live(live, [&](int player, Transport& transport) {
      auto pool = cluster.open_pool(player);
      ASSERT_TRUE(pool.ok());
      auto session = Session::create_blocking(transport, in_ms(20000));
      LeaseOptions options = cluster.lease_options(2);
      options.key.lane = lane;
      options.live = live;
      LeaseAgreement agreement(*pool, transport, *session, options);
      auto lease = agreement.acquire_blocking(0, 2, in_ms(0));
      Result<std::uint64_t>& out = firsts[static_cast<std::size_t>(player)];
      if (!lease.ok()) {
        out = lease.error();
        return;
      }
      out = lease->first();
      ASSERT_TRUE(lease->next().ok());
    });
    for (const int player : live) {
      EXPECT_EQ(firsts[static_cast<std::size_t>(player)].ok(), firsts[std::size_t(live[0])].ok());
    }
    return firsts[static_cast<std::size_t>(live[0])];
  };
  EXPECT_EQ(lease_two(0, {0, 1}).value(), 0u);
  EXPECT_EQ(lease_two(0, {0, 2}).value(), 2u);  // player 2 was not there, player 0 was
  EXPECT_EQ(lease_two(0, {0, 1, 2}).value(), 4u);
  const auto without_owner = lease_two(0, {1, 2});
  ASSERT_FALSE(without_owner.ok());
  EXPECT_EQ(without_owner.error().code, ErrorCode::kConfig);
  EXPECT_EQ(without_owner.error().player, 0);
  EXPECT_EQ(lease_two(1, {1, 2}).value(), 0u);
  EXPECT_EQ(lease_two(1, {0, 1}).value(), 2u);
}

/// Leases until an error. Bundles are not read.
Result<void> lease_some(const Cluster& cluster, int player, Transport& transport,
                        const LeaseOptions& options, std::uint64_t steps) {
  BP_ASSIGN(Pool pool, cluster.open_pool(player));
  BP_ASSIGN(const Session session, Session::create_blocking(transport, in_ms(20000)));
  LeaseAgreement agreement(pool, transport, session, options);
  for (std::uint64_t step = 0; step < steps; ++step) {
    BP_TRY(agreement.acquire_blocking(step, 1, in_ms(0)));
  }
  return {};
}

TEST(LeaseRollback, OneThatRefusesStopsAllAndNothingIsLeased) {
  Cluster cluster(3);
  ASSERT_TRUE(cluster.site.publish_once(0, 12, 1).ok());
  const auto lease = [&](int refusing) {
    std::vector<Result<void>> results(3);
    cluster.run([&](int player, Transport& transport) {
      LeaseOptions options = cluster.lease_options(1);
      if (player == refusing) options.on_rollback = OnRollback::kRefuse;
      results[static_cast<std::size_t>(player)] =
          lease_some(cluster, player, transport, options, 2);
    });
    return results;
  };
  const MemoryDisk::Snapshot old = cluster.disk.save("/m2");
  for (const Result<void>& result : lease(0)) EXPECT_TRUE(result.ok());
  cluster.disk.restore("/m2", old);
  for (const Result<void>& result : lease(1)) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kPoolRolledBack) << result.error().message;
    EXPECT_EQ(result.error().player, 2);
    EXPECT_NE(result.error().message.find("says 0, but 2 was seen"), std::string::npos)
        << result.error().message;
  }
  for (int player = 0; player < 2; ++player) {
    EXPECT_EQ(cluster.open_pool(player)->watermark(test_key()).value(), 2u);
  }
  for (const Result<void>& result : lease(-1)) EXPECT_TRUE(result.ok());
  for (const Result<void>& result : lease(1)) EXPECT_TRUE(result.ok());  // it is healed
}

TEST(LeaseRollback, WhatThePeersBecameIsRememberedFromTheirLastDurable) {
  // Only one lease: the HELLOs said 0. What the peers said after it must have been kept.
  Cluster cluster(2);
  ASSERT_TRUE(cluster.site.publish_once(0, 12, 1).ok());
  cluster.run([&](int player, Transport& transport) {
    EXPECT_TRUE(lease_some(cluster, player, transport, cluster.lease_options(5), 1).ok());
  });
  cluster.disk.crash("/m0", Loss::kDropAll);
  EXPECT_EQ(cluster.open_pool(0)->witnesses(test_key()).value()[1], 1u);
}

}  // namespace
}  // namespace beaverpond::testing
