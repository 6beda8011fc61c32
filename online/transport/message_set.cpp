#include "online/transport/message_set.h"

#include <utility>

#include "online/transport/frame.h"

namespace beaverpond {

void MessageSet::check(int peer, std::uint64_t size_bytes) const {
  BP_CHECK(peer >= 0 && peer < mesh_.size() && peer != mesh_.rank(), "not another player");
  BP_CHECK(size_bytes <= kMaxPayloadBytes, "a message has at most 1 GiB");
}

void MessageSet::expect(int from, const Tag& tag, std::optional<std::uint64_t> size_bytes,
                        std::shared_ptr<Inbox::Taker> taker) {
  check(from, 0);
  expected_.push_back(
      mesh_.inbox().expect(from, tag, size_bytes, std::move(taker), expected_.size()));
}

void MessageSet::send(int to, const Tag& tag, std::span<const std::uint8_t> payload) {
  check(to, payload.size());
  auto message = std::make_shared<Outgoing>(to, tag, payload);
  mesh_.inbox().count_sent(payload.size());
  mesh_.post(message);
  sent_.push_back(std::move(message));
}

Result<void> MessageSet::wait_all_sent(Deadline deadline) {
  for (const auto& message : sent_) BP_TRY(mesh_.inbox().wait_sent(*message, deadline));
  return {};
}

void MessageSet::let_go() {
  for (const auto& message : sent_) message->detach();
  for (const Inbox::Ticket& ticket : expected_) mesh_.inbox().abandon(ticket);
}

}  // namespace beaverpond
