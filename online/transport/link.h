// One TLS connection to one player, without its socket: bytes in, bytes out.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "online/transport/buffer.h"
#include "online/transport/control.h"
#include "online/transport/frame.h"
#include "online/transport/inbox.h"
#include "online/transport/stream.h"
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
  Incarnation incarnation{};
  /// How long a player waits for a new connection when one breaks; 0: a break is a loss.
  std::chrono::milliseconds reconnect{0};
};

/// The life of a connection: TLS handshake, hello both ways, ack or refusal both ways, then frames
/// until goodbye. Dialled by the higher rank. Used by one thread. Its stream is its own, or that of
/// a connection before it that broke.
class Link {
 public:
  /// Told of what happens; may not destroy the link from within.
  class Owner {
   public:
    virtual ~Owner() = default;
    /// May this player come in? An error refuses it.
    virtual Result<void> admit(int player) = 0;
    /// What a connection with this player would go on with: it was up, and may break. Else null.
    virtual std::shared_ptr<Stream> stream_of(int /*player*/) { return nullptr; }
    /// A connection of this player wants to begin anew instead: what to tell it.
    virtual Error came_back(int player) { return admit(player).error(); }
    /// The player has proved to be the one of that stream and comes anew: any other connection of
    /// it is over.
    virtual void comes_again(int /*player*/) {}
    /// Both sides go on.
    virtual void goes_on(int /*player*/) {}
    /// Both sides agreed. An error drops this connection, with a goodbye that says why: two of one
    /// player may both have been admitted before either was up.
    virtual Result<void> up(int player, std::vector<std::uint8_t> hello) = 0;
    virtual void goodbye(int player, std::string reason) = 0;
    virtual void lost(int reporter, const LostReport& report) = 0;
  };

  /// Plain bytes encrypted for one write to the socket.
  static constexpr std::size_t kBatchBytes = std::size_t{256} << 10;

  /// To dial `player`, or with -1 to accept any higher rank. With a stream, to go on with it.
  Link(const LinkSettings& settings, Owner& owner, Inbox& inbox, int player,
       std::shared_ptr<Stream> goes_on = nullptr);

  /// Errors: kRosterMismatch or the code of the refusal, on either side of one; kProtocolMismatch
  /// for frames that do not fit; kIo when TLS fails. output() may hold a last word all the same.
  Result<void> on_bytes(std::span<const std::uint8_t> bytes);
  /// Encrypts up to a batch of what is queued; output() is empty when there was nothing.
  Result<void> fill_output();
  OutputBytes& output() { return session_.output(); }

  const std::shared_ptr<Stream>& stream() const { return stream_; }
  /// Leaves it as the last whole frame did, for another connection. Sends and receives no more.
  void leave_stream();
  /// A sign of life is due: a heartbeat, or what has come, where the other side keeps that.
  void post_sign_of_life();
  /// Says goodbye once all messages are out.
  void end(std::string reason) { stream_->out.end(std::move(reason)); }

  /// The player at the other end, known by its certificate; -1 before.
  int player() const { return player_; }
  bool in_tls_handshake() const { return state_ == State::kTls; }
  bool is_up() const { return state_ == State::kUp; }
  bool was_up() const { return was_up_; }
  /// Meant to go on with a connection that broke; then either both sides do, or it is refused.
  bool goes_on() const { return goes_on_; }
  bool goodbye_sent() const { return said_goodbye_ || (was_up_ && stream_->out.goodbye_sent()); }
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
  Result<void> say_hello();
  Result<void> check_that_it_goes_on(const LinkHello& hello);
  Result<void> accept_hello(LinkHello hello);
  Result<void> acknowledge_the_end();
  Result<void> refuse(Error error);
  Result<void> come_up_if_agreed();
  Result<void> write_first(FrameType type, std::span<const std::uint8_t> payload);
  Result<void> write_frame(const Outbox::Frame& frame);
  Result<void> write_small();
  void wake_if_consumed();

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
  bool hello_sent_ = false;
  bool goes_on_ = false;
  bool said_goodbye_ = false;  ///< before it was up
  LinkHello their_hello_;
  std::shared_ptr<Stream> stream_;

  Stage stage_ = Stage::kHeader;
  std::size_t received_ = 0;  ///< bytes of this stage
  // Frames before it was up.
  std::uint64_t first_sent_ = 0;
  std::uint64_t first_received_ = 0;
  FrameHeaderBytes header_bytes_{};
  MessageHeadBytes head_bytes_{};
  FrameHeader header_;
  MessageBuffer control_;
  PartialMessage* current_ = nullptr;

  std::vector<std::uint8_t> small_;  ///< what goes out next in one record; wiped then
};

}  // namespace beaverpond
