#include "online/transport/mesh.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>

#include "online/transport/all_reduce_form.h"
#include "online/transport/message_set.h"
#include "online/transport/reduce.h"
#include "online/transport/scatter.h"

namespace beaverpond {

namespace {

void copy_bytes(std::span<const std::uint8_t> from, std::span<std::uint8_t> to) {
  BP_CHECK(from.size() == to.size(), "sizes were compared on arrival");
  if (!from.empty()) std::memmove(to.data(), from.data(), from.size());
}

}  // namespace

/// Messages to some players and from some players under one tag, and what to do when all are there.
class MeshTransport::Exchange final : public Operation::Pending {
 public:
  using Apply = std::function<void(int from, std::span<const std::uint8_t> payload)>;

  Exchange(Mesh& mesh, const Tag& tag, Apply apply)
      : mesh_(mesh), tag_(tag), apply_(std::move(apply)), messages_(mesh) {}

  void receive(int from, std::optional<std::uint64_t> size_bytes) {
    messages_.expect(from, tag_, size_bytes);
  }

  void send(int to, std::span<const std::uint8_t> payload) {
    messages_.check(to, payload.size());
    if (!obstacle_.has_value()) obstacle_ = mesh_.inbox().obstacle(to);
    if (!obstacle_.has_value()) messages_.send(to, tag_, payload);
  }

  Result<void> wait(Deadline deadline) override {
    Result<void> result = run(deadline);
    if (!result.ok()) messages_.let_go();
    return result;
  }

 private:
  Result<void> run(Deadline deadline) {
    std::vector<MessageBuffer> payloads;
    payloads.reserve(messages_.expected());
    if (obstacle_.has_value()) {
      if (obstacle_->operation.empty()) obstacle_->operation = to_string(tag_);
      mesh_.inbox().fail(*obstacle_);
      return *obstacle_;
    }
    for (std::size_t i = 0; i < messages_.expected(); ++i) {
      BP_ASSIGN(payloads.emplace_back(), messages_.receive(i, deadline));
    }
    // Only now may the result overwrite what was being sent.
    BP_TRY(messages_.wait_all_sent(deadline));
    for (std::size_t i = 0; i < payloads.size(); ++i) {
      apply_(messages_.sender(i), payloads[i].bytes());
      mesh_.inbox().buffers().give(std::move(payloads[i]));
    }
    return {};
  }

  Mesh& mesh_;
  const Tag tag_;
  const Apply apply_;
  MessageSet messages_;
  std::optional<Error> obstacle_;
};

Operation MeshTransport::start_all_reduce(std::span<std::uint64_t> words, ReduceOp op,
                                          const Tag& tag, StreamRef /*stream*/) {
  if (reduces_scattered(size(), words.size())) {
    return start_scattered_reduce(*mesh_, words, op, tag);
  }
  auto exchange = std::make_unique<Exchange>(
      *mesh_, tag, [words, op](int /*from*/, std::span<const std::uint8_t> payload) {
        reduce_into(words, payload, op);
      });
  for (int player = 0; player < size(); ++player) {
    if (player != rank()) exchange->send(player, bytes_of(words));
  }
  for (int player = 0; player < size(); ++player) {
    if (player != rank()) exchange->receive(player, words.size_bytes());
  }
  return Operation(std::move(exchange));
}

Operation MeshTransport::start_all_gather(std::span<const std::uint8_t> mine,
                                          std::span<std::uint8_t> all, const Tag& tag,
                                          StreamRef /*stream*/) {
  BP_CHECK(all.size() == mine.size() * static_cast<std::size_t>(size()),
           "all_gather: `all` holds one part per player");
  const auto part = [all, part_bytes = mine.size()](int player) {
    return all.subspan(static_cast<std::size_t>(player) * part_bytes, part_bytes);
  };
  copy_bytes(mine, part(rank()));
  auto exchange = std::make_unique<Exchange>(
      *mesh_, tag,
      [part](int from, std::span<const std::uint8_t> payload) { copy_bytes(payload, part(from)); });
  for (int player = 0; player < size(); ++player) {
    if (player != rank()) exchange->send(player, mine);
  }
  for (int player = 0; player < size(); ++player) {
    if (player != rank()) exchange->receive(player, mine.size());
  }
  return Operation(std::move(exchange));
}

Operation MeshTransport::start_broadcast(int root, std::span<std::uint8_t> bytes, const Tag& tag,
                                         StreamRef stream) {
  if (rank() != root) return start_recv(root, bytes, tag, stream);
  auto exchange = std::make_unique<Exchange>(*mesh_, tag, nullptr);
  for (int player = 0; player < size(); ++player) {
    if (player != root) exchange->send(player, bytes);
  }
  return Operation(std::move(exchange));
}

Operation MeshTransport::start_send(int to, std::span<const std::uint8_t> bytes, const Tag& tag,
                                    StreamRef /*stream*/) {
  auto exchange = std::make_unique<Exchange>(*mesh_, tag, nullptr);
  exchange->send(to, bytes);
  return Operation(std::move(exchange));
}

Operation MeshTransport::start_recv(int from, std::span<std::uint8_t> bytes, const Tag& tag,
                                    StreamRef /*stream*/) {
  auto exchange = std::make_unique<Exchange>(
      *mesh_, tag,
      [bytes](int /*from*/, std::span<const std::uint8_t> payload) { copy_bytes(payload, bytes); });
  exchange->receive(from, bytes.size());
  return Operation(std::move(exchange));
}

Result<std::vector<std::vector<std::uint8_t>>> MeshTransport::all_gather_messages_blocking(
    std::span<const std::uint8_t> mine, const Tag& tag, Deadline deadline) {
  BP_CHECK(mine.size() <= Inbox::kMaxMessageBytes, "a message has at most 16 MiB");
  std::vector<std::vector<std::uint8_t>> messages(static_cast<std::size_t>(size()));
  messages[static_cast<std::size_t>(rank())].assign(mine.begin(), mine.end());
  Exchange exchange(*mesh_, tag, [&](int from, std::span<const std::uint8_t> payload) {
    messages[static_cast<std::size_t>(from)].assign(payload.begin(), payload.end());
  });
  for (int player = 0; player < size(); ++player) {
    if (player != rank()) exchange.send(player, mine);
  }
  for (int player = 0; player < size(); ++player) {
    if (player != rank()) exchange.receive(player, std::nullopt);
  }
  BP_TRY(exchange.wait(deadline));
  return messages;
}

}  // namespace beaverpond
