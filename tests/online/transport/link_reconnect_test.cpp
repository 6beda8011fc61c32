// A link that goes on over a new connection, and lanes that its peer pauses.
#include "tests/online/transport/link_fixture.h"

namespace beaverpond {
namespace {

/// A link that was up, broke, and is to go on over a new connection.
class GoesOn : public LinkTest {
 protected:
  GoesOn() {
    settings_.reconnect = std::chrono::seconds(5);
    connect();
  }
  void break_off() {
    stream_ = link_->stream();
    link_->leave_stream();
    owner_.known = stream_;
    connect();
    ASSERT_TRUE(exchange().ok());
    EXPECT_TRUE(heard_.empty());  // it says nothing before the peer has proved who it is
  }
  LinkHello again(std::uint64_t received) const {
    LinkHello hello = good_hello();
    hello.goes_on_with = settings_.incarnation;
    hello.received = received;
    return hello;
  }
  void come_up_again(std::uint64_t received, std::uint64_t next) {
    say(FrameType::kHello, encode(again(received)));
    say(FrameType::kAck, {});
    const Result<void> result = exchange();
    ASSERT_TRUE(result.ok()) << result.error().message;
    ASSERT_TRUE(link_->is_up() && owner_.displaced && owner_.went_on);
    sequence_ = next;
  }
  std::shared_ptr<Stream> stream_;
};

TEST_F(GoesOn, WhatDidNotComeWholeComesAgainByteForByte) {
  come_up();
  EXPECT_EQ(link_->stream()->reconnect, std::chrono::seconds(5));  // the shorter of the two
  std::vector<std::uint8_t> large(2 * kPieceBytes + 5);
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<std::uint8_t>(i / 100);
  heard_.clear();
  auto message = std::make_shared<Outgoing>(1, kTag, large);
  link_->stream()->out.post(message);
  ASSERT_TRUE(exchange().ok());
  EXPECT_TRUE(message->consumed());
  const std::vector<std::uint8_t> first = heard_;
  std::fill(large.begin(), large.end(), std::uint8_t{0});  // it is the caller's again

  break_off();
  come_up_again(3, 2);  // hello and ack apart, one frame has come
  const auto hello = decode_link_hello(std::span(heard_).subspan(kFrameHeaderBytes, kHelloBytes));
  ASSERT_TRUE(hello.ok());
  EXPECT_EQ(hello->goes_on_with, good_hello().incarnation);
  EXPECT_EQ(hello->received, 2u);
  const std::size_t begin = 2 * kFrameHeaderBytes + kHelloBytes;
  const std::size_t come = kFrameHeaderBytes + kMessageHeadBytes + kPieceBytes;
  ASSERT_EQ(heard_.size() - begin, first.size() - come);
  EXPECT_TRUE(std::equal(first.begin() + static_cast<std::ptrdiff_t>(come), first.end(),
                         heard_.begin() + static_cast<std::ptrdiff_t>(begin)));
  EXPECT_GT(stream_->out.kept_bytes(), 0u);
  say(FrameType::kReceived, encode_received(5));
  ASSERT_TRUE(exchange().ok());
  EXPECT_EQ(stream_->out.kept_bytes(), 0u);
}

TEST_F(GoesOn, AFrameThatCameInPartIsForgotten) {
  come_up();
  std::vector<std::uint8_t> bytes(2 * kPieceBytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i / 77);
  const auto whole = beginning(kTag, bytes.size(), std::span(bytes).first(kPieceBytes));
  const Inbox::Ticket ticket = inbox_.expect(1, kTag, bytes.size());
  const auto say_part = [&] {
    const FrameHeader header{FrameType::kData, kTag.lane, sequence_, whole.size()};
    ASSERT_TRUE(peer_->write(encode_frame_header(header)).ok());
    ASSERT_TRUE(peer_->write(std::span(whole).first(whole.size() / 2)).ok());
    ASSERT_TRUE(exchange().ok());
  };
  say_part();
  break_off();
  EXPECT_TRUE(stream_->partial.empty() && stream_->partial_bytes == 0);
  come_up_again(2, 2);
  say(FrameType::kData, whole, kTag.lane);
  const std::vector<std::uint8_t> rest(bytes.begin() + kPieceBytes, bytes.end());
  const FrameHeader header{FrameType::kMore, kTag.lane, sequence_, rest.size()};
  ASSERT_TRUE(peer_->write(encode_frame_header(header)).ok());
  ASSERT_TRUE(peer_->write(std::span(rest).first(1000)).ok());
  ASSERT_TRUE(exchange().ok());
  break_off();
  come_up_again(2, 3);  // the first piece came, the second did not
  say(FrameType::kMore, rest, kTag.lane);
  ASSERT_TRUE(exchange().ok());
  const Result<MessageBuffer> got = inbox_.wait(ticket, in_ms(0));
  ASSERT_TRUE(got.ok());
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), got->bytes().begin()));
}

TEST_F(GoesOn, AFrameThatCameIsNotTakenTwice) {
  come_up();
  say(FrameType::kData, tagged(kTag, {1}), kTag.lane);
  ASSERT_TRUE(exchange().ok());
  break_off();
  come_up_again(2, 2);
  say(FrameType::kData, tagged(kTag, {1}), kTag.lane);
  expect_error(ErrorCode::kProtocolMismatch, "frame number 2 where 3 was due");
}

TEST_F(GoesOn, AnotherProcessOfThatPlayerHasNoPartInIt) {
  come_up();
  break_off();
  LinkHello other = again(2);
  other.incarnation.fill(12);
  say(FrameType::kHello, encode(other));
  expect_error(ErrorCode::kIo, "of an earlier process");
  connect();
  ASSERT_TRUE(exchange().ok());
  say(FrameType::kHello, encode(good_hello()));  // begins anew
  expect_error(ErrorCode::kIo, "of an earlier process");
  EXPECT_FALSE(owner_.displaced);
}

TEST_F(GoesOn, AProcessThatWasStartedAgainSaysSo) {
  ASSERT_TRUE(exchange().ok());
  say(FrameType::kHello, encode(again(2)));
  expect_error(ErrorCode::kPeerLost, "it was started again");
  EXPECT_TRUE(link_->not_admitted());
  connect();
  owner_.known = std::make_shared<Stream>();
  owner_.known->incarnation = good_hello().incarnation;
  ASSERT_TRUE(exchange().ok());
  LinkHello hello = again(2);
  hello.goes_on_with.fill(13);  // with an earlier process here
  say(FrameType::kHello, encode(hello));
  expect_error(ErrorCode::kPeerLost, "it was started again");
  EXPECT_FALSE(owner_.displaced);
}

TEST_F(GoesOn, CountsThatCannotBeAreRefused) {
  come_up();
  say(FrameType::kReceived, encode_received(3));
  expect_error(ErrorCode::kProtocolMismatch, "3 frames have come, of 2");
  connect();
  come_up();
  link_->post_sign_of_life();
  ASSERT_TRUE(exchange().ok());
  say(FrameType::kReceived, encode_received(3));
  ASSERT_TRUE(exchange().ok());
  break_off();
  say(FrameType::kHello, encode(again(2)));
  expect_error(ErrorCode::kProtocolMismatch, "after it was acknowledged");
}

TEST_F(GoesOn, WhoSaidGoodbyeAndComesForTheCountHasSaidIt) {
  come_up();
  say(FrameType::kGoodbye, {});
  ASSERT_TRUE(exchange().ok());
  EXPECT_EQ(owner_.goodbye_reason, "");
  break_off();  // before the count of what has come did
  say(FrameType::kHello, encode(again(2)));
  say(FrameType::kAck, {});
  ASSERT_TRUE(exchange().ok());
  EXPECT_TRUE(owner_.went_on);
  EXPECT_TRUE(link_->goodbye_received());  // its end of file is no break
  const auto hello = decode_link_hello(std::span(heard_).subspan(kFrameHeaderBytes, kHelloBytes));
  ASSERT_TRUE(hello.ok());
  EXPECT_EQ(hello->received, 3u);
}

TEST_F(GoesOn, ACertificateAloneEndsNothing) {
  come_up();
  break_off();
  owner_.known_players_come_in = false;
  say(FrameType::kGoodbye, {});
  expect_error(ErrorCode::kProtocolMismatch, "type 6 at a time when none may come");
  EXPECT_FALSE(owner_.goodbye_reason.has_value());
  EXPECT_FALSE(stream_->ended);
}

TEST_F(GoesOn, ControlFramesAreAcknowledgedToo) {
  come_up();
  heard_.clear();
  const std::uint64_t each = Outbox::kFrameCost + sizeof(std::uint64_t);
  for (std::uint64_t i = 0; i <= Stream::kAcknowledgeBytes / each; ++i) {
    say(FrameType::kReceived, encode_received(2));
  }
  ASSERT_TRUE(exchange().ok());
  const std::vector<FrameHeader> heard = frames_of(heard_);
  ASSERT_EQ(heard.size(), 1u);  // and not one for each
  EXPECT_EQ(heard[0].type, FrameType::kReceived);
}

TEST(LaneQueue, NothingIsKeptForLanesThatAPeerMerelyNames) {
  LaneQueue queue;
  for (std::uint32_t lane = 0; lane < 3 * LaneQueue::kMostPaused; ++lane) {
    queue.resume(lane);
    EXPECT_TRUE(queue.pause(lane));
    queue.resume(lane);
  }
  EXPECT_EQ(queue.lanes(), 0u);
}

TEST_F(LinkTest, NothingIsKeptForAPeerThatDoesNotReconnect) {
  come_up();
  const std::vector<std::uint8_t> small(100, 8);
  link_->stream()->out.post(std::make_shared<Outgoing>(1, kTag, small));
  ASSERT_TRUE(exchange().ok());
  EXPECT_EQ(link_->stream()->out.kept_bytes(), 0u);
  say(FrameType::kReceived, encode_received(3));
  expect_error(ErrorCode::kProtocolMismatch, "type 9 at a time when none may come");
}

TEST_F(LinkTest, APausedLaneEndsItsMessageAndLetsLaterStepsPass) {
  come_up();
  heard_.clear();
  const std::vector<std::uint8_t> large(2 * kPieceBytes + 1, 7);
  const std::vector<std::uint8_t> small(100, 8);
  Outbox& out = link_->stream()->out;
  out.post(std::make_shared<Outgoing>(1, kTag, large));
  ASSERT_TRUE(link_->fill_output().ok());  // begun
  say(FrameType::kPause, {}, kTag.lane);
  ASSERT_TRUE(exchange().ok());
  Tag step = kTag;
  step.step = 2;
  Tag other = kTag;
  other.lane = 9;
  out.post(std::make_shared<Outgoing>(1, kTag, small));
  out.post(std::make_shared<Outgoing>(1, step, small));
  out.post(std::make_shared<Outgoing>(1, other, small));
  ASSERT_TRUE(exchange().ok());
  const auto lengths = [&] {
    std::vector<std::uint64_t> lengths;
    for (const FrameHeader& frame : frames_of(heard_)) lengths.push_back(frame.length);
    return lengths;
  };
  std::vector<std::uint64_t> expected = {kPieceBytes + kMessageHeadBytes, kPieceBytes, 1,
                                         100 + kMessageHeadBytes, 100 + kMessageHeadBytes};
  EXPECT_EQ(lengths(), expected);
  say(FrameType::kResume, {}, kTag.lane);
  ASSERT_TRUE(exchange().ok());
  expected.push_back(100 + kMessageHeadBytes);
  EXPECT_EQ(lengths(), expected);
}

TEST_F(LinkTest, PausesOfMoreLanesThanThereMayBeAreRefused) {
  come_up();
  for (std::uint32_t lane = 0; lane <= LaneQueue::kMostPaused; ++lane) {
    say(FrameType::kPause, {}, lane);
  }
  expect_error(ErrorCode::kProtocolMismatch, "a pause of more lanes");
}

}  // namespace
}  // namespace beaverpond
