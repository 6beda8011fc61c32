#include "online/session/lease.h"

#include <gtest/gtest.h>

#include <mutex>
#include <set>

#include "tests/online/session/cluster.h"

namespace beaverpond::testing {
namespace {

struct Outcome {
  std::vector<std::uint64_t> numbers;
  std::optional<Error> error;
  std::vector<LeaseNotice> notices;
  std::uint64_t session = 0;
};

/// Every player leases until an error (by default a dry pool at once) and reads all it gets.
std::vector<Outcome> lease_all(Cluster& cluster, const LeaseOptions& base,
                               std::uint64_t steps = 1000, int patience_ms = 0) {
  std::vector<Outcome> outcomes(static_cast<std::size_t>(cluster.site.players));
  cluster.run([&](int player, Transport& transport) {
    Outcome& outcome = outcomes[static_cast<std::size_t>(player)];
    auto pool = cluster.open_pool(player);
    ASSERT_TRUE(pool.ok()) << pool.error().message;
    auto session = Session::create_blocking(transport, in_ms(20000));
    ASSERT_TRUE(session.ok()) << session.error().message;
    outcome.session = session->id();
    LeaseOptions options = base;
    options.on_notice = [&](const LeaseNotice& n) { outcome.notices.push_back(n); };
    LeaseAgreement agreement(*pool, transport, *session, options);
    std::uint64_t step = 0;
    while (step < steps) {
      auto lease = agreement.acquire_blocking(step, steps - step, in_ms(patience_ms));
      if (!lease.ok()) {
        outcome.error = lease.error();
        return;
      }
      while (lease->remaining() > 0) {
        auto bundle = lease->next();
        if (!bundle.ok()) {
          outcome.error = bundle.error();
          return;
        }
        outcome.numbers.push_back(bundle->number());
        ++step;
      }
    }
  });
  return outcomes;
}

std::vector<std::uint64_t> numbers(std::uint64_t first, std::uint64_t end) {
  std::vector<std::uint64_t> all;
  for (std::uint64_t n = first; n < end; ++n) all.push_back(n);
  return all;
}

TEST(Lease, AllPlayersGetTheSameNumbersOnce) {
  for (const int players : {2, 3, 4}) {
    Cluster cluster(players);
    ASSERT_TRUE(cluster.site.publish_once(0, 5, 1).ok());
    ASSERT_TRUE(cluster.site.publish_once(5, 4, 2).ok());
    ASSERT_TRUE(cluster.site.publish_once(20, 3, 3).ok());  // a hole before it
    std::vector<std::uint64_t> expected = numbers(0, 9);
    for (const std::uint64_t n : numbers(20, 23)) expected.push_back(n);
    const auto outcomes = lease_all(cluster, cluster.lease_options(7));
    for (const Outcome& outcome : outcomes) {
      EXPECT_EQ(outcome.numbers, expected);
      EXPECT_EQ(outcome.session, outcomes[0].session);
      ASSERT_NE(outcome.error, std::nullopt);
      EXPECT_EQ(outcome.error->code, ErrorCode::kPoolDry);
      EXPECT_NE(outcome.error->message.find("plan 5a5a5a5a5a5a5a5a"), std::string::npos);
    }
  }
}

TEST(Lease, LengthIsLimitedByStepsAndByTheHole) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.site.publish_once(0, 6, 1).ok());
  cluster.run([&](int player, Transport& transport) {
    auto pool = cluster.open_pool(player);
    auto session = Session::create_blocking(transport, in_ms(20000));
    // The players' k differ: the smaller counts.
    LeaseAgreement agreement(*pool, transport, *session,
                             cluster.lease_options(player == 0 ? 4 : 100));
    auto one = agreement.acquire_blocking(0, 3, in_ms(0));
    ASSERT_TRUE(one.ok());
    EXPECT_EQ(one->end(), 3u);
    auto two = agreement.acquire_blocking(3, 50, in_ms(0));  // while the first is still held
    ASSERT_TRUE(two.ok());
    EXPECT_EQ(two->first(), 3u);
    EXPECT_EQ(two->end(), 6u);
    auto bundle = two->next();
    ASSERT_TRUE(bundle.ok());
    cluster.site.expect_bundle(*bundle, player, 1, 3);
    auto early = one->next();
    ASSERT_TRUE(early.ok());
    cluster.site.expect_bundle(*early, player, 1, 0);
  });
}

TEST(Lease, DroppedLeaseIsBurned) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.site.publish_once(0, 6, 1).ok());
  cluster.run([&](int player, Transport& transport) {
    auto pool = cluster.open_pool(player);
    auto session = Session::create_blocking(transport, in_ms(20000));
    LeaseAgreement agreement(*pool, transport, *session, cluster.lease_options(4));
    { ASSERT_TRUE(agreement.acquire_blocking(0, 9, in_ms(0)).ok()); }
    auto next = agreement.acquire_blocking(0, 9, in_ms(0));
    ASSERT_TRUE(next.ok());
    EXPECT_EQ(next->first(), 4u);
  });
}

TEST(Lease, WaitsTogetherUntilTheFactoryPublishes) {
  Cluster cluster(3);
  std::thread factory([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    EXPECT_TRUE(cluster.site.publish_once(0, 4, 1).ok());
  });
  const auto outcomes = lease_all(cluster, cluster.lease_options(4), 4, 10000);
  factory.join();
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.error, std::nullopt);
    EXPECT_EQ(outcome.numbers, numbers(0, 4));
    ASSERT_FALSE(outcome.notices.empty());
    EXPECT_NE(outcome.notices[0].message.find("waiting for bundles"), std::string::npos);
  }
}

TEST(Lease, DryPoolEndsForAllInTheSameRound) {
  Cluster cluster(3);
  std::vector<std::size_t> rounds(3);
  cluster.run([&](int player, Transport& transport) {
    auto pool = cluster.open_pool(player);
    auto session = Session::create_blocking(transport, in_ms(20000));
    LeaseOptions options = cluster.lease_options(4);
    options.on_notice = [&](const LeaseNotice&) { ++rounds[static_cast<std::size_t>(player)]; };
    LeaseAgreement agreement(*pool, transport, *session, options);
    // Only player 1 is in a hurry.
    const auto lease = agreement.acquire_blocking(0, 9, in_ms(player == 1 ? 40 : 100000));
    ASSERT_FALSE(lease.ok());
    EXPECT_EQ(lease.error().code, ErrorCode::kPoolDry);
  });
  EXPECT_GE(rounds[0], 1u);
  EXPECT_EQ(rounds[0], rounds[1]);
  EXPECT_EQ(rounds[0], rounds[2]);
}

TEST(Lease, HalfPublishedRangeIsNeverLeased) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.site.publish_once(0, 4, 1).ok());
  ASSERT_TRUE(cluster.site.publish_once(4, 4, 2).ok());
  const PublishedRange half{0, 4, test_set_id(1)};
  ASSERT_TRUE(cluster.disk.unlink(cluster.site.segment_path(1, half)).ok());
  for (const Outcome& outcome : lease_all(cluster, cluster.lease_options(8))) {
    EXPECT_EQ(outcome.numbers, numbers(4, 8));
  }
}

TEST(Lease, SameNumbersUnderAnotherSetIdAreNotCommon) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.site.publish_once(0, 4, 1).ok());
  ASSERT_TRUE(cluster.disk.unlink(cluster.site.segment_path(0, {0, 4, test_set_id(1)})).ok());
  ASSERT_TRUE(cluster.site.publish_once(0, 4, 2).ok());
  ASSERT_TRUE(cluster.disk.unlink(cluster.site.segment_path(1, {0, 4, test_set_id(2)})).ok());
  for (const Outcome& outcome : lease_all(cluster, cluster.lease_options(8))) {
    EXPECT_TRUE(outcome.numbers.empty());
    EXPECT_EQ(outcome.error->code, ErrorCode::kPoolDry);
  }
}

TEST(Lease, RolledBackLedgerBurnsToTheMaximumAndIsReported) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.site.publish_once(0, 12, 1).ok());
  const std::string ledger = lane_directory(cluster.site.directory(0), test_key()) + "/ledger";
  (void)lease_all(cluster, cluster.lease_options(2), 2);
  const std::vector<std::uint8_t> snapshot = cluster.disk.content(ledger);
  (void)lease_all(cluster, cluster.lease_options(2), 4);
  cluster.disk.content(ledger) = snapshot;
  const auto outcomes = lease_all(cluster, cluster.lease_options(2), 2);
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.numbers, numbers(6, 8));
    ASSERT_EQ(outcome.notices.size(), 1u);
    EXPECT_EQ(outcome.notices[0].kind, LeaseNotice::Kind::kRollback);
    EXPECT_EQ(outcome.notices[0].player, 0);
  }
}

TEST(Lease, LostLedgerBurnsToTheMaximum) {
  Cluster cluster(3);
  ASSERT_TRUE(cluster.site.publish_once(0, 12, 1).ok());
  (void)lease_all(cluster, cluster.lease_options(2), 4);
  const std::string ledger = lane_directory(cluster.site.directory(2), test_key()) + "/ledger";
  ASSERT_TRUE(cluster.disk.unlink(ledger).ok());
  for (const Outcome& outcome : lease_all(cluster, cluster.lease_options(2), 2)) {
    EXPECT_EQ(outcome.numbers, numbers(4, 6));
  }
}

TEST(Lease, DifferentPlanEpochOrRosterNamesThePlayer) {
  for (const int what : {0, 1, 2, 3}) {
    Cluster cluster(3);
    cluster.run([&](int player, Transport& transport) {
      PoolOptions pool_options = cluster.site.pool_options(player);
      LeaseOptions options = cluster.lease_options(2);
      if (player == 2) {
        if (what == 0) options.key.plan[31] ^= 1;
        if (what == 1) ++pool_options.identity.epoch;
        if (what == 2) pool_options.identity.roster_hash[0] ^= 1;
        if (what == 3) pool_options.identity.pool_id[0] ^= 1;
      }
      auto pool = Pool::open(pool_options);
      auto session = Session::create_blocking(transport, in_ms(20000));
      LeaseAgreement agreement(*pool, transport, *session, options);
      const auto lease = agreement.acquire_blocking(0, 9, in_ms(1000));
      ASSERT_FALSE(lease.ok());
      EXPECT_EQ(lease.error().code, ErrorCode::kRosterMismatch) << lease.error().message;
      EXPECT_EQ(lease.error().player, player == 2 ? 0 : 2);
    });
  }
}

TEST(Lease, DifferentStepsAreAProtocolMismatch) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.site.publish_once(0, 4, 1).ok());
  cluster.run([&](int player, Transport& transport) {
    auto pool = cluster.open_pool(player);
    auto session = Session::create_blocking(transport, in_ms(20000));
    LeaseAgreement agreement(*pool, transport, *session, cluster.lease_options(2));
    const auto lease = agreement.acquire_blocking(static_cast<std::uint64_t>(player), 9, in_ms(0));
    ASSERT_FALSE(lease.ok());
    EXPECT_EQ(lease.error().code, ErrorCode::kProtocolMismatch);
  });
}

TEST(Lease, FailedSyncOfOnePlayerStopsAllAndBurns) {
  Cluster cluster(3);
  ASSERT_TRUE(cluster.site.publish_once(0, 6, 1).ok());
  cluster.run([&](int player, Transport& transport) {
    auto pool = cluster.open_pool(player);
    auto session = Session::create_blocking(transport, in_ms(20000));
    ASSERT_TRUE(pool->ranges(test_key()).ok());  // the ledger exists, the segment is imported
    if (player == 1) cluster.disk.fail_sync("/m1", 0);
    LeaseAgreement agreement(*pool, transport, *session, cluster.lease_options(2));
    const auto lease = agreement.acquire_blocking(0, 9, in_ms(0));
    ASSERT_FALSE(lease.ok());
    EXPECT_EQ(lease.error().code, player == 1 ? ErrorCode::kIo : ErrorCode::kPeerLost);
    if (player != 1) {
      EXPECT_EQ(lease.error().player, 1);
    }
  });
  for (int player = 0; player < 3; ++player) {
    cluster.disk.crash("/m" + std::to_string(player), Loss::kDropAll);
  }
  for (const Outcome& outcome : lease_all(cluster, cluster.lease_options(2))) {
    EXPECT_EQ(outcome.numbers, numbers(2, 6));
  }
}

TEST(Lease, CorruptPoolOfOnePlayerIsNamedToTheOthers) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.site.publish_once(0, 4, 1).ok());
  cluster.disk.content(cluster.site.segment_path(0, {0, 4, test_set_id(1)}))[9] ^= 1;
  const auto outcomes = lease_all(cluster, cluster.lease_options(2));
  EXPECT_EQ(outcomes[0].error->code, ErrorCode::kPoolCorrupt);
  EXPECT_EQ(outcomes[1].error->code, ErrorCode::kPeerLost);
  EXPECT_EQ(outcomes[1].error->player, 0);
}

TEST(Lease, PeerLostAfterHelloBurnsTheRange) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.site.publish_once(0, 6, 1).ok());
  cluster.run([&](int player, Transport& transport) {
    auto pool = cluster.open_pool(player);
    auto session = Session::create_blocking(transport, in_ms(20000));
    if (player == 1) {  // says HELLO, then dies
      Hello hello;
      hello.pool = test_identity(1, 2);
      hello.session = session->id();
      hello.live = all_players(2);
      hello.steps = 2;
      hello.classes = {{test_key(), 1, 0, {0, 0}, pool->ranges(test_key()).value()}};
      Tag tag{session->id(), 1, 0, kHelloOperation};
      ASSERT_TRUE(
          transport.all_gather_messages_blocking(encode_hello(hello), tag, in_ms(20000)).ok());
      abandon(transport);
      return;
    }
    LeaseAgreement agreement(*pool, transport, *session, cluster.lease_options(2));
    const auto lease = agreement.acquire_blocking(0, 9, in_ms(1000));
    ASSERT_FALSE(lease.ok());
    EXPECT_EQ(lease.error().code, ErrorCode::kPeerLost) << lease.error().message;
    EXPECT_EQ(lease.error().player, 1);
  });
  for (const Outcome& outcome : lease_all(cluster, cluster.lease_options(2))) {
    EXPECT_EQ(outcome.numbers, numbers(2, 6));  // 0 and 1 are burned
  }
}

TEST(Lease, EverySessionHasItsOwnId) {
  Cluster cluster(2);
  std::set<std::uint64_t> ids;
  for (int i = 0; i < 5; ++i) {
    const auto outcomes = lease_all(cluster, cluster.lease_options(1));
    EXPECT_EQ(outcomes[0].session, outcomes[1].session);
    EXPECT_TRUE(ids.insert(outcomes[0].session).second);
  }
}

TEST(Session, BeginsTheEpochAfterTheLatestThatAnybodyKnows) {
  Cluster cluster(3);
  cluster.run([&](int player, Transport& transport) {
    // One was lost and knows nothing, one was in the last epoch, one was not.
    const std::uint64_t known[] = {0, 4, 2};
    const auto session =
        Session::create_blocking(transport, in_ms(20000), fill_random_blocking, known[player]);
    ASSERT_TRUE(session.ok()) << session.error().message;
    EXPECT_EQ(session->epoch(), 5u);
    // Nobody drives the others to the end of the numbers.
    const auto absurd = Session::create_blocking(transport, in_ms(20000), fill_random_blocking,
                                                 player == 1 ? ~std::uint64_t{0} : 5);
    ASSERT_FALSE(absurd.ok());
    EXPECT_EQ(absurd.error().code, ErrorCode::kProtocolMismatch);
    EXPECT_EQ(absurd.error().player, 1);
  });
}

}  // namespace
}  // namespace beaverpond::testing
