#include "online/transport/link.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>

namespace beaverpond {

namespace {

/// The dialler accepts the one certificate it came for; who is dialled, those of higher ranks.
std::vector<std::optional<Fingerprint>> acceptable(const LinkSettings& settings, int player) {
  std::vector<std::optional<Fingerprint>> pins(settings.certificates.size());
  for (std::size_t rank = 0; rank < pins.size(); ++rank) {
    const int other = static_cast<int>(rank);
    if (player >= 0 ? other == player : other > settings.rank) {
      pins[rank] = settings.certificates[rank];
    }
  }
  return pins;
}

Error mismatch(int player, const std::string& what) {
  Error error = make_error(ErrorCode::kProtocolMismatch,
                           "player " + std::to_string(player) + " sent " + what);
  error.player = player;
  return error;
}

std::string hash_text(const std::array<std::uint8_t, 32>& hash) {
  return short_hex(hash);
}

}  // namespace

Link::Link(const LinkSettings& settings, Owner& owner, Inbox& inbox, int player)
    : settings_(settings),
      owner_(owner),
      inbox_(inbox),
      player_(player),
      session_(settings.context, player >= 0 ? TlsRole::kClient : TlsRole::kServer,
               acceptable(settings, player)) {}

// ---- Receiving ----

Result<void> Link::on_bytes(std::span<const std::uint8_t> bytes) {
  session_.set_input(bytes);
  if (state_ == State::kTls) {
    BP_ASSIGN(const bool done, session_.handshake());
    if (!done) return {};
    BP_CHECK(session_.peer_rank().has_value(), "TLS came up without a pinned certificate");
    player_ = *session_.peer_rank();
    state_ = State::kHello;
    const LinkHello hello{static_cast<std::uint32_t>(settings_.rank), settings_.roster_hash,
                          settings_.hello};
    BP_TRY(write_frame(FrameType::kHello, encode(hello)));
  }
  for (;;) {
    const std::span<std::uint8_t> to = missing();
    BP_ASSIGN(const std::size_t size, session_.read(to));
    if (size == 0) return {};
    received_ += size;
    if (size == to.size()) BP_TRY(next_stage());
  }
}

std::span<std::uint8_t> Link::missing() {
  switch (stage_) {
    case Stage::kHeader: return std::span<std::uint8_t>(header_bytes_).subspan(received_);
    case Stage::kHead: return std::span<std::uint8_t>(head_bytes_).subspan(received_);
    case Stage::kControl: return control_.bytes().subspan(received_);
    case Stage::kPiece: break;
  }
  const std::size_t begin = current_->received + received_;
  return current_->payload.bytes().subspan(begin, current_->piece_end - begin);
}

Result<void> Link::next_stage() {
  received_ = 0;
  switch (std::exchange(stage_, Stage::kHeader)) {
    case Stage::kHeader: return on_header();
    case Stage::kHead: return begin_message();
    case Stage::kControl: return on_control();
    case Stage::kPiece: break;
  }
  return on_piece();
}

Result<void> Link::on_header() {
  Result<FrameHeader> header = decode_frame_header(header_bytes_);
  if (!header.ok()) return mismatch(player_, "a " + header.error().message);
  header_ = *header;
  if (header_.sequence != frames_received_++) {
    return mismatch(player_, "frame number " + std::to_string(header_.sequence) + " where " +
                                 std::to_string(frames_received_ - 1) + " was due");
  }
  if (header_.type != FrameType::kData && header_.type != FrameType::kMore) {
    control_ = MessageBuffer(header_.length);
    stage_ = Stage::kControl;
    return header_.length == 0 ? next_stage() : Result<void>{};
  }
  if (state_ != State::kUp) return mismatch(player_, "data outside the connection's time");
  if (header_.type == FrameType::kMore) {
    const auto begun = partial_.find(header_.lane);
    if (begun == partial_.end()) return mismatch(player_, "a piece of a message never begun");
    current_ = &begun->second;
    return begin_piece(header_.length);
  }
  stage_ = Stage::kHead;
  return {};
}

Result<void> Link::begin_message() {
  const Result<MessageHead> head = decode_message_head(head_bytes_);
  if (!head.ok()) return mismatch(player_, "a " + head.error().message);
  if (head->tag.lane != header_.lane) return mismatch(player_, "a frame with two lanes");
  const auto [place, is_new] = partial_.try_emplace(header_.lane);
  if (!is_new) return mismatch(player_, "a message within another of its lane");
  partial_bytes_ += head->size;
  if (partial_bytes_ > Inbox::kMaxEarlyBytes) {
    return mismatch(player_, "the beginnings of messages of more than " +
                                 std::to_string(Inbox::kMaxEarlyBytes) + " bytes at once");
  }
  current_ = &place->second;
  current_->tag = head->tag;
  try {
    current_->payload = inbox_.buffers().take(head->size);
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "no memory for the " + std::to_string(head->size) +
                                                   " bytes that player " + std::to_string(player_) +
                                                   " sends; give this player more memory or use "
                                                   "a smaller batch");
  }
  return begin_piece(header_.length - kMessageHeadBytes);
}

Result<void> Link::begin_piece(std::size_t size) {
  if (size != current_->due()) {
    return mismatch(player_, "a piece of " + std::to_string(size) + " bytes where " +
                                 std::to_string(current_->due()) + " were due");
  }
  current_->piece_end = current_->received + size;
  if (size == 0) return on_piece();
  stage_ = Stage::kPiece;
  return {};
}

Result<void> Link::on_piece() {
  current_->received = current_->piece_end;
  if (current_->received < current_->payload.size()) return {};
  PartialMessage whole = std::move(*current_);
  partial_bytes_ -= whole.payload.size();
  partial_.erase(header_.lane);
  current_ = nullptr;
  inbox_.deliver(player_, whole.tag, std::move(whole.payload));
  return {};
}

Result<void> Link::on_control() {
  const std::span<const std::uint8_t> bytes = control_.bytes();
  const bool agreeing = state_ == State::kHello;
  switch (header_.type) {
    case FrameType::kHello:
      if (agreeing && !hello_accepted_) return on_hello();
      break;
    case FrameType::kAck:
      if (!agreeing || ack_received_) break;
      ack_received_ = true;
      return come_up_if_agreed();
    case FrameType::kRefuse: {
      if (!agreeing) break;
      BP_ASSIGN(const Refusal refusal, decode_refusal(bytes));
      Error error = make_error(refusal.code, "player " + std::to_string(player_) +
                                                 " refused this player: " + refusal.reason);
      error.player = player_;
      return error;
    }
    case FrameType::kHeartbeat:
      if (state_ == State::kUp) return {};
      break;
    case FrameType::kGoodbye:
      if (state_ != State::kUp && !agreeing) break;
      state_ = State::kEnded;
      owner_.goodbye(player_, printable(bytes));
      return {};
    case FrameType::kLost: {
      if (state_ != State::kUp) break;
      const int players = static_cast<int>(settings_.certificates.size());
      BP_ASSIGN(const LostReport report, decode_lost_report(bytes, players));
      owner_.lost(player_, report);
      return {};
    }
    case FrameType::kData:
    case FrameType::kMore: break;
  }
  return mismatch(player_, "a frame of type " +
                               std::to_string(static_cast<unsigned>(header_.type)) +
                               " at a time when none may come");
}

Result<void> Link::on_hello() {
  Result<LinkHello> hello = decode_link_hello(control_.bytes());
  if (!hello.ok()) return refuse(hello.error());
  if (hello->rank != static_cast<std::uint32_t>(player_)) {
    return refuse(make_error(ErrorCode::kRosterMismatch,
                             "it says it is player " + std::to_string(hello->rank) +
                                 ", but its certificate is that of "
                                 "player " +
                                 std::to_string(player_) +
                                 "; start it with the rank that its home has in the "
                                 "roster"));
  }
  if (hello->roster_hash != settings_.roster_hash) {
    return refuse(make_error(ErrorCode::kRosterMismatch,
                             "the rosters differ: that of player " + std::to_string(player_) +
                                 " has hash " + hash_text(hello->roster_hash) +
                                 ", that of player " + std::to_string(settings_.rank) + " has " +
                                 hash_text(settings_.roster_hash) +
                                 "; give every player the same "
                                 "roster.toml"));
  }
  if (settings_.check_hello != nullptr) {
    Result<void> checked = settings_.check_hello(player_, hello->application);
    if (!checked.ok()) return refuse(checked.error());
  }
  if (Result<void> admitted = owner_.admit(player_); !admitted.ok()) {
    not_admitted_ = true;
    return refuse(admitted.error());
  }
  their_hello_ = std::move(hello->application);
  hello_accepted_ = true;
  BP_TRY(write_frame(FrameType::kAck, {}));
  return come_up_if_agreed();
}

Result<void> Link::refuse(Error error) {
  BP_TRY(write_frame(FrameType::kRefuse, encode(Refusal{error.code, error.message})));
  error.message = "refused player " + std::to_string(player_) + ": " + error.message;
  error.player = player_;
  return error;
}

Result<void> Link::come_up_if_agreed() {
  if (!hello_accepted_ || !ack_received_) return {};
  state_ = State::kUp;
  Result<void> welcome = owner_.up(player_, std::move(their_hello_));
  if (!welcome.ok()) {
    state_ = State::kHello;
    not_admitted_ = true;
    const std::string& reason = welcome.error().message;
    BP_TRY(write_frame(FrameType::kGoodbye,
                       {reinterpret_cast<const std::uint8_t*>(reason.data()), reason.size()}));
    return welcome;
  }
  was_up_ = true;
  return {};
}

// ---- Sending ----

void Link::post(std::shared_ptr<Outgoing> message) {
  const std::scoped_lock lock(queue_mutex_);
  messages_.push(std::move(message));
}

void Link::post_control(FrameType type, std::vector<std::uint8_t> payload) {
  const std::scoped_lock lock(queue_mutex_);
  controls_.emplace_back(type, std::move(payload));
}

void Link::end(std::string reason) {
  ending_ = true;
  end_reason_ = std::move(reason);
}

FrameHeaderBytes Link::next_header(FrameType type, std::uint32_t lane, std::uint64_t length) {
  return encode_frame_header({type, lane, frames_sent_++, length});
}

Result<void> Link::write_frame(FrameType type, std::span<const std::uint8_t> payload) {
  const FrameHeaderBytes header = next_header(type, 0, payload.size());
  small_.assign(header.begin(), header.end());
  small_.insert(small_.end(), payload.begin(), payload.end());
  return write_small();
}

Result<void> Link::fill_output() {
  if (state_ == State::kTls && output().empty() && session_.peer_rank() == std::nullopt) {
    BP_ASSIGN([[maybe_unused]] const bool done, session_.handshake());  // the client's first flight
  }
  if (state_ != State::kUp && !(ending_ && state_ == State::kHello)) return {};
  while (output().size() < kBatchBytes) {
    BP_ASSIGN(const bool more, write_next());
    if (!more) break;
  }
  if (std::exchange(consumed_, false)) inbox_.wake();
  return {};
}

/// The next control frame or piece of the queues, or goodbye after the last. False when there is
/// none.
Result<bool> Link::write_next() {
  if (goodbye_sent_) return false;  // a heartbeat behind it would be a breach of the protocol
  std::pair<FrameType, std::vector<std::uint8_t>> control;
  LaneQueue::Piece piece;
  {
    const std::scoped_lock lock(queue_mutex_);
    if (!controls_.empty()) {
      control = std::move(controls_.front());
      controls_.pop_front();
    } else if (!messages_.empty() && state_ == State::kUp) {
      piece = messages_.next();
    } else if (ending_) {
      goodbye_sent_ = true;
      control = {FrameType::kGoodbye, {end_reason_.begin(), end_reason_.end()}};
    } else {
      return false;
    }
  }
  if (piece.message == nullptr) {
    BP_TRY(write_frame(control.first, control.second));
  } else {
    BP_TRY(write_piece(piece));
  }
  return true;
}

Result<void> Link::write_piece(const LaneQueue::Piece& piece) {
  Outgoing& message = *piece.message;
  const bool first = piece.offset == 0;
  const FrameHeaderBytes header =
      next_header(first ? FrameType::kData : FrameType::kMore, message.tag().lane,
                  piece.size + (first ? kMessageHeadBytes : 0));
  small_.assign(header.begin(), header.end());
  if (first) {
    const MessageHeadBytes head = encode_message_head({message.tag(), message.size_bytes()});
    small_.insert(small_.end(), head.begin(), head.end());
  }
  if (message.size_bytes() <= Outgoing::kCopiedBytes) {
    // A small message goes out whole, in one record with its header.
    message.take(piece.size, [&](std::span<const std::uint8_t> bytes) {
      small_.insert(small_.end(), bytes.begin(), bytes.end());
    });
    return write_small();
  }
  BP_TRY(write_small());
  Result<void> written;
  const bool all = message.take(
      piece.size, [&](std::span<const std::uint8_t> bytes) { written = session_.write(bytes); });
  consumed_ = consumed_ || all;
  return written;
}

Result<void> Link::write_small() {
  Result<void> written = session_.write(small_);
  explicit_bzero(small_.data(), small_.size());  // a key, perhaps
  return written;
}

}  // namespace beaverpond
