// Where arriving messages meet the operations that wait for them.
#pragma once

#include <algorithm>
#include <atomic>
#include <compare>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "beaverpond/result.h"
#include "online/transport/buffer.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// A message on its way to one player. The payload is the caller's until consumed(); detach()
/// copies what is still needed of it, so that the caller may go; the copy wipes itself. Thread
/// safe.
class Outgoing {
 public:
  /// Shorter payloads are copied at once, and then travel in one TLS record with their header.
  static constexpr std::size_t kCopiedBytes = std::size_t{12} << 10;

  Outgoing(int to, const Tag& tag, std::span<const std::uint8_t> payload);

  int to() const { return to_; }
  const Tag& tag() const { return tag_; }
  std::size_t size_bytes() const { return size_bytes_; }
  bool consumed() const { return consumed_.load(std::memory_order_acquire); }
  void detach();

  // For the sender.

  /// Passes the `size` bytes from `offset` on to `sink(span)`: none that were released.
  template <class Sink>
  void read(std::size_t offset, std::size_t size, Sink&& sink) {
    const std::scoped_lock lock(mutex_);
    sink(rest_.subspan(offset - released_, size));
  }
  /// Bytes before `offset` are needed no more. True when none is.
  bool release(std::size_t offset) {
    const std::scoped_lock lock(mutex_);
    rest_ = rest_.subspan(offset - released_);
    released_ = offset;
    if (rest_.empty()) consumed_.store(true, std::memory_order_release);
    return rest_.empty();
  }
  /// Bytes that detach() would have to copy.
  std::size_t needed() {
    const std::scoped_lock lock(mutex_);
    return consumed() ? 0 : rest_.size();
  }

 private:
  const int to_;
  const Tag tag_;
  const std::size_t size_bytes_;
  std::mutex mutex_;
  std::span<const std::uint8_t> rest_;  ///< from released_ on
  std::size_t released_ = 0;
  MessageBuffer owned_;
  std::atomic<bool> consumed_ = false;
};

/// One player's inbox. Per peer and lane, messages are given to operations in the order in which
/// those were started. The first failure is final: whatever still lacks its message then fails with
/// it. Thread safe.
class Inbox {
 public:
  /// Messages that no operation has asked for yet, per peer, with their headers and tags, and the
  /// channels that they opened. More is a peer out of control.
  static constexpr std::uint64_t kMaxEarlyBytes = std::uint64_t{2} << 30;
  /// Where it is more than this, per peer, the lanes that bring it are paused.
  static constexpr std::uint64_t kPauseBytes = std::uint64_t{64} << 20;
  /// What a channel (a lane, or the second step of a reduction) takes in memory, about.
  static constexpr std::uint64_t kChannelBytes = 2048;

  /// Takes messages when they come, on the thread that brings them (or on that which expects what
  /// is there already), with no lock of the inbox held. May post messages.
  class Taker {
   public:
    virtual ~Taker() = default;
    virtual void take(std::size_t number, MessageBuffer payload) = 0;
  };

  /// A place in the order of one peer's messages.
  struct Slot {
    int from = 0;
    Tag tag;
    std::optional<std::uint64_t> size_bytes;  ///< unset: any size up to kMaxMessageBytes
    std::shared_ptr<Taker> taker;             ///< until it has the message; wait() then gives none
    std::size_t number = 0;                   ///< for the taker
    bool filled = false;
    bool awaited = false;  ///< somebody sleeps until it is filled
    bool abandoned = false;
    MessageBuffer payload;
  };
  using Ticket = std::shared_ptr<Slot>;
  static constexpr std::uint64_t kMaxMessageBytes = std::uint64_t{16} << 20;

  /// Told to have a lane's sender begin no more messages, or go on. Called under a lock, in the
  /// order in which these are to arrive; may not block, nor call the inbox.
  using Flow = std::function<void(int from, std::uint32_t lane, bool pause)>;

  explicit Inbox(int players, std::uint64_t max_early_bytes = kMaxEarlyBytes);
  /// Before anything else; without one nothing is paused.
  void on_flow(Flow flow) { flow_ = std::move(flow); }

  // The side of the operations.

  Ticket expect(int from, const Tag& tag, std::optional<std::uint64_t> size_bytes,
                std::shared_ptr<Taker> taker = nullptr, std::size_t number = 0);
  /// The payload. Errors: kPeerLost, kProtocolMismatch (or another failure of this transport);
  /// kTimeout, which is not final.
  Result<MessageBuffer> wait(const Ticket& ticket, Deadline deadline);
  /// Returns when the payload has been consumed. Errors as wait().
  Result<void> wait_sent(const Outgoing& message, Deadline deadline);
  /// The message is thrown away when it comes.
  void abandon(const Ticket& ticket);
  /// Why a new message to or from `peer` cannot arrive, if that is known.
  std::optional<Error> obstacle(int peer);
  std::optional<Error> failure() const;
  BufferPool& buffers() { return buffers_; }
  TransportStats stats() const;
  void count_sent(std::uint64_t payload_bytes);

  // The side of the connections.

  void deliver(int from, const Tag& tag, MessageBuffer payload);
  /// Fails everything, once.
  void fail(Error error);
  /// `peer` ended cleanly: an error only for those who still wait for it.
  void close_peer(int peer, std::string reason);
  /// To be called after an Outgoing was consumed.
  void wake();
  /// What a wait for `peer` that reaches its deadline says besides: why nothing passes. Empty:
  /// nothing.
  void note(int peer, std::string what);

 private:
  struct Message {
    Tag tag;
    MessageBuffer payload;
  };
  /// Sender and lane. The second step of a reduction has a channel of its own, with the rest of its
  /// tag: operations of a lane may begin in one order and go on in another.
  struct ChannelKey {
    int from = 0;
    std::uint32_t lane = 0;
    std::uint32_t step = 0;
    std::uint64_t session = 0;
    std::uint64_t bundle = 0;
    std::uint32_t operation = 0;
    auto operator<=>(const ChannelKey&) const = default;
  };
  static ChannelKey key_of(int from, const Tag& tag) {
    if (tag.step <= 1) return {.from = from, .lane = tag.lane};
    return {from, tag.lane, tag.step, tag.session, tag.bundle, tag.operation};
  }
  struct Channel {
    std::deque<Ticket> waiting;
    std::deque<Message> early;
    bool opened_by_peer = false;  ///< and so counted among its early bytes
    bool paused = false;
  };
  struct Peer {
    bool closed = false;
    std::string reason;
    std::string note;
    std::uint64_t early_bytes = 0;
  };

  void forget_if_spent(const ChannelKey& key);
  void set_paused(const ChannelKey& key, Channel& channel, bool paused);
  std::string late(int peer) const;
  void match(Slot& slot, const Tag& tag, MessageBuffer payload, std::unique_lock<std::mutex>& lock);
  void fail_locked(Error error);
  std::optional<Error> obstacle_locked(int peer);

  const std::uint64_t max_early_bytes_;
  mutable std::mutex mutex_;
  // Apart, and signalled only for those who wait: every needless wake-up costs two context switches
  // in the middle of a round.
  std::condition_variable received_;
  std::condition_variable sent_;
  std::map<ChannelKey, Channel> channels_;
  std::vector<Peer> peers_;
  Flow flow_;
  std::optional<Error> failure_;
  BufferPool buffers_;
  std::atomic<std::uint64_t> sent_bytes_ = 0;
  std::atomic<std::uint64_t> received_bytes_ = 0;
};

}  // namespace beaverpond
