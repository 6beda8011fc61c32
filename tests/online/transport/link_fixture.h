// A link and, at its other end, a peer that says what the test wants.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "online/transport/link.h"
#include "tests/online/transport/players.h"

namespace beaverpond {

using testing::in_ms;
using testing::TlsPlayers;

inline constexpr Tag kTag{.session = 1, .bundle = 2, .lane = 3, .operation = 4};

class RecordingOwner : public Link::Owner {
 public:
  Result<void> admit(int player) override {
    if (known_players_come_in) return {};
    return make_error(ErrorCode::kRosterMismatch, "connected: " + std::to_string(player));
  }
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
  bool known_players_come_in = true;
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

/// What the peer has heard, frame by frame: type, lane and length.
inline std::vector<FrameHeader> frames_of(std::span<const std::uint8_t> heard) {
  std::vector<FrameHeader> frames;
  while (heard.size() >= kFrameHeaderBytes) {
    const auto header = decode_frame_header(heard.first<kFrameHeaderBytes>());
    BP_CHECK(header.ok(), "a frame");
    frames.push_back(*header);
    heard = heard.subspan(std::min<std::size_t>(heard.size(), kFrameHeaderBytes + header->length));
  }
  return frames;
}

}  // namespace beaverpond
