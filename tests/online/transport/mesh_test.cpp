// What goes wrong between operations, over the local mesh: exact, since nothing waits for a
// network.
#include "online/transport/mesh.h"

#include <gtest/gtest.h>

#include <atomic>

#include "online/transport/frame.h"
#include "online/transport/inbox.h"
#include "tests/online/transport/players.h"

namespace beaverpond {
namespace {

using testing::in_ms;
using testing::run_players;
using testing::seconds_since;

constexpr Tag kTag{.session = 1, .bundle = 2, .lane = 0, .operation = 3};

Tag operation(std::uint32_t number) {
  Tag tag = kTag;
  tag.operation = number;
  return tag;
}

TEST(Mesh, ATagThatDiffersInAnyFieldIsAMismatchAndNeverData) {
  for (int field = 0; field < 3; ++field) {
    auto transports = make_local_transports(2);
    Tag other = kTag;
    if (field == 0) other.session = 9;
    if (field == 1) other.bundle = 9;
    if (field == 2) other.operation = 9;
    std::vector<std::uint64_t> words(4, 1);
    std::vector<std::uint64_t> others(4, 2);
    Operation mine = transports[0]->start_all_reduce(words, ReduceOp::kSum, kTag, kHostStream);
    Operation theirs = transports[1]->start_all_reduce(others, ReduceOp::kSum, other, kHostStream);
    for (Operation* pending : {&mine, &theirs}) {
      const Result<void> result = pending->wait(in_ms(5000));
      ASSERT_FALSE(result.ok());
      EXPECT_EQ(result.error().code, ErrorCode::kProtocolMismatch);
      EXPECT_NE(result.error().message.find("where session"), std::string::npos);
    }
    EXPECT_EQ(words, std::vector<std::uint64_t>(4, 1));
    EXPECT_EQ(others, std::vector<std::uint64_t>(4, 2));
    // The order of messages is lost for good.
    const Result<void> later =
        transports[0]->all_reduce_blocking(words, ReduceOp::kSum, kTag, in_ms(5000));
    EXPECT_EQ(later.error().code, ErrorCode::kProtocolMismatch);
  }
}

TEST(Mesh, AnotherLaneWaits) {
  auto transports = make_local_transports(2);
  Tag lane_1 = kTag;
  lane_1.lane = 1;
  std::vector<std::uint8_t> a = {1};
  std::vector<std::uint8_t> b = {2};
  std::vector<std::uint8_t> got_a(1);
  std::vector<std::uint8_t> got_b(1);
  ASSERT_TRUE(transports[0]->send_blocking(1, a, kTag, in_ms(5000)).ok());
  ASSERT_TRUE(transports[0]->send_blocking(1, b, lane_1, in_ms(5000)).ok());
  ASSERT_TRUE(transports[1]->recv_blocking(0, got_b, lane_1, in_ms(5000)).ok());
  ASSERT_TRUE(transports[1]->recv_blocking(0, got_a, kTag, in_ms(5000)).ok());
  EXPECT_EQ(got_a, a);
  EXPECT_EQ(got_b, b);
}

TEST(Mesh, AWrongLengthIsAMismatch) {
  for (const std::size_t size : {0, 3, 5}) {
    auto transports = make_local_transports(2);
    const std::vector<std::uint8_t> sent(size, 7);
    std::vector<std::uint8_t> received(4, 9);
    ASSERT_TRUE(transports[0]->send_blocking(1, sent, kTag, in_ms(5000)).ok());
    const Result<void> result = transports[1]->recv_blocking(0, received, kTag, in_ms(5000));
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kProtocolMismatch);
    EXPECT_EQ(result.error().player, 0);
    EXPECT_EQ(received, std::vector<std::uint8_t>(4, 9));
  }
}

TEST(Inbox, EmptyMessagesCountAgainstTheBound) {
  constexpr std::uint64_t kEmpty = kFrameHeaderBytes + kMessageHeadBytes;
  Inbox inbox(2, Inbox::kChannelBytes + 3 * kEmpty);
  for (int round = 0; round < 10; ++round) {
    inbox.deliver(1, kTag, MessageBuffer());
    inbox.deliver(1, kTag, MessageBuffer());
    for (int i = 0; i < 2; ++i) {  // those that are asked for make room again
      const auto ticket = inbox.expect(1, kTag, 0);
      ASSERT_TRUE(inbox.wait(ticket, in_ms(5000)).ok());
    }
  }
  for (int i = 0; i < 3; ++i) inbox.deliver(1, kTag, MessageBuffer());
  EXPECT_FALSE(inbox.failure().has_value());
  inbox.deliver(1, kTag, MessageBuffer());
  ASSERT_TRUE(inbox.failure().has_value());
  EXPECT_EQ(inbox.failure()->code, ErrorCode::kProtocolMismatch);
  EXPECT_EQ(inbox.failure()->player, 1);
}

TEST(Inbox, ChannelsCountAgainstTheBound) {
  constexpr std::uint64_t kEmpty = kFrameHeaderBytes + kMessageHeadBytes;
  Inbox inbox(2, 3 * (Inbox::kChannelBytes + kEmpty));
  const auto step = [](std::uint32_t number) {
    Tag tag = kTag;
    tag.step = number;
    return tag;
  };
  for (std::uint32_t round = 2; round < 10; ++round) {
    inbox.deliver(1, step(round), MessageBuffer());
    const auto ticket = inbox.expect(1, step(round), 0);  // which makes room again
    ASSERT_TRUE(inbox.wait(ticket, in_ms(5000)).ok());
  }
  for (std::uint32_t number = 2; number < 5; ++number) {
    inbox.deliver(1, step(number), MessageBuffer());
  }
  EXPECT_FALSE(inbox.failure().has_value());
  inbox.deliver(1, step(5), MessageBuffer());
  ASSERT_TRUE(inbox.failure().has_value());
  EXPECT_EQ(inbox.failure()->code, ErrorCode::kProtocolMismatch);
}

TEST(Mesh, AMessageForControlHasALimit) {
  auto transports = make_local_transports(2);
  const std::vector<std::uint8_t> huge(Inbox::kMaxMessageBytes + 1);
  ASSERT_TRUE(transports[0]->send_blocking(1, huge, kTag, in_ms(5000)).ok());
  const auto result = transports[1]->all_gather_messages_blocking({}, kTag, in_ms(5000));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kProtocolMismatch);
}

TEST(Mesh, ADeadlineNamesThePlayerAndTheLateMessageIsDropped) {
  auto transports = make_local_transports(2);
  std::vector<std::uint8_t> byte(1);
  const Deadline start = in_ms(0);
  const Result<void> late = transports[1]->recv_blocking(0, byte, operation(1), in_ms(100));
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(late.error().player, 0);
  EXPECT_EQ(late.error().operation, "session 1, bundle 2, lane 0, operation 1");
  EXPECT_LT(seconds_since(start), 3.0);

  const std::vector<std::uint8_t> first = {1};
  const std::vector<std::uint8_t> second = {2};
  ASSERT_TRUE(transports[0]->send_blocking(1, first, operation(1), in_ms(5000)).ok());
  ASSERT_TRUE(transports[0]->send_blocking(1, second, operation(2), in_ms(5000)).ok());
  ASSERT_TRUE(transports[1]->recv_blocking(0, byte, operation(2), in_ms(5000)).ok());
  EXPECT_EQ(byte, second);
}

TEST(Mesh, AFailedReductionLeavesItsWords) {
  auto transports = make_local_transports(3);
  std::vector<std::uint64_t> words(3, 5);
  std::vector<std::uint64_t> others(3, 6);
  Operation theirs = transports[1]->start_all_reduce(others, ReduceOp::kSum, kTag, kHostStream);
  const Result<void> result =
      transports[0]->all_reduce_blocking(words, ReduceOp::kSum, kTag, in_ms(50));
  EXPECT_EQ(result.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(result.error().player, 2);
  EXPECT_EQ(words, std::vector<std::uint64_t>(3, 5));
  EXPECT_FALSE(theirs.wait(in_ms(50)).ok());
}

TEST(Local, AbandonFailsEveryoneAtOnceNamingThePlayer) {
  auto transports = make_local_transports(3);
  const Deadline start = in_ms(0);
  run_players(3, [&](int rank) {
    if (rank == 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      return abandon(*transports[2]);
    }
    // Player 1 does not even wait for player 2.
    std::vector<std::uint8_t> byte(1);
    const Result<void> result = transports[static_cast<std::size_t>(rank)]->recv_blocking(
        1 - rank, byte, kTag, in_ms(20'000));
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kPeerLost);
    EXPECT_EQ(result.error().player, 2);
  });
  EXPECT_LT(seconds_since(start), 5.0);
  std::vector<std::uint64_t> words(1);
  const Result<void> later =
      transports[0]->all_reduce_blocking(words, ReduceOp::kSum, kTag, in_ms(5000));
  EXPECT_EQ(later.error().code, ErrorCode::kPeerLost);
}

TEST(Local, ACleanEndIsALossOnlyForWhoWaits) {
  auto transports = make_local_transports(3);
  const std::vector<std::uint8_t> last = {42};
  std::vector<std::uint8_t> byte(1);
  ASSERT_TRUE(transports[2]->send_blocking(0, last, kTag, in_ms(5000)).ok());
  transports[2].reset();
  // What it sent before it left still arrives, and the others still talk.
  ASSERT_TRUE(transports[0]->recv_blocking(2, byte, kTag, in_ms(5000)).ok());
  EXPECT_EQ(byte, last);
  ASSERT_TRUE(transports[0]->send_blocking(1, last, kTag, in_ms(5000)).ok());
  ASSERT_TRUE(transports[1]->recv_blocking(0, byte, kTag, in_ms(5000)).ok());

  const Result<void> lost = transports[0]->recv_blocking(2, byte, operation(4), in_ms(20'000));
  ASSERT_FALSE(lost.ok());
  EXPECT_EQ(lost.error().code, ErrorCode::kPeerLost);
  EXPECT_EQ(lost.error().player, 2);
  EXPECT_NE(lost.error().message.find("closed the connection"), std::string::npos);
  EXPECT_EQ(transports[0]->send_blocking(1, last, operation(5), in_ms(5000)).error().code,
            ErrorCode::kPeerLost);
}

// ---- Large reductions, in two steps ----

constexpr std::size_t kLargeWords = 150'001;

TEST(Scattered, WhoEndsBeforeItIsNamedByAllAndTheWordsStay) {
  auto transports = make_local_transports(5);
  transports[2].reset();
  for (const std::size_t rank : {0u, 1u, 3u, 4u}) {
    std::vector<std::uint64_t> words(kLargeWords, 5);
    const Result<void> result =
        transports[rank]->all_reduce_blocking(words, ReduceOp::kSum, kTag, in_ms(20'000));
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kPeerLost);
    EXPECT_EQ(result.error().player, 2);
    EXPECT_EQ(words, std::vector<std::uint64_t>(kLargeWords, 5));
  }
}

TEST(Scattered, WhoEndsInTheMiddleIsNamedByAll) {
  // Player 2 sends its blocks and is gone before it has all parts of its sum, for which player 4 is
  // too late; that notices first, and its blocks are missing everywhere.
  auto transports = make_local_transports(5);
  std::vector<std::vector<std::uint64_t>> words(5, std::vector<std::uint64_t>(kLargeWords, 5));
  std::vector<Operation> pending;
  const auto start = [&](std::size_t rank) {
    return transports[rank]->start_all_reduce(words[rank], ReduceOp::kSum, kTag, kHostStream);
  };
  for (const std::size_t rank : {0u, 1u, 3u}) pending.push_back(start(rank));
  const Deadline begin = in_ms(0);
  EXPECT_EQ(start(2).wait(in_ms(0) - std::chrono::seconds(1)).error().code, ErrorCode::kTimeout);
  transports[2].reset();
  pending.push_back(start(4));
  run_players(4, [&](int i) {
    const Result<void> result = pending[static_cast<std::size_t>(i)].wait(in_ms(20'000));
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kPeerLost);
    EXPECT_EQ(result.error().player, 2) << result.error().message;
  });
  EXPECT_LT(seconds_since(begin), 10.0);
  for (const auto& mine : words) EXPECT_EQ(mine, std::vector<std::uint64_t>(kLargeWords, 5));
}

TEST(Scattered, ADeadlineNamesWhoHasNotBegunAndElseNobody) {
  auto transports = make_local_transports(4);
  // All that player 1 does: player 0 gets its block, and then lacks the sums of 1, 2 and 3, who may
  // have waited for anybody. The others lack a block.
  Tag first = kTag;
  first.step = 1;
  const std::vector<std::uint8_t> block(kLargeWords / 4 * 8, 1);
  ASSERT_TRUE(transports[1]->send_blocking(0, block, first, in_ms(5000)).ok());
  std::vector<std::vector<std::uint64_t>> words(4, std::vector<std::uint64_t>(kLargeWords, 5));
  std::vector<Operation> pending;
  for (const std::size_t rank : {0u, 2u, 3u}) {
    pending.push_back(
        transports[rank]->start_all_reduce(words[rank], ReduceOp::kXor, kTag, kHostStream));
  }
  for (std::size_t i = 0; i < pending.size(); ++i) {
    const Result<void> late = pending[i].wait(in_ms(100));
    ASSERT_FALSE(late.ok());
    EXPECT_EQ(late.error().code, ErrorCode::kTimeout);
    EXPECT_EQ(late.error().player, i == 0 ? std::nullopt : std::optional<int>(1));
  }
  for (const auto& mine : words) EXPECT_EQ(mine, std::vector<std::uint64_t>(kLargeWords, 5));
}

TEST(Scattered, WhatComesAfterADeadlineTouchesNothing) {
  auto transports = make_local_transports(3);
  std::vector<std::vector<std::uint64_t>> words(3, std::vector<std::uint64_t>(kLargeWords, 5));
  const auto start = [&](std::size_t rank) {
    return transports[rank]->start_all_reduce(words[rank], ReduceOp::kSum, kTag, kHostStream);
  };
  EXPECT_EQ(start(0).wait(in_ms(0)).error().code, ErrorCode::kTimeout);
  Operation second = start(1);
  Operation third = start(2);
  // Player 0 has sent its blocks, and no sum.
  EXPECT_EQ(second.wait(in_ms(50)).error().code, ErrorCode::kTimeout);
  EXPECT_EQ(third.wait(in_ms(50)).error().code, ErrorCode::kTimeout);
  for (const auto& mine : words) EXPECT_EQ(mine, std::vector<std::uint64_t>(kLargeWords, 5));
  // A timeout is not final: the lanes are in order again.
  std::vector<Operation> pending;
  for (const std::size_t rank : {0u, 1u, 2u}) {
    pending.push_back(
        transports[rank]->start_all_reduce(words[rank], ReduceOp::kSum, operation(4), kHostStream));
  }
  for (Operation& operation : pending) ASSERT_TRUE(operation.wait(in_ms(20'000)).ok());
  for (const auto& mine : words) EXPECT_EQ(mine, std::vector<std::uint64_t>(kLargeWords, 15));
}

TEST(Scattered, AnotherSizeOrOperationIsAMismatch) {
  // By one block's size; a message to all where two steps were begun; another tag.
  for (int difference = 0; difference < 3; ++difference) {
    auto transports = make_local_transports(3);
    std::atomic<int> mismatches = 0;
    run_players(3, [&](int rank) {
      const bool differs = rank == 1;
      std::vector<std::uint64_t> words(!differs ? kLargeWords : kLargeWords + 3, 5);
      if (differs && difference == 1) words.resize(10);
      const Tag tag = differs && difference == 2 ? operation(9) : kTag;
      const Result<void> result = transports[static_cast<std::size_t>(rank)]->all_reduce_blocking(
          words, ReduceOp::kSum, tag, in_ms(2'000));
      EXPECT_FALSE(result.ok());
      if (result.error().code == ErrorCode::kProtocolMismatch) ++mismatches;
    });
    EXPECT_GE(mismatches, 1) << difference;
  }
}

TEST(Operation, DroppingOneThatWasNotWaitedForAborts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto transports = make_local_transports(2);
        std::vector<std::uint64_t> words(1);
        transports[0]->start_all_reduce(words, ReduceOp::kSum, kTag, kHostStream);
      },
      "dropped before wait");
}

}  // namespace
}  // namespace beaverpond
