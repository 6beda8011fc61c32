#include "online/session/lease_messages.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {
namespace {

Hello make_hello(int player, std::vector<PublishedRange> published, int players = 2) {
  Hello hello;
  hello.pool = test_identity(player, players);
  hello.session = 0x1122334455667788;
  hello.step = 17;
  hello.live = all_players(players);
  hello.steps = 10;
  hello.classes = {{test_key(), 1, 4, {4, 2}, std::move(published)}};
  hello.classes[0].witnesses.resize(static_cast<std::size_t>(players));
  return hello;
}

/// A class of another plan, in its place behind test_key().
ClassState second_class(std::vector<PublishedRange> published, std::uint64_t per_step) {
  ClassState state{test_key(), per_step, 0, {0, 0}, std::move(published)};
  state.key.plan.fill(0x77);
  return state;
}

TEST(LeaseMessages, HelloRoundTrips) {
  Hello hello = make_hello(1, {{4, 6, test_set_id(1)}, {10, 2, test_set_id(2)}});
  hello.gave_up = true;
  hello.refuses_rollback = true;
  hello.failed = 6;
  hello.live = 0x8000000000000003;
  hello.classes.push_back(second_class({{1, 1, test_set_id(3)}}, 5));
  const auto back = decode_hello(encode_hello(hello));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->pool, hello.pool);
  EXPECT_EQ(back->session, hello.session);
  EXPECT_EQ(back->step, 17u);
  EXPECT_EQ(back->steps, 10u);
  EXPECT_EQ(back->live, hello.live);
  EXPECT_TRUE(back->gave_up);
  EXPECT_TRUE(back->refuses_rollback);
  EXPECT_EQ(back->failed, 6);
  ASSERT_EQ(back->classes.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(back->classes[i].key, hello.classes[i].key);
    EXPECT_EQ(back->classes[i].per_step, hello.classes[i].per_step);
    EXPECT_EQ(back->classes[i].watermark, hello.classes[i].watermark);
    EXPECT_EQ(back->classes[i].witnesses, hello.classes[i].witnesses);
    EXPECT_EQ(back->classes[i].published, hello.classes[i].published);
  }
}

TEST(LeaseMessages, MalformedMessagesAreErrorsNotCrashes) {
  const auto good = encode_hello(make_hello(0, {{4, 6, test_set_id(1)}}));
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(decode_hello(std::span(good).first(size)).ok());
  }
  std::mt19937_64 random(5);
  for (int i = 0; i < 20000; ++i) {
    auto bytes = good;
    for (int j = 0; j < 3; ++j) {
      bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
    }
    auto hello = decode_hello(bytes);
    if (!hello.ok()) continue;
    const std::vector<Hello> both{hello.value(), make_hello(1, {{4, 6, test_set_id(1)}})};
    if (!check_hellos(both, 1).ok()) continue;
    const LeaseDecision decision = decide_lease(both);
    if (!decision.empty()) {
      EXPECT_LE(decision.classes[0].end, 10u);
    }
    (void)find_rollbacks(both);
  }
  Durable durable;
  durable.ranges = {{1, 5}, {7, 9}};
  const auto message = encode_durable(durable);
  EXPECT_EQ(decode_durable(message).value(), durable);
  for (std::size_t size = 0; size < message.size(); ++size) {
    EXPECT_FALSE(decode_durable(std::span(message).first(size)).ok());
  }
  EXPECT_FALSE(
      decode_hello(encode_hello(make_hello(0, {{9, 1, test_set_id(1)}, {4, 1, test_set_id(2)}})))
          .ok());
}

TEST(LeaseMessages, LongListsAreCut) {
  std::vector<PublishedRange> many;
  for (std::uint64_t i = 0; i < kMaxHelloRanges + 10; ++i) {
    many.push_back({i * 2, 1, test_set_id(i)});
  }
  EXPECT_EQ(decode_hello(encode_hello(make_hello(0, many)))->classes[0].published.size(),
            kMaxHelloRanges);
}

TEST(LeaseDecision, StartsAboveEveryWatermarkAndWitness) {
  const std::vector<PublishedRange> ranges{{0, 20, test_set_id(1)}, {20, 20, test_set_id(2)}};
  Hello a = make_hello(0, ranges);
  Hello b = make_hello(1, ranges);
  EXPECT_EQ(decide_lease({a, b}).classes[0].first, 4u);
  b.classes[0].watermark = 7;
  EXPECT_EQ(decide_lease({a, b}).classes[0].first, 7u);
  a.classes[0].witnesses = {0, 15};
  const ClassDecision decision = decide_lease({a, b}).classes[0];
  EXPECT_EQ(decision.first, 15u);
  EXPECT_EQ(decision.end, 25u);
  EXPECT_EQ(decision.segments, ranges);
  a.classes[0].witnesses = {0, 1000};
  EXPECT_TRUE(decide_lease({a, b}).empty());
}

TEST(LeaseDecision, OverlappingRangesAreNotJoined) {
  const std::vector<PublishedRange> ranges{{0, 8, test_set_id(1)}, {6, 8, test_set_id(2)}};
  const ClassDecision decision =
      decide_lease({make_hello(0, ranges), make_hello(1, ranges)}).classes[0];
  EXPECT_EQ(decision.first, 4u);
  EXPECT_EQ(decision.end, 8u);
  EXPECT_EQ(decision.segments.size(), 1u);
}

TEST(LeaseDecision, AllClassesOrNone) {
  const std::vector<PublishedRange> ranges{{0, 20, test_set_id(1)}};
  std::vector<Hello> hellos{make_hello(0, ranges), make_hello(1, ranges)};
  for (Hello& hello : hellos) {
    hello.classes.push_back(second_class({{0, 7, test_set_id(2)}}, 3));
  }
  LeaseDecision decision = decide_lease(hellos);
  EXPECT_EQ(decision.steps, 2u);  // the second class serves two steps of three bundles each
  EXPECT_EQ(decision.classes[0].end - decision.classes[0].first, 2u);
  EXPECT_EQ(decision.classes[1].end - decision.classes[1].first, 6u);
  hellos[1].classes[1].watermark = 5;  // leaves two, and a step needs three
  decision = decide_lease(hellos);
  EXPECT_TRUE(decision.empty());
  for (const ClassDecision& one : decision.classes) {
    EXPECT_EQ(one.first, one.end);
    EXPECT_TRUE(one.segments.empty());
  }
}

TEST(LeaseDecision, RunTooShortForAStepIsPassedOver) {
  const std::vector<PublishedRange> ranges{{0, 20, test_set_id(1)}};
  std::vector<Hello> hellos{make_hello(0, ranges), make_hello(1, ranges)};
  const std::vector<PublishedRange> holes{{0, 2, test_set_id(2)}, {5, 4, test_set_id(3)}};
  for (Hello& hello : hellos) hello.classes.push_back(second_class(holes, 3));
  const LeaseDecision decision = decide_lease(hellos);
  EXPECT_EQ(decision.steps, 1u);
  EXPECT_EQ(decision.classes[1].first, 5u);
  EXPECT_EQ(decision.classes[1].end, 8u);
}

TEST(LeaseDecision, OnlyWithTheOwnerOfTheLane) {
  const std::vector<PublishedRange> ranges{{0, 20, test_set_id(1)}};
  std::vector<Hello> hellos{make_hello(0, ranges, 3), make_hello(2, ranges, 3)};
  for (Hello& hello : hellos) hello.live = 0b101;
  for (const std::uint32_t lane : {0u, 1u, 2u, 3u, 4u}) {
    for (Hello& hello : hellos) hello.classes[0].key.lane = lane;
    const auto checked = check_hellos(hellos, 2);
    EXPECT_EQ(checked.ok(), lane % 3 != 1);
    if (checked.ok()) continue;
    EXPECT_EQ(checked.error().code, ErrorCode::kConfig);
    EXPECT_EQ(checked.error().player, 1);
  }
  hellos[0].live = 0b111;
  EXPECT_EQ(check_hellos(hellos, 2).error().code, ErrorCode::kRosterMismatch);
}

TEST(LeaseDecision, OtherNeedsAreARosterMismatch) {
  std::vector<Hello> hellos{make_hello(0, {}), make_hello(1, {})};
  hellos[1].classes.push_back(second_class({}, 1));
  EXPECT_EQ(check_hellos(hellos, 0).error().code, ErrorCode::kRosterMismatch);
  hellos[0].classes.push_back(second_class({}, 2));
  EXPECT_EQ(check_hellos(hellos, 0).error().code, ErrorCode::kRosterMismatch);
  hellos[0].classes[1].per_step = 1;
  EXPECT_TRUE(check_hellos(hellos, 0).ok());
}

TEST(LeaseDecision, RollbackIsNamedByWhoeverRemembers) {
  std::vector<Hello> hellos{make_hello(0, {}), make_hello(1, {})};
  EXPECT_TRUE(find_rollbacks(hellos).empty());
  hellos[0].classes[0].witnesses = {4, 9};
  const auto found = find_rollbacks(hellos);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].player, 1);
  EXPECT_EQ(found[0].says, 4u);
  EXPECT_EQ(found[0].seen, 9u);
}

}  // namespace
}  // namespace beaverpond::testing
