// What goes to one player, over one connection or, where they may break, over several.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "beaverpond/result.h"
#include "online/transport/frame.h"
#include "online/transport/inbox.h"
#include "online/transport/lanes.h"

namespace beaverpond {

/// The frames to one player, numbered, and in their order. When it keeps them, each is there until
/// the other side says that it has come whole, so that a new connection goes on where the last one
/// broke. Of what is kept, small messages lie in their own memory, and the pieces of large ones in
/// the caller's until the last is out: what is unacknowledged then is copied, within kMostKept, and
/// the caller goes on. Used by one thread, but for post() and post_control().
class Outbox {
 public:
  struct Frame {
    FrameType type = FrameType::kHeartbeat;
    std::uint32_t lane = 0;
    std::uint64_t sequence = 0;
    std::vector<std::uint8_t> control;  ///< the payload, where there is no message
    std::shared_ptr<Outgoing> message;
    std::size_t offset = 0;  ///< of the message's piece
    std::size_t size = 0;

    std::uint64_t length() const {
      if (message == nullptr) return control.size();
      return size + (type == FrameType::kData ? kMessageHeadBytes : 0);
    }
  };

  /// Copies that are kept at once; with more, no further piece goes out until some are
  /// acknowledged.
  static constexpr std::size_t kMostKept = std::size_t{8} << 20;
  /// A frame that is kept takes about so much besides its bytes.
  static constexpr std::size_t kFrameCost = 256;

  /// Numbers its frames from `first` on.
  explicit Outbox(std::uint64_t first) : next_sequence_(first) {}

  // Thread safe.
  void post(std::shared_ptr<Outgoing> message);
  /// Ahead of all pieces of messages.
  void post_control(FrameType type, std::vector<std::uint8_t> payload, std::uint32_t lane = 0);

  /// From now on. Before the first frame.
  void keep_frames() { keeping_ = true; }
  bool keeps() const { return keeping_; }
  /// Says goodbye once all messages are out; no lane is held back any longer.
  void end(std::string reason);
  bool goodbye_sent() const { return goodbye_sent_; }
  bool ending() const { return ending_; }
  const std::string& end_reason() const { return end_reason_; }

  /// The next frame; nothing when there is none that may go.
  std::optional<Frame> next();
  /// That it went out, as far as this process can tell.
  void sent(const Frame& frame);
  /// Whether a message's memory has become its caller's again since last asked.
  bool take_consumed() { return std::exchange(consumed_, false); }

  /// The frames before number `count` have come whole. Errors: kProtocolMismatch for one never
  /// sent.
  Result<void> acknowledge(std::uint64_t count);
  /// On a new connection: what comes from number `count` on goes out again. Errors as above, and
  /// for frames that are not kept any more.
  Result<void> go_on_from(std::uint64_t count);
  bool all_acknowledged() const { return kept_.empty() && goodbye_sent_; }
  /// Whether a message is not out, or may not have come.
  bool owes_messages();
  std::size_t kept_bytes() const { return kept_bytes_; }

  /// Errors: kProtocolMismatch, for too many.
  Result<void> pause(std::uint32_t lane);
  void resume(std::uint32_t lane);

 private:
  struct Kept {
    Frame frame;
    std::size_t bytes = 0;  ///< of kept_bytes_
  };
  std::optional<Frame> begin();
  void keep(const Frame& frame);
  void settle();

  bool keeping_ = false;
  bool ending_ = false;
  bool goodbye_sent_ = false;
  bool consumed_ = false;
  std::string end_reason_;
  std::uint64_t next_sequence_;
  std::deque<Kept> kept_;  ///< numbered without a gap, up to next_sequence_
  std::size_t again_ = 0;  ///< of these: the next that goes out, again
  std::size_t kept_bytes_ = 0;
  /// The last pieces of messages that are out, and whose memory their callers still wait for.
  std::deque<std::uint64_t> unsettled_;

  std::mutex mutex_;
  LaneQueue messages_;
  std::deque<Frame> controls_;
};

}  // namespace beaverpond
