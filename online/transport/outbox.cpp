#include "online/transport/outbox.h"

#include <algorithm>

namespace beaverpond {

void Outbox::post(std::shared_ptr<Outgoing> message) {
  const std::scoped_lock lock(mutex_);
  messages_.push(std::move(message));
}

void Outbox::post_control(FrameType type, std::vector<std::uint8_t> payload, std::uint32_t lane) {
  const std::scoped_lock lock(mutex_);
  Frame& frame = controls_.emplace_back();
  frame.type = type;
  frame.lane = lane;
  frame.control = std::move(payload);
}

void Outbox::end(std::string reason) {
  const std::scoped_lock lock(mutex_);
  ending_ = true;
  end_reason_ = std::move(reason);
  messages_.resume_all();
}

Result<void> Outbox::pause(std::uint32_t lane) {
  const std::scoped_lock lock(mutex_);
  if (ending_ || messages_.pause(lane)) return {};
  return make_error(
      ErrorCode::kProtocolMismatch,
      "a pause of more lanes than " + std::to_string(LaneQueue::kMostPaused) + " at once");
}

void Outbox::resume(std::uint32_t lane) {
  const std::scoped_lock lock(mutex_);
  messages_.resume(lane);
}

/// The next control frame or piece of the queues, or goodbye after the last.
std::optional<Outbox::Frame> Outbox::begin() {
  Frame frame;
  const std::scoped_lock lock(mutex_);
  if (!controls_.empty()) {
    frame = std::move(controls_.front());
    controls_.pop_front();
    return frame;
  }
  if (keeping_ && kept_bytes_ >= kMostKept) return std::nullopt;
  LaneQueue::Piece piece = messages_.next();
  if (piece.message != nullptr) {
    frame.type = piece.offset == 0 ? FrameType::kData : FrameType::kMore;
    frame.lane = piece.message->tag().lane;
    frame.message = std::move(piece.message);
    frame.offset = piece.offset;
    frame.size = piece.size;
    return frame;
  }
  if (!ending_ || !messages_.empty()) return std::nullopt;
  goodbye_sent_ = true;
  frame.type = FrameType::kGoodbye;
  frame.control.assign(end_reason_.begin(), end_reason_.end());
  return frame;
}

std::optional<Outbox::Frame> Outbox::next() {
  if (again_ < kept_.size()) return kept_[again_++].frame;
  if (goodbye_sent_) return std::nullopt;  // what came behind it would be a breach
  std::optional<Frame> frame = begin();
  if (!frame.has_value()) return frame;
  frame->sequence = next_sequence_++;
  if (keeping_) keep(*frame);
  return frame;
}

void Outbox::keep(const Frame& frame) {
  Kept kept{frame, kFrameCost + frame.control.size()};
  const bool in_own_memory = frame.message != nullptr && frame.message->consumed();
  if (in_own_memory) kept.bytes += frame.size;
  kept_bytes_ += kept.bytes;
  kept_.push_back(std::move(kept));
  again_ = kept_.size();
}

void Outbox::sent(const Frame& frame) {
  if (frame.message == nullptr) return;
  Outgoing& message = *frame.message;
  const std::size_t end = frame.offset + frame.size;
  if (!keeping_) {
    // Small ones are their own, and end with the last that holds them.
    if (message.size_bytes() > Outgoing::kCopiedBytes) consumed_ |= message.release(end);
  } else if (end == message.size_bytes() && !message.consumed()) {
    unsettled_.push_back(frame.sequence);
    settle();
  }
}

/// Copies what is still needed of messages that are out, as far as there is room.
void Outbox::settle() {
  while (!unsettled_.empty()) {
    const std::uint64_t last = unsettled_.front();
    const std::uint64_t first = kept_.empty() ? next_sequence_ : kept_.front().frame.sequence;
    if (last >= first) {
      Kept& kept = kept_[last - first];
      const std::size_t needed = kept.frame.message->needed();
      if (needed > 0 && kept_bytes_ + needed > kMostKept) return;
      kept.frame.message->detach();
      kept.bytes += needed;
      kept_bytes_ += needed;
    }
    consumed_ = true;
    unsettled_.pop_front();
  }
}

Result<void> Outbox::acknowledge(std::uint64_t count) {
  if (count > next_sequence_) {
    return make_error(ErrorCode::kProtocolMismatch,
                      "that " + std::to_string(count) + " frames have come, of " +
                          std::to_string(next_sequence_) + " that were sent");
  }
  // Less than before is what a frame says that goes out again: nothing new.
  while (!kept_.empty() && kept_.front().frame.sequence < count) {
    const Kept& kept = kept_.front();
    if (const std::shared_ptr<Outgoing>& message = kept.frame.message; message != nullptr) {
      message->release(kept.frame.offset + kept.frame.size);
    }
    kept_bytes_ -= kept.bytes;
    kept_.pop_front();
    again_ -= std::min<std::size_t>(again_, 1);
  }
  settle();
  return {};
}

bool Outbox::owes_messages() {
  const bool kept = std::any_of(kept_.begin(), kept_.end(),
                                [](const Kept& one) { return one.frame.message != nullptr; });
  const std::scoped_lock lock(mutex_);
  return kept || !messages_.empty();
}

Result<void> Outbox::go_on_from(std::uint64_t count) {
  const std::uint64_t first = kept_.empty() ? next_sequence_ : kept_.front().frame.sequence;
  if (count < first) {
    return make_error(ErrorCode::kProtocolMismatch,
                      "that frame " + std::to_string(count) +
                          " has not come, after it was acknowledged: " + std::to_string(first) +
                          " is the first that is kept");
  }
  BP_TRY(acknowledge(count));
  again_ = 0;
  return {};
}

}  // namespace beaverpond
