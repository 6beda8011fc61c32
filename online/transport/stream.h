// What passes between this player and another, both ways, and outlives a connection that breaks.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>

#include "online/transport/control.h"
#include "online/transport/lanes.h"
#include "online/transport/outbox.h"

namespace beaverpond {

struct Stream {
  /// Each connection begins with a hello and its ack, numbers 0 and 1. What follows is numbered on
  /// over all connections.
  static constexpr std::uint64_t kFirstFrame = 2;
  /// So many bytes come before they are acknowledged at once, and not by the clock.
  static constexpr std::uint64_t kAcknowledgeBytes = std::uint64_t{1} << 20;

  Outbox out{kFirstFrame};

  std::uint64_t frames_received = kFirstFrame;  ///< whole
  std::uint64_t unacknowledged = 0;  ///< bytes of these, about, that the other side still keeps
  /// The same of control frames. No clock counts these, or both would acknowledge what the other
  /// acknowledges for ever.
  std::uint64_t control_unacknowledged = 0;
  /// By lane: at most one message each has begun and not ended.
  std::map<std::uint32_t, PartialMessage> partial;
  std::uint64_t partial_bytes = 0;  ///< that these will have
  bool ended = false;               ///< the other side has said goodbye

  Incarnation incarnation{};  ///< of the other side
  /// How long both wait for a new connection when one breaks; 0: not at all.
  std::chrono::milliseconds reconnect{0};

  /// While one side sends and sends, the other's frames are all acknowledgements, and kept too.
  void control_came(std::uint64_t length) {
    if (!out.keeps()) return;
    control_unacknowledged += length + Outbox::kFrameCost;
    if (control_unacknowledged >= kAcknowledgeBytes) acknowledge();
  }
  /// Says how much has come.
  void acknowledge() {
    unacknowledged = 0;
    control_unacknowledged = 0;
    out.post_control(FrameType::kReceived, encode_received(frames_received));
  }
};

}  // namespace beaverpond
