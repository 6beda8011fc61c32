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

Link::Link(const LinkSettings& settings, Owner& owner, Inbox& inbox, int player,
           std::shared_ptr<Stream> goes_on)
    : settings_(settings),
      owner_(owner),
      inbox_(inbox),
      player_(player),
      session_(settings.context, player >= 0 ? TlsRole::kClient : TlsRole::kServer,
               acceptable(settings, player)),
      goes_on_(goes_on != nullptr),
      stream_(goes_on_ ? std::move(goes_on) : std::make_shared<Stream>()) {}

// ---- Receiving ----

Result<void> Link::on_bytes(std::span<const std::uint8_t> bytes) {
  session_.set_input(bytes);
  if (state_ == State::kTls) {
    BP_ASSIGN(const bool done, session_.handshake());
    if (!done) return {};
    BP_CHECK(session_.peer_rank().has_value(), "TLS came up without a pinned certificate");
    player_ = *session_.peer_rank();
    state_ = State::kHello;
    // What has come is known once the player has proved to be the one that was there before.
    if (goes_on_ || owner_.stream_of(player_) == nullptr) BP_TRY(say_hello());
  }
  for (;;) {
    const std::span<std::uint8_t> to = missing();
    BP_ASSIGN(const std::size_t size, session_.read(to));
    if (size == 0) break;
    received_ += size;
    if (size == to.size()) BP_TRY(next_stage());
  }
  wake_if_consumed();
  return {};
}

Result<void> Link::say_hello() {
  LinkHello hello;
  hello.rank = static_cast<std::uint32_t>(settings_.rank);
  hello.roster_hash = settings_.roster_hash;
  hello.incarnation = settings_.incarnation;
  hello.reconnect = static_cast<std::uint32_t>(settings_.reconnect.count());
  if (goes_on_) {
    hello.goes_on_with = stream_->incarnation;
    hello.received = stream_->frames_received;
  } else {
    hello.application = settings_.hello;
  }
  hello_sent_ = true;
  return write_first(FrameType::kHello, encode(hello));
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
  const std::uint64_t due = state_ == State::kHello ? first_received_ : stream_->frames_received;
  if (header_.sequence != due) {
    return mismatch(player_, "frame number " + std::to_string(header_.sequence) + " where " +
                                 std::to_string(due) + " was due");
  }
  if (header_.type != FrameType::kData && header_.type != FrameType::kMore) {
    control_ = MessageBuffer(header_.length);
    stage_ = Stage::kControl;
    return header_.length == 0 ? next_stage() : Result<void>{};
  }
  if (state_ != State::kUp) return mismatch(player_, "data outside the connection's time");
  if (header_.type == FrameType::kMore) {
    const auto begun = stream_->partial.find(header_.lane);
    if (begun == stream_->partial.end())
      return mismatch(player_, "a piece of a message never begun");
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
  const auto [place, is_new] = stream_->partial.try_emplace(header_.lane);
  if (!is_new) return mismatch(player_, "a message within another of its lane");
  stream_->partial_bytes += head->size;
  if (stream_->partial_bytes > Inbox::kMaxEarlyBytes) {
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
  ++stream_->frames_received;
  if (stream_->out.keeps()) {
    stream_->unacknowledged += header_.length + Outbox::kFrameCost;
    if (stream_->unacknowledged >= Stream::kAcknowledgeBytes) stream_->acknowledge();
  }
  if (current_->received < current_->payload.size()) return {};
  PartialMessage whole = std::move(*current_);
  stream_->partial_bytes -= whole.payload.size();
  stream_->partial.erase(header_.lane);
  current_ = nullptr;
  inbox_.deliver(player_, whole.tag, std::move(whole.payload));
  return {};
}

Result<void> Link::on_control() {
  const std::span<const std::uint8_t> bytes = control_.bytes();
  const bool agreeing = state_ == State::kHello;
  ++(agreeing ? first_received_ : stream_->frames_received);
  if (state_ == State::kUp) stream_->control_came(header_.length);
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
    case FrameType::kReceived: {
      if (state_ != State::kUp || !stream_->out.keeps()) break;
      BP_ASSIGN(const std::uint64_t count, decode_received(bytes));
      const Result<void> known = stream_->out.acknowledge(count);
      if (!known.ok()) return mismatch(player_, known.error().message);
      return {};
    }
    case FrameType::kPause: {
      if (state_ != State::kUp || !bytes.empty()) break;
      const Result<void> paused = stream_->out.pause(header_.lane);
      if (!paused.ok()) return mismatch(player_, paused.error().message);
      return {};
    }
    case FrameType::kResume:
      if (state_ != State::kUp || !bytes.empty()) break;
      stream_->out.resume(header_.lane);
      return {};
    case FrameType::kGoodbye:
      if (state_ != State::kUp && !agreeing) break;
      // The right certificate alone cannot end what another process of that player is part of.
      if (agreeing && !owner_.admit(player_).ok()) break;
      if (state_ == State::kUp && stream_->out.keeps()) BP_TRY(acknowledge_the_end());
      stream_->ended = true;
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
  if (goes_on_ || hello->goes_on() || owner_.stream_of(player_) != nullptr) {
    BP_TRY(check_that_it_goes_on(*hello));
    return accept_hello(*std::move(hello));
  }
  if (settings_.check_hello != nullptr) {
    Result<void> checked = settings_.check_hello(player_, hello->application);
    if (!checked.ok()) return refuse(checked.error());
  }
  if (Result<void> admitted = owner_.admit(player_); !admitted.ok()) {
    not_admitted_ = true;
    return refuse(admitted.error());
  }
  return accept_hello(*std::move(hello));
}

Result<void> Link::accept_hello(LinkHello hello) {
  their_hello_ = std::move(hello);
  hello_accepted_ = true;
  BP_TRY(write_first(FrameType::kAck, {}));
  return come_up_if_agreed();
}

/// Tuples are one-time pads: a process that was started again has no part in what an earlier one
/// began, whatever its certificate.
Result<void> Link::check_that_it_goes_on(const LinkHello& hello) {
  const std::shared_ptr<Stream> known = goes_on_ ? stream_ : owner_.stream_of(player_);
  not_admitted_ = true;
  if (known == nullptr || (hello.goes_on() && hello.goes_on_with != settings_.incarnation)) {
    return refuse(make_error(ErrorCode::kPeerLost,
                             "this process of player " + std::to_string(settings_.rank) +
                                 " has no connection to go on with: it was started again, or has "
                                 "given up that session"));
  }
  if (!hello.goes_on() || hello.incarnation != known->incarnation) {
    // Who dials tries again, until this session is over.
    Error error = owner_.came_back(player_);
    return refuse(std::move(error));
  }
  if (!goes_on_) {
    owner_.comes_again(player_);
    stream_ = known;
    goes_on_ = true;
    BP_TRY(say_hello());
  }
  const Result<void> fits = stream_->out.go_on_from(hello.received);
  if (!fits.ok()) {
    return refuse(make_error(ErrorCode::kProtocolMismatch, "it says " + fits.error().message));
  }
  not_admitted_ = false;
  return {};
}

Result<void> Link::refuse(Error error) {
  BP_TRY(write_first(FrameType::kRefuse, encode(Refusal{error.code, error.message})));
  error.message = "refused player " + std::to_string(player_) + ": " + error.message;
  error.player = player_;
  return error;
}

Result<void> Link::come_up_if_agreed() {
  if (!hello_accepted_ || !ack_received_) return {};
  state_ = State::kUp;
  if (goes_on_) {
    was_up_ = true;
    owner_.goes_on(player_);
    // It had said goodbye, and comes for the count of what has come: the hello told it.
    if (stream_->ended) state_ = State::kEnded;
    return {};
  }
  stream_->incarnation = their_hello_.incarnation;
  stream_->reconnect =
      std::min(settings_.reconnect, std::chrono::milliseconds(their_hello_.reconnect));
  if (stream_->reconnect.count() > 0) stream_->out.keep_frames();
  Result<void> welcome = owner_.up(player_, std::move(their_hello_.application));
  if (!welcome.ok()) {
    state_ = State::kHello;
    not_admitted_ = true;
    const std::string& reason = welcome.error().message;
    BP_TRY(write_first(FrameType::kGoodbye,
                       {reinterpret_cast<const std::uint8_t*>(reason.data()), reason.size()}));
    return welcome;
  }
  was_up_ = true;
  return {};
}

/// The other side waits for no more than to know that all has come.
Result<void> Link::acknowledge_the_end() {
  stream_->acknowledge();
  return fill_output();
}

void Link::leave_stream() {
  // A message of which not even the first piece came whole begins anew.
  if (stage_ == Stage::kPiece && header_.type == FrameType::kData) {
    stream_->partial_bytes -= current_->payload.size();
    stream_->partial.erase(header_.lane);
  }
  stage_ = Stage::kHeader;
  received_ = 0;
  current_ = nullptr;
  state_ = State::kEnded;
  stream_ = std::make_shared<Stream>();
}

// ---- Sending ----

void Link::post_sign_of_life() {
  if (stream_->out.keeps()) {
    stream_->acknowledge();
  } else {
    stream_->out.post_control(FrameType::kHeartbeat, {});
  }
}

/// A frame of the handshake, or instead of what would follow it.
Result<void> Link::write_first(FrameType type, std::span<const std::uint8_t> payload) {
  const FrameHeaderBytes header = encode_frame_header({type, 0, first_sent_++, payload.size()});
  small_.assign(header.begin(), header.end());
  small_.insert(small_.end(), payload.begin(), payload.end());
  return write_small();
}

Result<void> Link::fill_output() {
  if (state_ == State::kTls && output().empty() && session_.peer_rank() == std::nullopt) {
    BP_ASSIGN([[maybe_unused]] const bool done, session_.handshake());  // the client's first flight
  }
  if (state_ == State::kHello && hello_sent_ && !goes_on_ && stream_->out.ending() &&
      !std::exchange(said_goodbye_, true)) {
    const std::string& reason = stream_->out.end_reason();
    return write_first(FrameType::kGoodbye,
                       {reinterpret_cast<const std::uint8_t*>(reason.data()), reason.size()});
  }
  if (state_ != State::kUp) return {};
  while (output().size() < kBatchBytes) {
    const std::optional<Outbox::Frame> frame = stream_->out.next();
    if (!frame.has_value()) break;
    BP_TRY(write_frame(*frame));
    stream_->out.sent(*frame);
  }
  wake_if_consumed();
  return {};
}

void Link::wake_if_consumed() {
  if (stream_->out.take_consumed()) inbox_.wake();
}

Result<void> Link::write_frame(const Outbox::Frame& frame) {
  const FrameHeaderBytes header =
      encode_frame_header({frame.type, frame.lane, frame.sequence, frame.length()});
  small_.assign(header.begin(), header.end());
  small_.insert(small_.end(), frame.control.begin(), frame.control.end());
  if (frame.message == nullptr) return write_small();
  Outgoing& message = *frame.message;
  if (frame.type == FrameType::kData) {
    const MessageHeadBytes head = encode_message_head({message.tag(), message.size_bytes()});
    small_.insert(small_.end(), head.begin(), head.end());
  }
  if (message.size_bytes() <= Outgoing::kCopiedBytes) {
    // A small message goes out whole, in one record with its header.
    message.read(frame.offset, frame.size, [&](std::span<const std::uint8_t> bytes) {
      small_.insert(small_.end(), bytes.begin(), bytes.end());
    });
    return write_small();
  }
  BP_TRY(write_small());
  Result<void> written;
  message.read(frame.offset, frame.size,
               [&](std::span<const std::uint8_t> bytes) { written = session_.write(bytes); });
  return written;
}

Result<void> Link::write_small() {
  Result<void> written = session_.write(small_);
  explicit_bzero(small_.data(), small_.size());  // a key, perhaps
  return written;
}

}  // namespace beaverpond
