// Messages in pieces: those that wait to be sent, and those that have arrived in part.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "online/transport/frame.h"
#include "online/transport/inbox.h"

namespace beaverpond {

/// Messages that wait for one connection. The lanes take turns, a piece each, so that a small
/// message waits for one piece of every other lane at most. Not thread safe.
class LaneQueue {
 public:
  struct Piece {
    std::shared_ptr<Outgoing> message;
    std::size_t offset = 0;
    std::size_t size = 0;
  };

  bool empty() const { return turns_.empty(); }

  void push(std::shared_ptr<Outgoing> message) {
    const std::uint32_t lane = message->tag().lane;
    std::deque<Piece>& waiting = lanes_[lane];
    if (waiting.empty()) turns_.push_back(lane);
    waiting.push_back({std::move(message), 0, 0});
  }

  /// The next piece of the lane whose turn it is. Not empty.
  Piece next() {
    const std::uint32_t lane = turns_.front();
    turns_.pop_front();
    std::deque<Piece>& waiting = lanes_[lane];
    Piece& front = waiting.front();
    const std::size_t left = front.message->size_bytes() - front.offset;
    Piece piece{front.message, front.offset, std::min(left, kPieceBytes)};
    front.offset += piece.size;
    if (piece.size == left) waiting.pop_front();
    if (!waiting.empty()) turns_.push_back(lane);
    return piece;
  }

 private:
  std::map<std::uint32_t, std::deque<Piece>> lanes_;
  std::deque<std::uint32_t> turns_;  ///< the lanes that have messages
};

/// A message of which some pieces have come.
struct PartialMessage {
  Tag tag;
  MessageBuffer payload;
  std::size_t received = 0;
  std::size_t piece_end = 0;  ///< where the piece that is on its way ends

  /// What the next piece must hold.
  std::size_t due() const { return std::min(payload.size() - received, kPieceBytes); }
};

}  // namespace beaverpond
