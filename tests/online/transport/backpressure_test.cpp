// What nobody asks for: it is held back at its sender, and holds up nobody else.
#include <gtest/gtest.h>

#include <algorithm>

#include "online/transport/outbox.h"
#include "tests/online/transport/players.h"

namespace beaverpond {
namespace {

using testing::in_ms;

constexpr std::size_t kLarge = std::size_t{8} << 20;
constexpr std::size_t kMessages = 40;

TEST(Backpressure, ALaneThatNobodyAsksForIsPausedAndAnotherFlows) {
  auto players = testing::make_tls_transports(2);
  std::vector<std::uint8_t> sent(kLarge);
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<std::uint8_t>(i / 999);
  const auto tag = [](std::size_t i) {
    return Tag{.lane = 1, .operation = static_cast<std::uint32_t>(i)};
  };
  std::vector<Operation> sends;
  for (std::size_t i = 0; i < kMessages; ++i) {
    sends.push_back(players[0]->start_send(1, sent, tag(i), kHostStream));
  }
  const Deadline patience = in_ms(20'000);
  while (players[1]->stats().received_bytes <= Inbox::kPauseBytes && in_ms(0) < patience) {
    std::this_thread::yield();
  }
  // The last send cannot end, and the time in which it does not is its own.
  const Result<void> late = sends.back().wait(in_ms(400));
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(late.error().player, 1);
  const std::uint64_t held = players[1]->stats().received_bytes;
  EXPECT_GT(held, Inbox::kPauseBytes);
  // One message was begun by then, and another may have come while the pause was on its way.
  EXPECT_LE(held, Inbox::kPauseBytes + 4 * kLarge);
  testing::run_players(2, [&](int rank) {
    for (std::uint32_t i = 0; i < 50; ++i) {
      std::vector<std::uint64_t> words(20'000, i);
      const Result<void> result = players[static_cast<std::size_t>(rank)]->all_reduce_blocking(
          words, ReduceOp::kSum, {.lane = 2, .operation = i}, in_ms(20'000));
      ASSERT_TRUE(result.ok()) << result.error().message;
      EXPECT_EQ(words.back(), 2 * i);
    }
  });
  // Whoever asks gets all of it, in order.
  std::vector<std::uint8_t> got(kLarge);
  for (std::size_t i = 0; i < kMessages; ++i) {
    const Result<void> result = players[1]->recv_blocking(0, got, tag(i), in_ms(20'000));
    ASSERT_TRUE(result.ok()) << result.error().message;
    EXPECT_TRUE(got == sent);
  }
  sends.pop_back();
  for (Operation& send : sends) EXPECT_TRUE(send.wait(in_ms(20'000)).ok());
}

TEST(Backpressure, WhoLeavesSendsWhatWasHeldBack) {
  auto players = testing::make_tls_transports(2);
  const std::vector<std::uint8_t> small(Outgoing::kCopiedBytes, 5);
  const std::uint32_t many = Inbox::kPauseBytes / Outgoing::kCopiedBytes + 2'000;
  for (std::uint32_t i = 0; i < many; ++i) {
    ASSERT_TRUE(
        players[0]->send_blocking(1, small, {.lane = 1, .operation = i}, in_ms(20'000)).ok());
  }
  players[0].reset();
  std::vector<std::uint8_t> got(small.size());
  for (std::uint32_t i = 0; i < many; ++i) {
    const Result<void> result =
        players[1]->recv_blocking(0, got, {.lane = 1, .operation = i}, in_ms(20'000));
    ASSERT_TRUE(result.ok()) << i << ": " << result.error().message;
  }
}

TEST(Backpressure, AWaitForALaterStepOfARingPausesNothing) {
  Inbox inbox(2);
  std::vector<bool> told;
  inbox.on_flow([&](int, std::uint32_t, bool pause) { told.push_back(pause); });
  for (std::uint32_t i = 0; i < 3; ++i) {
    inbox.deliver(1, {.operation = i, .step = 2}, MessageBuffer(Inbox::kPauseBytes / 2));
  }
  EXPECT_TRUE(told.empty());
  inbox.deliver(1, {.operation = 9}, MessageBuffer(1));
  EXPECT_EQ(told, (std::vector<bool>{true}));
  inbox.deliver(1, {.operation = 10}, MessageBuffer(1));
  EXPECT_EQ(told, (std::vector<bool>{true}));  // once
  (void)inbox.expect(1, {.operation = 9}, 1);
  EXPECT_EQ(told, (std::vector<bool>{true}));
  (void)inbox.expect(1, {.operation = 10}, 1);  // none is left: whoever asks next must get it
  EXPECT_EQ(told, (std::vector<bool>{true, false}));
}

/// Everything that may go out, as if over a connection.
std::size_t pump(Outbox& out) {
  std::size_t frames = 0;
  while (const auto frame = out.next()) {
    out.sent(*frame);
    ++frames;
  }
  return frames;
}

TEST(Outbox, WhatIsKeptIsBoundedAndGoesWhenItIsAcknowledged) {
  Outbox out(2);
  out.keep_frames();
  const std::vector<std::uint8_t> small(10'000, 1);
  const std::size_t fit = Outbox::kMostKept / (small.size() + Outbox::kFrameCost);
  for (std::size_t i = 0; i < 2 * fit; ++i) out.post(std::make_shared<Outgoing>(1, Tag{}, small));
  const std::size_t went = pump(out);
  EXPECT_NEAR(static_cast<double>(went), static_cast<double>(fit), 2);
  EXPECT_LE(out.kept_bytes(), Outbox::kMostKept + 2 * small.size());
  out.post_control(FrameType::kHeartbeat, {});  // controls go on
  EXPECT_EQ(pump(out), 1u);
  ASSERT_TRUE(out.acknowledge(2 + went / 2).ok());
  EXPECT_NEAR(static_cast<double>(pump(out)), static_cast<double>(went / 2), 2);
  ASSERT_FALSE(out.acknowledge(1'000'000).ok());
}

TEST(Outbox, ALargeMessageIsItsCallersAgainWhenItsTailFits) {
  Outbox out(2);
  out.keep_frames();
  std::vector<std::uint8_t> large(Outbox::kMostKept + 4 * kPieceBytes);
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<std::uint8_t>(i / 1009);
  const std::vector<std::uint8_t> as_posted = large;
  auto message = std::make_shared<Outgoing>(1, Tag{}, large);
  out.post(message);
  const std::size_t frames = pump(out);
  EXPECT_EQ(frames, large.size() / kPieceBytes);
  EXPECT_FALSE(message->consumed());  // more than may be kept
  EXPECT_LT(out.kept_bytes(), std::size_t{1} << 20);
  ASSERT_TRUE(out.acknowledge(2 + 5).ok());
  EXPECT_TRUE(message->consumed());
  EXPECT_TRUE(out.take_consumed());
  EXPECT_LE(out.kept_bytes(), Outbox::kMostKept);
  std::fill(large.begin(), large.end(), std::uint8_t{0});
  ASSERT_TRUE(out.go_on_from(2 + 6).ok());
  for (std::size_t i = 6; i < frames; ++i) {
    const auto frame = out.next();
    ASSERT_TRUE(frame.has_value());
    EXPECT_EQ(frame->sequence, 2 + i);
    frame->message->read(frame->offset, frame->size, [&](std::span<const std::uint8_t> bytes) {
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(),
                             as_posted.begin() + static_cast<std::ptrdiff_t>(frame->offset)));
    });
    out.sent(*frame);
  }
  ASSERT_TRUE(out.acknowledge(2 + frames).ok());
  EXPECT_EQ(out.kept_bytes(), 0u);
}

}  // namespace
}  // namespace beaverpond
