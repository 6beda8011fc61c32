#include "online/session/lease_messages.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {
namespace {

Hello make_hello(int player, std::vector<PublishedRange> published) {
  Hello hello;
  hello.pool = test_identity(player, 2);
  hello.key = test_key(3);
  hello.session = 0x1122334455667788;
  hello.step = 17;
  hello.wanted = 10;
  hello.watermark = 4;
  hello.witnesses = {4, 2};
  hello.published = std::move(published);
  return hello;
}

TEST(LeaseMessages, HelloRoundTrips) {
  Hello hello = make_hello(1, {{4, 6, test_set_id(1)}, {10, 2, test_set_id(2)}});
  hello.gave_up = true;
  hello.failed = 6;
  const auto back = decode_hello(encode_hello(hello));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->pool, hello.pool);
  EXPECT_EQ(back->key, hello.key);
  EXPECT_EQ(back->session, hello.session);
  EXPECT_EQ(back->step, 17u);
  EXPECT_EQ(back->wanted, 10u);
  EXPECT_EQ(back->watermark, 4u);
  EXPECT_EQ(back->witnesses, hello.witnesses);
  EXPECT_EQ(back->published, hello.published);
  EXPECT_TRUE(back->gave_up);
  EXPECT_EQ(back->failed, 6);
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
    (void)decide_lease({hello.value(), make_hello(1, {{4, 6, test_set_id(1)}})});
  }
  Durable durable;
  durable.end = 5;
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
  EXPECT_EQ(decode_hello(encode_hello(make_hello(0, many)))->published.size(), kMaxHelloRanges);
}

TEST(LeaseDecision, StartsAboveEveryWatermarkAndWitness) {
  const std::vector<PublishedRange> ranges{{0, 20, test_set_id(1)}, {20, 20, test_set_id(2)}};
  Hello a = make_hello(0, ranges);
  Hello b = make_hello(1, ranges);
  EXPECT_EQ(decide_lease({a, b}).first, 4u);
  b.watermark = 7;
  EXPECT_EQ(decide_lease({a, b}).first, 7u);
  a.witnesses = {0, 15};
  const LeaseDecision decision = decide_lease({a, b});
  EXPECT_EQ(decision.first, 15u);
  EXPECT_EQ(decision.end, 25u);
  EXPECT_EQ(decision.segments, ranges);
  a.witnesses = {0, 1000};
  EXPECT_TRUE(decide_lease({a, b}).empty());
}

TEST(LeaseDecision, OverlappingRangesAreNotJoined) {
  const std::vector<PublishedRange> ranges{{0, 8, test_set_id(1)}, {6, 8, test_set_id(2)}};
  const LeaseDecision decision = decide_lease({make_hello(0, ranges), make_hello(1, ranges)});
  EXPECT_EQ(decision.first, 4u);
  EXPECT_EQ(decision.end, 8u);
  EXPECT_EQ(decision.segments.size(), 1u);
}

}  // namespace
}  // namespace beaverpond::testing
