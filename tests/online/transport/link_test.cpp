// A link against a peer that has the right certificate and sends the wrong things.
#include "online/transport/link.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/online/transport/players.h"

namespace beaverpond {
namespace {

using testing::in_ms;
using testing::TlsPlayers;

constexpr Tag kTag{.session = 1, .bundle = 2, .lane = 3, .operation = 4};

class RecordingOwner : public Link::Owner {
 public:
  Result<void> admit(int /*player*/) override { return {}; }
  Result<void> up(int player, std::vector<std::uint8_t> hello) override {
    if (come_too_late) return make_error(ErrorCode::kRosterMismatch, "connected already");
    up_player = player;
    up_hello = std::move(hello);
    return {};
  }
  void goodbye(int /*player*/, std::string reason) override { goodbye_reason = std::move(reason); }
  void lost(int /*reporter*/, const LostReport& report) override { report_ = report; }
  std::shared_ptr<Stream> stream_of(int /*player*/) override { return known; }
  Error came_back(int /*player*/) override {
    return make_error(ErrorCode::kIo, "of an earlier process");
  }
  void comes_again(int /*player*/) override { displaced = true; }
  void goes_on(int /*player*/) override { went_on = true; }

  std::shared_ptr<Stream> known;  ///< of a connection that broke
  bool displaced = false;
  bool went_on = false;

  bool come_too_late = false;
  int up_player = -1;
  std::vector<std::uint8_t> up_hello;
  std::optional<std::string> goodbye_reason;
  std::optional<LostReport> report_;
};

class LinkTest : public ::testing::Test {
 protected:
  LinkTest() {
    for (int rank = 0; rank < 2; ++rank) {
      auto context =
          TlsContext::create(setup_.home(rank) + "/key.pem", setup_.home(rank) + "/cert.pem");
      BP_CHECK(context.ok(), "context");
      contexts_.push_back(*std::move(context));
    }
    settings_.rank = 0;
    for (const RosterPlayer& player : setup_.roster.players) {
      settings_.certificates.push_back(player.certificate);
    }
    settings_.roster_hash.fill(1);
    settings_.context = contexts_[0];
    settings_.incarnation.fill(10);
    connect();
  }

  /// A connection, in place of any before it.
  void connect() {
    link_ = std::make_unique<Link>(settings_, owner_, inbox_, -1);
    peer_ = std::make_unique<TlsSession>(
        contexts_[1], TlsRole::kClient,
        std::vector<std::optional<Fingerprint>>{settings_.certificates[0], std::nullopt},
        /*rekey_bytes=*/4096);
    sequence_ = 0;
    heard_.clear();
  }

  /// Carries bytes both ways until none are left; the error of the link, if it had one.
  Result<void> exchange() {
    for (;;) {
      (void)peer_->handshake();
      BP_TRY(link_->fill_output());
      OutputBytes to_peer;
      to_peer.swap(link_->output());
      OutputBytes to_link;
      to_link.swap(peer_->output());
      if (to_peer.empty() && to_link.empty()) return {};
      peer_->set_input({to_peer.data(), to_peer.size()});
      if (peer_->handshake().ok() && *peer_->handshake()) {
        std::vector<std::uint8_t> plain(1 << 16);
        for (;;) {
          const Result<std::size_t> size = peer_->read(plain);
          if (!size.ok() || *size == 0) break;
          heard_.insert(heard_.end(), plain.begin(),
                        plain.begin() + static_cast<std::ptrdiff_t>(*size));
        }
      }
      // Byte by byte, to meet every way in which the network may cut the stream.
      for (const std::uint8_t& byte : to_link) BP_TRY(link_->on_bytes({&byte, 1}));
    }
  }

  void say(FrameType type, const std::vector<std::uint8_t>& payload, std::uint32_t lane = 0) {
    const FrameHeaderBytes header = encode_frame_header({type, lane, sequence_++, payload.size()});
    ASSERT_TRUE(peer_->write(header).ok());
    ASSERT_TRUE(peer_->write(payload).ok());
  }

  /// The first frame's payload of a message of `size` bytes.
  static std::vector<std::uint8_t> beginning(const Tag& tag, std::uint64_t size,
                                             std::span<const std::uint8_t> piece) {
    const MessageHeadBytes head = encode_message_head({tag, size});
    std::vector<std::uint8_t> payload(head.size() + piece.size());
    std::copy(head.begin(), head.end(), payload.begin());
    std::copy(piece.begin(), piece.end(), payload.begin() + kMessageHeadBytes);
    return payload;
  }

  static std::vector<std::uint8_t> tagged(const Tag& tag,
                                          const std::vector<std::uint8_t>& payload) {
    return beginning(tag, payload.size(), payload);
  }

  LinkHello good_hello() const {
    LinkHello hello;
    hello.rank = 1;
    hello.roster_hash = settings_.roster_hash;
    hello.incarnation.fill(11);
    hello.reconnect = 60'000;
    hello.application = {5, 6};
    return hello;
  }

  void come_up() {
    ASSERT_TRUE(exchange().ok());
    say(FrameType::kHello, encode(good_hello()));
    say(FrameType::kAck, {});
    const Result<void> result = exchange();
    ASSERT_TRUE(result.ok()) << result.error().message;
    ASSERT_TRUE(link_->is_up());
  }

  void expect_error(ErrorCode code, const std::string& words) {
    const Result<void> result = exchange();
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_NE(result.error().message.find(words), std::string::npos) << result.error().message;
  }

  TlsPlayers setup_{2};
  std::vector<std::shared_ptr<TlsContext>> contexts_;
  LinkSettings settings_;
  RecordingOwner owner_;
  Inbox inbox_{2};
  std::unique_ptr<Link> link_;
  std::unique_ptr<TlsSession> peer_;
  std::uint64_t sequence_ = 0;
  std::vector<std::uint8_t> heard_;
};

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

/// What the peer has heard, frame by frame: type, lane and length.
std::vector<FrameHeader> frames_of(std::span<const std::uint8_t> heard) {
  std::vector<FrameHeader> frames;
  while (heard.size() >= kFrameHeaderBytes) {
    const auto header = decode_frame_header(heard.first<kFrameHeaderBytes>());
    BP_CHECK(header.ok(), "a frame");
    frames.push_back(*header);
    heard = heard.subspan(std::min<std::size_t>(heard.size(), kFrameHeaderBytes + header->length));
  }
  return frames;
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

TEST_F(LinkTest, ARefusalSurfacesWithItsReason) {
  ASSERT_TRUE(exchange().ok());
  say(FrameType::kRefuse, encode(Refusal{ErrorCode::kConfig, "not today"}));
  expect_error(ErrorCode::kConfig, "player 1 refused this player: not today");
}

}  // namespace
}  // namespace beaverpond
