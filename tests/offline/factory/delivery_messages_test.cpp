#include "offline/factory/delivery_messages.h"

#include <gtest/gtest.h>

namespace beaverpond::testing {
namespace {

LaneRange range_of(std::uint8_t tag, std::uint64_t first) {
  LaneRange what;
  what.key.plan.fill(tag);
  what.key.lane = tag * 7u;
  what.range = {first, 16, {}};
  what.range.set_id.fill(static_cast<std::uint8_t>(tag + 1));
  return what;
}

SyncRequest request_example() {
  SyncRequest request;
  request.lanes = {{range_of(1, 0).key, 17}, {range_of(2, 0).key, kMaxReportedWatermark}};
  request.staged = {range_of(1, 32), range_of(2, 0)};
  return request;
}

SyncAnswer answer_example() {
  SyncAnswer answer;
  answer.lanes = {range_of(1, 0).key, range_of(2, 0).key};
  answer.offers = {{range_of(1, 48), 123456}, {range_of(2, 16), 1}};
  answer.publish = {range_of(1, 32)};
  answer.drop = {range_of(2, 0)};
  return answer;
}

TEST(DeliveryMessages, ComeBackAsTheyWere) {
  EXPECT_EQ(decode_sync_request(encode_sync_request(request_example())).value(), request_example());
  EXPECT_EQ(decode_sync_request(encode_sync_request({})).value(), SyncRequest{});
  EXPECT_EQ(decode_sync_answer(encode_sync_answer(answer_example())).value(), answer_example());
  EXPECT_EQ(decode_sync_answer(encode_sync_answer({})).value(), SyncAnswer{});
  const LaneRange what = range_of(3, 5);
  EXPECT_EQ(parse_lane_range(lane_range_path(what)), what);
}

TEST(DeliveryMessages, WhatIsDamagedIsRefusedOrAnotherMessageNeverTheSame) {
  const std::string request = encode_sync_request(request_example());
  const std::string answer = encode_sync_answer(answer_example());
  for (std::size_t size = 0; size < request.size(); ++size) {
    const auto decoded = decode_sync_request(request.substr(0, size));
    EXPECT_FALSE(decoded.ok() && *decoded == request_example()) << size;
  }
  for (std::size_t i = 0; i < answer.size(); ++i) {
    for (const char c : {'\0', '\n', ' ', '-', 'f', '0', 'z', '\xff'}) {
      std::string damaged = answer;
      if (damaged[i] == c) continue;
      damaged[i] = c;
      const auto decoded = decode_sync_answer(damaged);
      EXPECT_FALSE(decoded.ok() && *decoded == answer_example()) << i;
      if (decoded.ok()) {
        EXPECT_EQ(encode_sync_answer(*decoded), damaged);
      }
    }
  }
  for (std::size_t i = 0; i < request.size(); ++i) {
    std::string damaged = request;
    damaged[i] ^= 1;
    const auto decoded = decode_sync_request(damaged);
    if (decoded.ok()) {
      EXPECT_EQ(encode_sync_request(*decoded), damaged);
    } else {
      EXPECT_EQ(decoded.error().code, ErrorCode::kProtocolMismatch);
    }
  }
}

TEST(DeliveryMessages, BoundsAndPathsAreChecked) {
  SyncRequest request = request_example();
  request.lanes[0].watermark = kMaxReportedWatermark + 1;
  EXPECT_FALSE(decode_sync_request(encode_sync_request(request)).ok());
  const std::string good = lane_range_path(range_of(1, 0));
  EXPECT_TRUE(parse_lane_range(good).has_value());
  std::string upper = good;
  upper[0] = 'A';
  for (const std::string& bad :
       {std::string(), std::string("/"), "/" + good, good + "/", "../" + good,
        good.substr(0, 64) + "/../x.seg", good.substr(1), upper}) {
    EXPECT_FALSE(parse_lane_range(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace beaverpond::testing
