#include "online/transport/inbox.h"

#include "online/transport/frame.h"

namespace beaverpond {

namespace {

/// What a message took on the wire: an empty one is not free to keep either.
std::uint64_t weight(const MessageBuffer& payload) {
  return wire_bytes(payload.size());
}

Error during(Error error, const Tag& tag) {
  if (error.operation.empty()) error.operation = to_string(tag);
  return error;
}

}  // namespace

Outgoing::Outgoing(int to, const Tag& tag, std::span<const std::uint8_t> payload)
    : to_(to), tag_(tag), size_bytes_(payload.size()), rest_(payload) {
  if (payload.size() <= kCopiedBytes) detach();
}

void Outgoing::detach() {
  const std::scoped_lock lock(mutex_);
  if (consumed()) return;
  owned_ = MessageBuffer(rest_.size());
  std::copy(rest_.begin(), rest_.end(), owned_.bytes().begin());
  rest_ = owned_.bytes();
  consumed_.store(true, std::memory_order_release);
}

Inbox::Inbox(int players, std::uint64_t max_early_bytes)
    : max_early_bytes_(max_early_bytes), peers_(static_cast<std::size_t>(players)) {}

Inbox::Ticket Inbox::expect(int from, const Tag& tag, std::optional<std::uint64_t> size_bytes,
                            std::shared_ptr<Taker> taker, std::size_t number) {
  auto ticket = std::make_shared<Slot>();
  ticket->from = from;
  ticket->tag = tag;
  ticket->size_bytes = size_bytes;
  ticket->taker = std::move(taker);
  ticket->number = number;
  std::unique_lock lock(mutex_);
  const ChannelKey key = key_of(from, tag);
  Channel& channel = channels_[key];
  if (channel.early.empty()) {
    channel.waiting.push_back(ticket);
    return ticket;
  }
  Message message = std::move(channel.early.front());
  channel.early.pop_front();
  Peer& peer = peers_[static_cast<std::size_t>(from)];
  peer.early_bytes -= weight(message.payload);
  if (channel.paused && (channel.early.empty() || peer.early_bytes <= kPauseBytes / 2)) {
    set_paused(key, channel, false);
  }
  forget_if_spent(key);
  match(*ticket, message.tag, std::move(message.payload), lock);
  return ticket;
}

void Inbox::deliver(int from, const Tag& tag, MessageBuffer payload) {
  received_bytes_.fetch_add(weight(payload), std::memory_order_relaxed);
  std::unique_lock lock(mutex_);
  const ChannelKey key = key_of(from, tag);
  const auto [place, is_new] = channels_.try_emplace(key);
  Channel& channel = place->second;
  if (!channel.waiting.empty()) {
    const Ticket ticket = std::move(channel.waiting.front());
    channel.waiting.pop_front();
    forget_if_spent(key);
    match(*ticket, tag, std::move(payload), lock);
    if (ticket->awaited) received_.notify_all();
    return;
  }
  Peer& peer = peers_[static_cast<std::size_t>(from)];
  const std::uint64_t added = weight(payload) + (is_new ? kChannelBytes : 0);
  if (added > max_early_bytes_ - peer.early_bytes) {
    if (is_new) channels_.erase(place);
    Error error = make_error(
        ErrorCode::kProtocolMismatch,
        "player " + std::to_string(from) + " sent more than " + std::to_string(max_early_bytes_) +
            " bytes that no operation here has asked for; the players do not run the same program");
    error.player = from;
    fail_locked(std::move(error));
    return;
  }
  peer.early_bytes += added;
  channel.opened_by_peer = channel.opened_by_peer || is_new;
  channel.early.push_back({tag, std::move(payload)});
  // Nobody waits for this lane: whoever asks gets what lies here first, and it goes on then. The
  // second step of a reduction may be waited for while its lane's next is not.
  if (key.step <= 1 && !channel.paused && peer.early_bytes > kPauseBytes) {
    set_paused(key, channel, true);
  }
}

void Inbox::set_paused(const ChannelKey& key, Channel& channel, bool paused) {
  if (!flow_) return;
  channel.paused = paused;
  flow_(key.from, key.lane, paused);
}

/// Second steps have a channel each, used once.
void Inbox::forget_if_spent(const ChannelKey& key) {
  const Channel& channel = channels_[key];
  if (key.step <= 1 || !channel.waiting.empty() || !channel.early.empty()) return;
  if (channel.opened_by_peer) {
    peers_[static_cast<std::size_t>(key.from)].early_bytes -= kChannelBytes;
  }
  channels_.erase(key);
}

/// Unlocked while a taker takes the message.
void Inbox::match(Slot& slot, const Tag& tag, MessageBuffer payload,
                  std::unique_lock<std::mutex>& lock) {
  const auto mismatch = [&](const std::string& what) {
    Error error = make_error(
        ErrorCode::kProtocolMismatch,
        "player " + std::to_string(slot.from) + " sent " + what +
            "; the players do not execute the same operations: compare their plans and versions");
    error.player = slot.from;
    error.operation = to_string(slot.tag);
    fail_locked(std::move(error));
  };
  if (tag != slot.tag) {
    return mismatch("a message of " + to_string(tag) + " where " + to_string(slot.tag) +
                    " was due");
  }
  if (slot.size_bytes.has_value() && payload.size() != *slot.size_bytes) {
    return mismatch(std::to_string(payload.size()) + " bytes for " + to_string(tag) + " where " +
                    std::to_string(*slot.size_bytes) + " were due");
  }
  if (!slot.size_bytes.has_value() && payload.size() > kMaxMessageBytes) {
    return mismatch("a message of " + std::to_string(payload.size()) + " bytes for " +
                    to_string(tag) + " where at most " + std::to_string(kMaxMessageBytes) +
                    " are allowed");
  }
  if (slot.abandoned) {
    buffers_.give(std::move(payload));
    return;
  }
  if (const std::shared_ptr<Taker> taker = std::move(slot.taker); taker != nullptr) {
    lock.unlock();
    taker->take(slot.number, std::move(payload));
    lock.lock();
  } else {
    slot.payload = std::move(payload);
  }
  slot.filled = true;
}

Result<MessageBuffer> Inbox::wait(const Ticket& ticket, Deadline deadline) {
  std::unique_lock lock(mutex_);
  ticket->awaited = true;
  while (!ticket->filled) {
    if (std::optional<Error> error = obstacle_locked(ticket->from)) {
      fail_locked(*error);
      return during(*std::move(error), ticket->tag);
    }
    if (received_.wait_until(lock, deadline) == std::cv_status::no_timeout) continue;
    if (ticket->filled || obstacle_locked(ticket->from).has_value()) continue;
    Error error =
        make_error(ErrorCode::kTimeout, "no message from player " + std::to_string(ticket->from) +
                                            " for " + to_string(ticket->tag) +
                                            " before the deadline" + late(ticket->from));
    error.player = ticket->from;
    return during(std::move(error), ticket->tag);
  }
  return std::move(ticket->payload);
}

Result<void> Inbox::wait_sent(const Outgoing& message, Deadline deadline) {
  if (message.consumed()) return {};
  std::unique_lock lock(mutex_);
  while (!message.consumed()) {
    if (std::optional<Error> error = obstacle_locked(message.to())) {
      fail_locked(*error);
      return during(*std::move(error), message.tag());
    }
    if (sent_.wait_until(lock, deadline) == std::cv_status::no_timeout) continue;
    if (message.consumed() || obstacle_locked(message.to()).has_value()) continue;
    Error error = make_error(ErrorCode::kTimeout,
                             "player " + std::to_string(message.to()) + " did not take the " +
                                 std::to_string(message.size_bytes()) + " bytes of " +
                                 to_string(message.tag()) + " before the deadline" +
                                 peers_[static_cast<std::size_t>(message.to())].note);
    error.player = message.to();
    return during(std::move(error), message.tag());
  }
  return {};
}

void Inbox::abandon(const Ticket& ticket) {
  const std::scoped_lock lock(mutex_);
  ticket->abandoned = true;
  ticket->payload = MessageBuffer();
  ticket->taker = nullptr;
}

std::optional<Error> Inbox::obstacle(int peer) {
  const std::scoped_lock lock(mutex_);
  return obstacle_locked(peer);
}

std::optional<Error> Inbox::obstacle_locked(int peer) {
  if (failure_.has_value()) return failure_;
  const Peer& state = peers_[static_cast<std::size_t>(peer)];
  if (!state.closed) return std::nullopt;
  Error error =
      make_error(ErrorCode::kPeerLost, "player " + std::to_string(peer) + " closed the connection" +
                                           (state.reason.empty() ? "" : ": " + state.reason));
  error.player = peer;
  return error;
}

std::optional<Error> Inbox::failure() const {
  const std::scoped_lock lock(mutex_);
  return failure_;
}

TransportStats Inbox::stats() const {
  return {sent_bytes_.load(std::memory_order_relaxed),
          received_bytes_.load(std::memory_order_relaxed)};
}

void Inbox::count_sent(std::uint64_t payload_bytes) {
  sent_bytes_.fetch_add(wire_bytes(payload_bytes), std::memory_order_relaxed);
}

void Inbox::fail(Error error) {
  const std::scoped_lock lock(mutex_);
  fail_locked(std::move(error));
}

void Inbox::fail_locked(Error error) {
  if (!failure_.has_value()) failure_ = std::move(error);
  received_.notify_all();
  sent_.notify_all();
}

void Inbox::close_peer(int peer, std::string reason) {
  const std::scoped_lock lock(mutex_);
  Peer& state = peers_[static_cast<std::size_t>(peer)];
  if (!state.closed) state.reason = std::move(reason);
  state.closed = true;
  received_.notify_all();
  sent_.notify_all();
}

std::string Inbox::late(int peer) const {
  const std::string& note = peers_[static_cast<std::size_t>(peer)].note;
  if (!note.empty()) return note;
  return ", although it is alive; raise the deadline or look at what it is doing";
}

void Inbox::note(int peer, std::string what) {
  const std::scoped_lock lock(mutex_);
  peers_[static_cast<std::size_t>(peer)].note = std::move(what);
}

void Inbox::wake() {
  // Taking the mutex keeps a waiter from missing this between its test and its sleep.
  const std::scoped_lock lock(mutex_);
  sent_.notify_all();
}

}  // namespace beaverpond
