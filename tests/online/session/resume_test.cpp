// Where players go on, and when they wait for each other: decisions without a network.
#include "online/session/resume.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "online/session/rejoin.h"

namespace beaverpond {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

RunId run_id(std::uint8_t byte) {
  RunId id;
  id.fill(byte);
  return id;
}

ResumeOffer holding(std::vector<CheckpointName> held, bool resumes = true) {
  ResumeOffer offer;
  offer.resumes = resumes;
  offer.held = std::move(held);
  return offer;
}

CheckpointName at(std::uint64_t step, std::uint64_t session = 1, std::uint8_t run = 7) {
  return {run_id(run), session, step};
}

Error refused(const std::vector<ResumeOffer>& offers, int player) {
  const Result<ResumeDecision> decision = decide_resume(offers);
  EXPECT_FALSE(decision.ok());
  if (decision.ok()) return {};
  EXPECT_EQ(decision.error().code, ErrorCode::kCheckpointMismatch) << decision.error().message;
  EXPECT_EQ(decision.error().player, player) << decision.error().message;
  return decision.error();
}

TEST(Resume, TheLastStepThatAllHold) {
  const auto decision = decide_resume(
      {holding({at(20), at(40)}), holding({at(40), at(60)}), holding({at(20), at(40)})});
  ASSERT_TRUE(decision.ok()) << decision.error().message;
  EXPECT_EQ(decision->from, at(40));
  EXPECT_EQ(decision->run, run_id(7));
}

TEST(Resume, SharesOfTwoSessionsAreNotMixed) {
  // Both went on from step 40; what one player has of step 60 is from before the crash.
  const auto decision = decide_resume({holding({at(40), at(60, 1)}), holding({at(40), at(60, 2)})});
  ASSERT_TRUE(decision.ok());
  EXPECT_EQ(decision->from, at(40));
  EXPECT_THAT(refused({holding({at(60, 1)}), holding({at(60, 2)})}, 0).message,
              HasSubstr("do not belong together"));
}

TEST(Resume, ANewRunWhereNobodyGotBeyondItsBeginning) {
  std::vector<ResumeOffer> offers = {holding({at(0)}), holding({}), holding({}, false)};
  offers[1].fresh = run_id(1);
  const auto decision = decide_resume(offers);
  ASSERT_TRUE(decision.ok()) << decision.error().message;
  EXPECT_FALSE(decision->from.has_value());
  EXPECT_NE(decision->run, run_id(7));
  offers[1].fresh = run_id(2);
  EXPECT_NE(decide_resume(offers)->run, decision->run);  // of all players' random bytes
}

TEST(Resume, WhatDoesNotFitIsRefusedAndTheCulpritNamed) {
  EXPECT_THAT(refused({holding({at(60), at(80)}), holding({at(20), at(40)})}, 1).message,
              HasSubstr("player 1 was put back to an earlier state"));
  EXPECT_THAT(refused({holding({at(40, 1, 7)}), holding({at(40, 1, 8)})}, 1).message,
              HasSubstr("different runs"));
  EXPECT_THAT(refused({holding({at(40)}), holding({})}, 1).message, HasSubstr("holds none"));
  EXPECT_THAT(refused({holding({at(40)}), holding({}, false)}, 1).message,
              HasSubstr("begins a new run"));
  std::vector<ResumeOffer> offers = {holding({at(40)}), holding({at(40)})};
  offers[1].job.fill(3);
  EXPECT_THAT(refused(offers, 1).message, HasSubstr("another job"));
}

TEST(Resume, APlayerThatCannotGoOnIsNamed) {
  std::vector<ResumeOffer> offers = {holding({at(40)}), holding({})};
  offers[1].failed = static_cast<std::uint8_t>(ErrorCode::kCheckpointCorrupt);
  const auto decision = decide_resume(offers);
  ASSERT_FALSE(decision.ok());
  EXPECT_EQ(decision.error().code, ErrorCode::kPeerLost);
  EXPECT_EQ(decision.error().player, 1);
  EXPECT_THAT(decision.error().message, HasSubstr("checkpoint-corrupt"));
}

TEST(Resume, OffersOfAnyOtherFormAreRefused) {
  ResumeOffer offer = holding({at(20), at(40, 9)});
  offer.job.fill(5);
  offer.fresh = run_id(6);
  offer.failed = 17;
  const std::vector<std::uint8_t> bytes = encode_offer(offer);
  const auto read = decode_offer(bytes);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(encode_offer(*read), bytes);
  EXPECT_EQ(read->held, offer.held);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_offer(std::span(bytes).first(size)).ok()) << size;
  }
  std::vector<std::uint8_t> other = bytes;
  other[0] ^= 1;
  EXPECT_FALSE(decode_offer(other).ok());
}

/// A clock that only pauses move.
struct Time {
  std::chrono::steady_clock::time_point now{};
  RejoinOptions options(milliseconds patience) {
    RejoinOptions out;
    out.patience = patience;
    out.now = [this] { return now; };
    out.pause = [this](milliseconds time) { now += time; };
    return out;
  }
};

Error lost(int player) {
  Error error = make_error(ErrorCode::kPeerLost, "lost player " + std::to_string(player));
  error.player = player;
  return error;
}

TEST(Rejoin, WithoutPatienceALossIsFinal) {
  Time time;
  int calls = 0;
  const auto done = rejoin_blocking(time.options(milliseconds(0)), [&](SessionAttempt&) {
    ++calls;
    return Result<void>(lost(1));
  });
  EXPECT_EQ(done.error().player, 1);
  EXPECT_EQ(calls, 1);
}

TEST(Rejoin, GoesOnWhenThePlayerComesBack) {
  Time time;
  const auto done = rejoin_blocking(time.options(milliseconds(5000)), [&](SessionAttempt& attempt) {
    EXPECT_EQ(attempt.connect_within.has_value(), attempt.number > 0);
    if (attempt.number < 3) return Result<void>(lost(2));
    return Result<void>();
  });
  EXPECT_TRUE(done.ok());
}

TEST(Rejoin, BeyondThePatienceTheFirstLossIsTheError) {
  Time time;
  const auto start = time.now;
  std::uint64_t sessions = 0;
  const auto done = rejoin_blocking(time.options(milliseconds(5000)), [&](SessionAttempt& attempt) {
    sessions = attempt.number;
    if (attempt.number == 0) return Result<void>(lost(1));
    EXPECT_LE(*attempt.connect_within, milliseconds(5000));
    return Result<void>(make_error(ErrorCode::kTimeout, "player 2 did not come"));
  });
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code, ErrorCode::kPeerLost);
  EXPECT_EQ(done.error().player, 1);
  EXPECT_THAT(done.error().message, HasSubstr("within 5000 ms"));
  EXPECT_LE(time.now - start, milliseconds(5000));
  EXPECT_GT(sessions, 5u);
}

TEST(Rejoin, SessionsThatGetNoFurtherDoNotGoOnForEver) {
  Time time;
  int sessions = 0;
  const auto done = rejoin_blocking(time.options(milliseconds(5000)), [&](SessionAttempt& attempt) {
    attempt.connected = true;
    attempt.reached = 57;  // always the same step
    ++sessions;
    return Result<void>(lost(1));
  });
  EXPECT_EQ(done.error().code, ErrorCode::kPeerLost);
  EXPECT_EQ(sessions, kMaxFutileSessions + 2);  // the first got as far as that
  EXPECT_THAT(done.error().message, HasSubstr("got no further"));
  // Work that goes on may lose players as often as it likes.
  Time other;
  int calls = 0;
  const auto further =
      rejoin_blocking(other.options(milliseconds(500)), [&](SessionAttempt& attempt) {
        attempt.connected = true;
        attempt.reached = static_cast<std::uint64_t>(++calls);
        other.now += milliseconds(400);
        return calls < 40 ? Result<void>(lost(1)) : Result<void>();
      });
  EXPECT_TRUE(further.ok());
}

TEST(Rejoin, OtherErrorsAreFinal) {
  Time time;
  int calls = 0;
  const auto done = rejoin_blocking(time.options(milliseconds(5000)), [&](SessionAttempt&) {
    ++calls;
    return Result<void>(make_error(ErrorCode::kPoolDry, "dry"));
  });
  EXPECT_EQ(done.error().code, ErrorCode::kPoolDry);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace beaverpond
