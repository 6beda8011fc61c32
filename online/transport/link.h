// One TLS connection to one player, without its socket: bytes in, bytes out.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "beaverpond/result.h"
#include "online/transport/buffer.h"
#include "online/transport/control.h"
#include "online/transport/frame.h"
#include "online/transport/inbox.h"
#include "online/transport/lanes.h"
#include "online/transport/tls_session.h"

namespace beaverpond {

/// What all links of one process have in common.
struct LinkSettings {
  int rank = 0;
  std::vector<Fingerprint> certificates;  ///< by rank
  std::array<std::uint8_t, 32> roster_hash{};
  std::vector<std::uint8_t> hello;
  std::function<Result<void>(int player, std::span<const std::uint8_t> hello)> check_hello;
  std::shared_ptr<TlsContext> context;
};

/// The life of a connection: TLS handshake, hello both ways, ack or refusal both ways, then frames
/// until goodbye. Dialled by the higher rank. Used by one thread, but for post().
class Link {
 public:
  /// Told of what happens; may not destroy the link from within.
  class Owner {
   public:
    virtual ~Owner() = default;
    /// May this player come in? An error refuses it.
    virtual Result<void> admit(int player) = 0;
    /// Both sides agreed. An error drops this connection, with a goodbye that says why: two of one
    /// player may both have been admitted before either was up.
    virtual Result<void> up(int player, std::vector<std::uint8_t> hello) = 0;
    virtual void goodbye(int player, std::string reason) = 0;
    virtual void lost(int reporter, const LostReport& report) = 0;
  };

  /// Plain bytes encrypted for one write to the socket.
  static constexpr std::size_t kBatchBytes = std::size_t{256} << 10;

  /// To dial `player`, or with -1 to accept any higher rank.
  Link(const LinkSettings& settings, Owner& owner, Inbox& inbox, int player);

  /// Errors: kRosterMismatch or the code of the refusal, on either side of one; kProtocolMismatch
  /// for frames that do not fit; kIo when TLS fails. output() may hold a last word all the same.
  Result<void> on_bytes(std::span<const std::uint8_t> bytes);
  /// Encrypts up to a batch of what is queued; output() is empty when there was nothing.
  Result<void> fill_output();
  OutputBytes& output() { return session_.output(); }

  /// Queues a message. Thread safe.
  void post(std::shared_ptr<Outgoing> message);
  /// Queues a control frame, ahead of all pieces of messages.
  void post_control(FrameType type, std::vector<std::uint8_t> payload);
  /// Says goodbye once all messages are out.
  void end(std::string reason);

  /// The player at the other end, known by its certificate; -1 before.
  int player() const { return player_; }
  bool in_tls_handshake() const { return state_ == State::kTls; }
  bool is_up() const { return state_ == State::kUp; }
  bool was_up() const { return was_up_; }
  bool goodbye_sent() const { return goodbye_sent_; }
  bool goodbye_received() const { return state_ == State::kEnded; }
  /// Refused by the owner's admit() or up(), not because anything differs.
  bool not_admitted() const { return not_admitted_; }
  const TlsSession& session() const { return session_; }

 private:
  enum class State : std::uint8_t { kTls, kHello, kUp, kEnded };
  enum class Stage : std::uint8_t { kHeader, kHead, kPiece, kControl };

  std::span<std::uint8_t> missing();
  Result<void> next_stage();
  Result<void> on_header();
  Result<void> begin_message();
  Result<void> begin_piece(std::size_t size);
  Result<void> on_piece();
  Result<void> on_control();
  Result<void> on_hello();
  Result<void> refuse(Error error);
  Result<void> come_up_if_agreed();
  Result<void> write_frame(FrameType type, std::span<const std::uint8_t> payload);
  Result<void> write_piece(const LaneQueue::Piece& piece);
  Result<void> write_small();
  Result<bool> write_next();
  FrameHeaderBytes next_header(FrameType type, std::uint32_t lane, std::uint64_t length);

  const LinkSettings& settings_;
  Owner& owner_;
  Inbox& inbox_;
  int player_;
  TlsSession session_;
  State state_ = State::kTls;
  bool hello_accepted_ = false;  ///< theirs, by us
  bool ack_received_ = false;    ///< ours, by them
  bool was_up_ = false;
  bool not_admitted_ = false;
  std::vector<std::uint8_t> their_hello_;

  Stage stage_ = Stage::kHeader;
  std::size_t received_ = 0;  ///< bytes of this stage
  std::uint64_t frames_received_ = 0;
  FrameHeaderBytes header_bytes_{};
  MessageHeadBytes head_bytes_{};
  FrameHeader header_;
  MessageBuffer control_;
  /// By lane: at most one message each has begun and not ended.
  std::map<std::uint32_t, PartialMessage> partial_;
  std::uint64_t partial_bytes_ = 0;  ///< that these will have
  PartialMessage* current_ = nullptr;

  std::mutex queue_mutex_;
  LaneQueue messages_;
  std::deque<std::pair<FrameType, std::vector<std::uint8_t>>> controls_;
  std::vector<std::uint8_t> small_;  ///< what goes out next in one record; wiped then
  bool consumed_ = false;            ///< a message, since the inbox was last told
  std::uint64_t frames_sent_ = 0;
  bool ending_ = false;
  bool goodbye_sent_ = false;
  std::string end_reason_;
};

}  // namespace beaverpond
