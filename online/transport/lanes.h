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
/// message waits for one piece of every other lane at most. A paused lane ends the message that it
/// has begun, and then sends only second steps of reductions, which may overtake what it holds
/// back: they are asked for apart. Not thread safe.
class LaneQueue {
 public:
  struct Piece {
    std::shared_ptr<Outgoing> message;
    std::size_t offset = 0;
    std::size_t size = 0;
  };
  /// Lanes that are paused at once: a peer that names more is out of control.
  static constexpr std::size_t kMostPaused = 4096;

  /// No message waits, of paused lanes neither.
  bool empty() const { return messages_ == 0; }

  void push(std::shared_ptr<Outgoing> message) {
    const std::uint32_t number = message->tag().lane;
    Lane& lane = lanes_[number];
    const bool may_send = !lane.paused || message->tag().step > 1;
    lane.waiting.push_back({{std::move(message), 0, 0}, false});
    ++messages_;
    if (may_send) take_turns(number, lane);
  }

  /// The next piece of the lane whose turn it is; without a message when no lane may send.
  Piece next() {
    while (!turns_.empty()) {
      const std::uint32_t number = turns_.front();
      Lane& lane = lanes_[number];
      turns_.pop_front();
      lane.in_turns = false;
      if (!may_send(lane)) continue;
      Waiting& front = lane.waiting.front();
      const std::size_t left = front.message->size_bytes() - front.offset;
      Piece piece{front.message, front.offset, std::min(left, kPieceBytes)};
      front.offset += piece.size;
      front.begun = true;
      if (piece.size == left) {
        lane.waiting.pop_front();
        --messages_;
      }
      take_turns(number, lane);
      return piece;
    }
    return {};
  }

  /// False if too many are.
  bool pause(std::uint32_t number) {
    Lane& lane = lanes_[number];
    if (!std::exchange(lane.paused, true)) ++paused_;
    return paused_ <= kMostPaused;
  }
  void resume(std::uint32_t number) {
    const auto at = lanes_.find(number);
    if (at == lanes_.end() || !std::exchange(at->second.paused, false)) return;
    --paused_;
    take_turns(number, at->second);
    // A peer may name any lane, and none is kept for it.
    if (!at->second.in_turns) lanes_.erase(at);
  }
  /// Those that something is kept for.
  std::size_t lanes() const { return lanes_.size(); }
  void resume_all() {
    for (auto& [number, lane] : lanes_) {
      lane.paused = false;
      take_turns(number, lane);
    }
    paused_ = 0;
  }

 private:
  struct Waiting : Piece {
    bool begun = false;
  };
  struct Lane {
    std::deque<Waiting> waiting;
    bool paused = false;
    bool in_turns = false;
  };

  /// Puts what a paused lane may send to its front.
  static bool may_send(Lane& lane) {
    std::deque<Waiting>& waiting = lane.waiting;
    if (waiting.empty()) return false;
    if (!lane.paused || waiting.front().begun) return true;
    const auto step = std::find_if(waiting.begin(), waiting.end(),
                                   [](const Waiting& one) { return one.message->tag().step > 1; });
    if (step == waiting.end()) return false;
    std::rotate(waiting.begin(), step, step + 1);
    return true;
  }
  void take_turns(std::uint32_t number, Lane& lane) {
    if (lane.in_turns || lane.waiting.empty()) return;
    if (lane.paused && !may_send(lane)) return;
    lane.in_turns = true;
    turns_.push_back(number);
  }

  std::map<std::uint32_t, Lane> lanes_;
  std::deque<std::uint32_t> turns_;  ///< the lanes that have messages
  std::size_t messages_ = 0;
  std::size_t paused_ = 0;
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
