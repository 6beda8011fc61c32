#include "online/transport/link.h"

#include <algorithm>
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
    case Stage::kTag: return std::span<std::uint8_t>(tag_bytes_).subspan(received_);
    case Stage::kPayload: break;
  }
  return payload_.bytes().subspan(received_);
}

Result<void> Link::next_stage() {
  received_ = 0;
  if (stage_ == Stage::kHeader) {
    Result<FrameHeader> header = decode_frame_header(header_bytes_);
    if (!header.ok()) return mismatch(player_, "a " + header.error().message);
    header_ = *header;
    if (header_.sequence != frames_received_++) {
      return mismatch(player_, "frame number " + std::to_string(header_.sequence) + " where " +
                                   std::to_string(frames_received_ - 1) + " was due");
    }
    if (header_.type != FrameType::kData) return begin_payload(header_.length);
    if (state_ != State::kUp) return mismatch(player_, "data outside the connection's time");
    stage_ = Stage::kTag;
    return {};
  }
  if (stage_ == Stage::kTag) {
    tag_ = decode_tag(tag_bytes_);
    if (tag_.lane != header_.lane) return mismatch(player_, "a frame with two lanes");
    return begin_payload(header_.length - kTagBytes);
  }
  return on_frame();
}

Result<void> Link::begin_payload(std::size_t size) {
  try {
    payload_ = inbox_.buffers().take(size);
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "no memory for the " + std::to_string(size) +
                                                   " bytes that player " + std::to_string(player_) +
                                                   " sends; give this player more memory or use "
                                                   "a smaller batch");
  }
  stage_ = Stage::kPayload;
  return size == 0 ? on_frame() : Result<void>{};
}

Result<void> Link::on_frame() {
  stage_ = Stage::kHeader;
  if (header_.type != FrameType::kData) return on_control();
  inbox_.deliver(player_, tag_, std::move(payload_));
  return {};
}

Result<void> Link::on_control() {
  const std::span<const std::uint8_t> bytes = payload_.bytes();
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
    case FrameType::kData: break;
  }
  return mismatch(player_, "a frame of type " +
                               std::to_string(static_cast<unsigned>(header_.type)) +
                               " at a time when none may come");
}

Result<void> Link::on_hello() {
  Result<LinkHello> hello = decode_link_hello(payload_.bytes());
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
  messages_.push_back(std::move(message));
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
  return session_.write(small_);
}

Result<void> Link::fill_output() {
  if (state_ == State::kTls && output().empty() && session_.peer_rank() == std::nullopt) {
    BP_ASSIGN([[maybe_unused]] const bool done, session_.handshake());  // the client's first flight
  }
  if (state_ != State::kUp && !(ending_ && state_ == State::kHello)) return {};
  bool consumed = false;
  while (output().size() < kBatchBytes) {
    if (current_ == nullptr) {
      BP_ASSIGN(const bool more, begin_next());
      if (!more) break;
      continue;
    }
    Result<void> written;
    const bool all = current_->take(
        kBatchBytes, [&](std::span<const std::uint8_t> bytes) { written = session_.write(bytes); });
    BP_TRY(std::move(written));
    if (all) {
      current_ = nullptr;
      consumed = true;
    }
  }
  if (consumed) inbox_.wake();
  return {};
}

/// Starts the next frame of the queues, or goodbye after the last. False when there is none.
Result<bool> Link::begin_next() {
  if (goodbye_sent_) return false;  // a heartbeat behind it would be a breach of the protocol
  std::pair<FrameType, std::vector<std::uint8_t>> control;
  {
    const std::scoped_lock lock(queue_mutex_);
    if (!controls_.empty()) {
      control = std::move(controls_.front());
      controls_.pop_front();
    } else if (!messages_.empty() && state_ == State::kUp) {
      current_ = std::move(messages_.front());
      messages_.pop_front();
    } else if (ending_) {
      goodbye_sent_ = true;
      control = {FrameType::kGoodbye, {end_reason_.begin(), end_reason_.end()}};
    } else {
      return false;
    }
  }
  if (current_ == nullptr) {
    BP_TRY(write_frame(control.first, control.second));
  } else {
    BP_TRY(begin_message(*current_));
  }
  return true;
}

Result<void> Link::begin_message(const Outgoing& message) {
  const FrameHeaderBytes header =
      next_header(FrameType::kData, message.tag().lane, kTagBytes + message.size_bytes());
  const TagBytes tag = encode_tag(message.tag());
  small_.assign(header.begin(), header.end());
  small_.insert(small_.end(), tag.begin(), tag.end());
  if (message.size_bytes() > Outgoing::kCopiedBytes) return session_.write(small_);
  // A small message goes out whole, in one record with its header.
  current_->take(message.size_bytes(), [&](std::span<const std::uint8_t> bytes) {
    small_.insert(small_.end(), bytes.begin(), bytes.end());
  });
  current_ = nullptr;
  return session_.write(small_);
}

}  // namespace beaverpond
