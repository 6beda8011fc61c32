// A link against a peer that has the right certificate and sends the wrong things.
#include "tests/online/transport/link_fixture.h"

namespace beaverpond {
namespace {

TEST_F(LinkTest, ComesUpAndCarriesDataThroughKeyChanges) {
  come_up();
  EXPECT_EQ(owner_.up_player, 1);
  EXPECT_EQ(owner_.up_hello, (std::vector<std::uint8_t>{5, 6}));
  for (std::uint8_t i = 0; i < 10; ++i) {  // the peer changes its key every 4 KiB
    const std::vector<std::uint8_t> payload(3000, i);
    const Inbox::Ticket ticket = inbox_.expect(1, kTag, payload.size());
    say(FrameType::kData, tagged(kTag, payload), kTag.lane);
    ASSERT_TRUE(exchange().ok());
    const Result<MessageBuffer> got = inbox_.wait(ticket, in_ms(0));
    ASSERT_TRUE(got.ok());
    EXPECT_TRUE(std::equal(payload.begin(), payload.end(), got->bytes().begin()));
  }
  say(FrameType::kLost, encode(LostReport{0, "silent"}));
  say(FrameType::kGoodbye, {'d', 'o', 'n', 'e'});
  ASSERT_TRUE(exchange().ok());
  EXPECT_EQ(owner_.report_->reason, "silent");
  EXPECT_EQ(owner_.goodbye_reason, "done");
}

TEST_F(LinkTest, NothingFollowsAGoodbye) {
  come_up();
  link_->end("over");
  ASSERT_TRUE(exchange().ok());
  ASSERT_TRUE(link_->goodbye_sent());
  const std::size_t said = heard_.size();
  // As a clock does that has not noticed yet.
  link_->post_sign_of_life();
  ASSERT_TRUE(exchange().ok());
  EXPECT_EQ(heard_.size(), said);
}

TEST_F(LinkTest, DataBeforeTheHelloIsRefused) {
  ASSERT_TRUE(exchange().ok());
  say(FrameType::kData, tagged(kTag, {1}), kTag.lane);
  expect_error(ErrorCode::kProtocolMismatch, "outside the connection's time");
}

TEST_F(LinkTest, DataBeforeTheAckIsRefused) {
  ASSERT_TRUE(exchange().ok());
  say(FrameType::kHello, encode(good_hello()));
  say(FrameType::kData, tagged(kTag, {1}), kTag.lane);
  expect_error(ErrorCode::kProtocolMismatch, "outside the connection's time");
}

TEST_F(LinkTest, AHelloWithAnotherRankIsRefused) {
  ASSERT_TRUE(exchange().ok());
  LinkHello hello = good_hello();
  hello.rank = 0;
  say(FrameType::kHello, encode(hello));
  expect_error(ErrorCode::kRosterMismatch, "its certificate is that of player 1");
}

TEST_F(LinkTest, ASecondHelloIsRefused) {
  come_up();
  say(FrameType::kHello, encode(good_hello()));
  expect_error(ErrorCode::kProtocolMismatch, "type 2");
}

TEST_F(LinkTest, AFrameWithTwoLanesIsRefused) {
  come_up();
  say(FrameType::kData, tagged(kTag, {1}), kTag.lane + 1);
  expect_error(ErrorCode::kProtocolMismatch, "two lanes");
}

TEST_F(LinkTest, ASkippedOrRepeatedFrameIsRefused) {
  come_up();
  --sequence_;
  say(FrameType::kHeartbeat, {});
  expect_error(ErrorCode::kProtocolMismatch, "frame number 1 where 2 was due");
}

TEST_F(LinkTest, AnEnormousLengthIsRefusedBeforeAnythingIsAllocated) {
  come_up();
  const FrameHeaderBytes header =
      encode_frame_header({FrameType::kData, 0, sequence_, std::uint64_t{1} << 60});
  ASSERT_TRUE(peer_->write(header).ok());
  expect_error(ErrorCode::kProtocolMismatch, "above the limit");
}

TEST_F(LinkTest, ATruncatedFrameIsNeverDelivered) {
  come_up();
  const Inbox::Ticket ticket = inbox_.expect(1, kTag, 4);
  ASSERT_TRUE(peer_
                  ->write(encode_frame_header(
                      {FrameType::kData, kTag.lane, sequence_, kMessageHeadBytes + 4}))
                  .ok());
  std::vector<std::uint8_t> part = tagged(kTag, {1, 2, 3, 4});
  part.pop_back();
  ASSERT_TRUE(peer_->write(part).ok());
  ASSERT_TRUE(exchange().ok());
  EXPECT_EQ(inbox_.wait(ticket, in_ms(0)).error().code, ErrorCode::kTimeout);
}

TEST_F(LinkTest, ASmallMessageWaitsForOnePieceOfAnotherLane) {
  come_up();
  heard_.clear();
  const std::vector<std::uint8_t> large(5 * kPieceBytes + 1, 7);
  const std::vector<std::uint8_t> small(100, 8);
  Tag other = kTag;
  other.lane = 9;
  link_->stream()->out.post(std::make_shared<Outgoing>(1, kTag, large));
  ASSERT_TRUE(link_->fill_output().ok());  // the first piece is on its way
  link_->stream()->out.post(std::make_shared<Outgoing>(1, other, small));
  ASSERT_TRUE(exchange().ok());
  std::vector<std::uint64_t> lengths;
  std::vector<std::uint32_t> lanes;
  for (const FrameHeader& frame : frames_of(heard_)) {
    lanes.push_back(frame.lane);
    lengths.push_back(frame.length);
  }
  EXPECT_EQ(lanes, (std::vector<std::uint32_t>{3, 3, 9, 3, 3, 3, 3}));
  EXPECT_EQ(lengths, (std::vector<std::uint64_t>{kPieceBytes + kMessageHeadBytes, kPieceBytes,
                                                 100 + kMessageHeadBytes, kPieceBytes, kPieceBytes,
                                                 kPieceBytes, 1}));
}

TEST_F(LinkTest, PiecesOfTwoLanesComeTogetherAgain) {
  come_up();
  Tag other = kTag;
  other.lane = 9;
  std::vector<std::uint8_t> bytes(2 * kPieceBytes + 5);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i / 100);
  const std::span<const std::uint8_t> all(bytes);
  const auto begin = [&](const Tag& tag) {
    say(FrameType::kData, beginning(tag, bytes.size(), all.first(kPieceBytes)), tag.lane);
  };
  const auto go_on = [&](const Tag& tag, std::size_t at, std::size_t size) {
    const auto piece = all.subspan(at, size);
    say(FrameType::kMore, {piece.begin(), piece.end()}, tag.lane);
  };
  const Inbox::Ticket one = inbox_.expect(1, kTag, bytes.size());
  const Inbox::Ticket two = inbox_.expect(1, other, bytes.size());
  begin(kTag);
  begin(other);
  go_on(other, kPieceBytes, kPieceBytes);
  go_on(kTag, kPieceBytes, kPieceBytes);
  go_on(other, 2 * kPieceBytes, 5);
  ASSERT_TRUE(exchange().ok());
  EXPECT_EQ(inbox_.wait(one, in_ms(0)).error().code, ErrorCode::kTimeout);
  go_on(kTag, 2 * kPieceBytes, 5);
  ASSERT_TRUE(exchange().ok());
  for (const Inbox::Ticket& ticket : {one, two}) {
    const Result<MessageBuffer> got = inbox_.wait(ticket, in_ms(0));
    ASSERT_TRUE(got.ok());
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), got->bytes().begin()));
  }
}

TEST_F(LinkTest, PiecesThatDoNotFitAreRefused) {
  come_up();
  say(FrameType::kMore, {1}, kTag.lane);
  expect_error(ErrorCode::kProtocolMismatch, "a piece of a message never begun");
}

TEST_F(LinkTest, AFirstPieceOfAnotherSizeIsRefused) {
  come_up();
  say(FrameType::kData, beginning(kTag, 5, std::vector<std::uint8_t>(4)), kTag.lane);
  expect_error(ErrorCode::kProtocolMismatch, "a piece of 4 bytes where 5 were due");
}

TEST_F(LinkTest, AMessageWithinAnotherOfItsLaneIsRefused) {
  come_up();
  const std::vector<std::uint8_t> piece(kPieceBytes);
  for (int i = 0; i < 2; ++i) {
    say(FrameType::kData, beginning(kTag, kPieceBytes + 1, piece), kTag.lane);
  }
  expect_error(ErrorCode::kProtocolMismatch, "a message within another of its lane");
}

TEST_F(LinkTest, BeginningsAreBoundedBeforeAnythingIsAllocated) {
  come_up();
  const std::vector<std::uint8_t> piece(kPieceBytes);
  for (std::uint32_t lane = 0; lane < 3; ++lane) {
    Tag tag = kTag;
    tag.lane = lane;
    say(FrameType::kData, beginning(tag, kMaxPayloadBytes, piece), lane);
  }
  expect_error(ErrorCode::kProtocolMismatch, "the beginnings of messages of more than");
}

TEST_F(LinkTest, AFlippedBitOnTheWireEndsTheConnection) {
  come_up();
  const Inbox::Ticket ticket = inbox_.expect(1, kTag, 4);
  say(FrameType::kData, tagged(kTag, {1, 2, 3, 4}), kTag.lane);
  OutputBytes bytes;
  bytes.swap(peer_->output());
  bytes[bytes.size() / 2] ^= 1;
  const Result<void> result = link_->on_bytes({bytes.data(), bytes.size()});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kIo);
  EXPECT_EQ(inbox_.wait(ticket, in_ms(0)).error().code, ErrorCode::kTimeout);
}

TEST_F(LinkTest, ANewcomerThatIsDroppedIsToldWhy) {
  owner_.come_too_late = true;
  ASSERT_TRUE(exchange().ok());
  say(FrameType::kHello, encode(good_hello()));
  say(FrameType::kAck, {});
  expect_error(ErrorCode::kRosterMismatch, "connected already");
  EXPECT_FALSE(link_->is_up());
  EXPECT_FALSE(link_->was_up());
  EXPECT_TRUE(link_->not_admitted());
  peer_->set_input({link_->output().data(), link_->output().size()});
  std::string told;
  for (std::vector<std::uint8_t> plain(1 << 16);;) {
    const Result<std::size_t> size = peer_->read(plain);
    if (!size.ok() || *size == 0) break;
    told.append(plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(*size));
  }
  EXPECT_NE(told.find("connected already"), std::string::npos);
}

TEST_F(LinkTest, ARefusalSurfacesWithItsReason) {
  ASSERT_TRUE(exchange().ok());
  say(FrameType::kRefuse, encode(Refusal{ErrorCode::kConfig, "not today"}));
  expect_error(ErrorCode::kConfig, "player 1 refused this player: not today");
}

}  // namespace
}  // namespace beaverpond
