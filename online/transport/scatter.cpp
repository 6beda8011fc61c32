#include "online/transport/scatter.h"

#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "online/transport/all_reduce_form.h"
#include "online/transport/message_set.h"
#include "online/transport/reduce.h"

namespace beaverpond {

namespace {

/// In step 1 this player sends every other one that one's block, and gets its own block from each.
/// In step 2 it sends the sum of those and its own to all, and gets the sums of theirs.
class Scattered final : public Inbox::Taker, public std::enable_shared_from_this<Scattered> {
 public:
  Scattered(Mesh& mesh, std::span<std::uint64_t> words, ReduceOp op, const Tag& tag)
      : mesh_(mesh),
        words_(words),
        op_(op),
        tag_(tag),
        parts_left_(mesh.size()),
        sums_(static_cast<std::size_t>(mesh.size())),
        messages_(mesh) {
    BP_CHECK(mesh.size() >= 3 && tag.step == 0, "among three or more, begun once");
  }

  void begin() {
    for (int peer = 0; peer < mesh_.size() && !obstacle_.has_value(); ++peer) {
      if (peer != mesh_.rank()) obstacle_ = mesh_.inbox().obstacle(peer);
    }
    if (obstacle_.has_value()) return;
    for (std::size_t i = 0; i < others(); ++i) {
      messages_.send(other(i), tag_of(1), bytes_of(block(other(i))));
    }
    for (std::size_t i = 0; i < others(); ++i) {
      messages_.expect(other(i), tag_of(1), block(mesh_.rank()).size_bytes(), shared_from_this());
    }
    for (std::size_t i = 0; i < others(); ++i) {
      messages_.expect(other(i), tag_of(2), block(other(i)).size_bytes(), shared_from_this());
    }
    // Counted like a part that came, so that nothing more is sent before all this has been done.
    finish_part(std::unique_lock(mutex_));
  }

  /// Messages others() and more are those of step 2.
  void take(std::size_t number, MessageBuffer payload) override {
    std::unique_lock lock(mutex_);
    if (ended_) return;
    if (number >= others()) {
      sum_of(other(number - others())) = std::move(payload);
      return;
    }
    MessageBuffer& sum = sum_of(mesh_.rank());
    if (sum.size() == 0) {
      reduce_into(payload.bytes(), block(mesh_.rank()), op_);
      sum = std::move(payload);
    } else {
      reduce_into(sum.bytes(), payload.bytes(), op_);
      mesh_.inbox().buffers().give(std::move(payload));
    }
    finish_part(std::move(lock));
  }

  Result<void> wait(Deadline deadline) {
    Result<void> result = run(deadline);
    if (result.ok()) return result;
    end();
    Error error = result.error();
    if (error.code == ErrorCode::kPeerLost) mesh_.tell_lost(error);
    if (error.operation.empty() || error.code == ErrorCode::kPeerLost) {
      error.operation = to_string(tag_);
    }
    return error;
  }

 private:
  std::size_t others() const { return static_cast<std::size_t>(mesh_.size()) - 1; }
  int other(std::size_t i) const {
    const int player = static_cast<int>(i);
    return player < mesh_.rank() ? player : player + 1;
  }
  std::span<std::uint64_t> block(int player) const {
    const std::uint64_t begin = block_begin(mesh_.size(), words_.size(), player);
    const std::uint64_t end = block_begin(mesh_.size(), words_.size(), player + 1);
    return words_.subspan(begin, end - begin);
  }
  MessageBuffer& sum_of(int player) { return sums_[static_cast<std::size_t>(player)]; }
  Tag tag_of(std::uint32_t step) const {
    Tag tag = tag_;
    tag.step = step;
    return tag;
  }

  /// The last one lets the sum go. Without the lock: where players are threads of one process,
  /// sending leads to other players' take(), and from there back to this one's.
  void finish_part(std::unique_lock<std::mutex> lock) {
    if (--parts_left_ > 0) return;
    sending_ = true;
    lock.unlock();
    for (std::size_t i = 0; i < others(); ++i) {
      messages_.send(other(i), tag_of(2), sum_of(mesh_.rank()).bytes());
    }
    lock.lock();
    sending_ = false;
    sent_.notify_all();
  }

  Result<void> run(Deadline deadline) {
    if (obstacle_.has_value()) {
      mesh_.inbox().fail(*obstacle_);
      return *obstacle_;
    }
    for (std::size_t number = 0; number < messages_.expected(); ++number) {
      const Result<MessageBuffer> taken = messages_.receive(number, deadline);
      if (!taken.ok()) return number < others() ? taken.error() : late(taken.error());
    }
    // Only now may the result overwrite what was being sent.
    BP_TRY(messages_.wait_all_sent(deadline));
    for (int player = 0; player < mesh_.size(); ++player) {
      std::memcpy(block(player).data(), sum_of(player).bytes().data(), sum_of(player).size());
      mesh_.inbox().buffers().give(std::move(sum_of(player)));
    }
    return {};
  }

  /// Nothing is read of the caller's words after this, and nothing more is sent.
  void end() {
    {
      std::unique_lock lock(mutex_);
      ended_ = true;
      sent_.wait(lock, [this] { return !sending_; });
    }
    messages_.let_go();
  }

  /// Past the first step nobody knows from here who holds up whom.
  static Error late(Error error) {
    if (error.code != ErrorCode::kTimeout) return error;
    error.player.reset();
    error.message += "; it may itself be waiting for another player";
    return error;
  }

  Mesh& mesh_;
  const std::span<std::uint64_t> words_;
  const ReduceOp op_;
  const Tag tag_;
  std::optional<Error> obstacle_;

  std::mutex mutex_;  // guards what follows, until all has come
  std::condition_variable sent_;
  bool ended_ = false;               ///< wait() has failed
  bool sending_ = false;             ///< some thread lets the sum go
  int parts_left_;                   ///< of this player's block, its own one included
  std::vector<MessageBuffer> sums_;  ///< by player

  MessageSet messages_;
};

class ScatteredReduce final : public Operation::Pending {
 public:
  explicit ScatteredReduce(std::shared_ptr<Scattered> reduce) : reduce_(std::move(reduce)) {}
  Result<void> wait(Deadline deadline) override { return reduce_->wait(deadline); }

 private:
  std::shared_ptr<Scattered> reduce_;  ///< and of the messages that it still expects
};

}  // namespace

Operation start_scattered_reduce(Mesh& mesh, std::span<std::uint64_t> words, ReduceOp op,
                                 const Tag& tag) {
  auto reduce = std::make_shared<Scattered>(mesh, words, op, tag);
  reduce->begin();
  return Operation(std::make_unique<ScatteredReduce>(std::move(reduce)));
}

}  // namespace beaverpond
