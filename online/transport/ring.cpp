#include "online/transport/ring.h"

#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "online/transport/all_reduce_form.h"
#include "online/transport/message_set.h"
#include "online/transport/reduce.h"

namespace beaverpond {

namespace {

/// Steps are counted from 1. In step s this player sends block rank - s + 1 and receives block
/// rank - s (all modulo the players). Up to step players - 1 blocks are partial sums, to which it
/// adds its own; from step `players` on they are complete.
class RingReduce final : public Operation::Pending {
 public:
  RingReduce(Mesh& mesh, std::span<std::uint64_t> words, ReduceOp op, const Tag& tag)
      : mesh_(mesh),
        words_(words),
        op_(op),
        tag_(tag),
        held_(static_cast<std::size_t>(mesh.size())),
        messages_(mesh) {
    BP_CHECK(mesh.size() >= 3 && tag.step == 0, "a ring of three or more, begun once");
    for (int peer = 0; peer < mesh_.size() && !obstacle_.has_value(); ++peer) {
      if (peer != mesh_.rank()) obstacle_ = mesh_.inbox().obstacle(peer);
    }
    if (obstacle_.has_value()) return;
    for (std::uint32_t step = 1; step <= last_step(); ++step) {
      messages_.expect(before(), tag_of(step), block(received_in(step)).size_bytes());
    }
    messages_.send(behind(), tag_of(1), bytes_of(block(mesh_.rank())));
  }

  Result<void> wait(Deadline deadline) override {
    Result<void> result = run(deadline);
    if (result.ok()) return result;
    messages_.let_go();
    Error error = result.error();
    if (error.code == ErrorCode::kPeerLost) mesh_.tell_lost(error);
    if (error.operation.empty() || error.code == ErrorCode::kPeerLost) {
      error.operation = to_string(tag_);
    }
    return error;
  }

 private:
  int before() const { return (mesh_.rank() + mesh_.size() - 1) % mesh_.size(); }
  int behind() const { return (mesh_.rank() + 1) % mesh_.size(); }
  std::uint32_t last_step() const { return static_cast<std::uint32_t>(ring_steps(mesh_.size())); }
  int received_in(std::uint32_t step) const {
    return ring_block_sent(mesh_.size(), mesh_.rank(), static_cast<int>(step) + 1);
  }
  std::span<std::uint64_t> block(int number) const {
    const std::uint64_t begin = ring_block_begin(mesh_.size(), words_.size(), number);
    const std::uint64_t end = ring_block_begin(mesh_.size(), words_.size(), number + 1);
    return words_.subspan(begin, end - begin);
  }
  Tag tag_of(std::uint32_t step) const {
    Tag tag = tag_;
    tag.step = step;
    return tag;
  }

  Result<void> run(Deadline deadline) {
    if (obstacle_.has_value()) {
      mesh_.inbox().fail(*obstacle_);
      return *obstacle_;
    }
    for (std::uint32_t step = 1; step <= last_step(); ++step) {
      BP_TRY(take_step(step, deadline));
    }
    // Only now may the result overwrite what was being sent.
    BP_TRY(messages_.wait_all_sent(deadline));
    for (int number = 0; number < mesh_.size(); ++number) {
      MessageBuffer& sum = held_[static_cast<std::size_t>(number)];
      std::memcpy(block(number).data(), sum.bytes().data(), sum.size());
      mesh_.inbox().buffers().give(std::move(sum));
    }
    return {};
  }

  Result<void> take_step(std::uint32_t step, Deadline deadline) {
    Result<MessageBuffer> received = messages_.receive(step - 1, deadline);
    if (!received.ok()) return step == 1 ? received.error() : late(received.error());
    const int number = received_in(step);
    const auto partial = step < static_cast<std::uint32_t>(mesh_.size());
    if (partial) reduce_into(received->bytes(), block(number), op_);
    MessageBuffer& held = held_[static_cast<std::size_t>(number)];
    if (held.size() > 0) {  // the partial sum that this player sent on in step `step - players + 1`
      BP_TRY(messages_.wait_sent(step - static_cast<std::uint32_t>(mesh_.size()), deadline));
      mesh_.inbox().buffers().give(std::move(held));
    }
    held = std::move(received).value();
    if (step < last_step()) messages_.send(behind(), tag_of(step + 1), held.bytes());
    return {};
  }

  /// Past the first step nobody knows from here who holds up whom.
  Error late(Error error) const {
    if (error.code != ErrorCode::kTimeout) return error;
    error.player.reset();
    error.message += "; in a ring it may itself wait for a player before it";
    return error;
  }

  Mesh& mesh_;
  const std::span<std::uint64_t> words_;
  const ReduceOp op_;
  const Tag tag_;
  std::vector<MessageBuffer> held_;  ///< by block: the last sum of it that came
  MessageSet messages_;
  std::optional<Error> obstacle_;
};

}  // namespace

Operation start_ring_reduce(Mesh& mesh, std::span<std::uint64_t> words, ReduceOp op,
                            const Tag& tag) {
  return Operation(std::make_unique<RingReduce>(mesh, words, op, tag));
}

}  // namespace beaverpond
