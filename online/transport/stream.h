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
  /// By lane: at most one message each has begun and not ended.
  std::map<std::uint32_t, PartialMessage> partial;
  std::uint64_t partial_bytes = 0;  ///< that these will have
  bool ended = false;               ///< the other side has said goodbye

  Incarnation incarnation{};  ///< of the other side
  /// How long both wait for a new connection when one breaks; 0: not at all.
  std::chrono::milliseconds reconnect{0};

  /// Says how much has come.
  void acknowledge() {
    unacknowledged = 0;
    out.post_control(FrameType::kReceived, encode_received(frames_received));
  }
};

}  // namespace beaverpond
