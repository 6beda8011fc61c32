#include "online/securenn/link.h"

#include <algorithm>
#include <utility>

#include "online/protocol/traffic.h"
#include "online/transport/frame.h"

namespace beaverpond::securenn {
namespace {

constexpr std::size_t kMaxMessageBytes = kMaxMessageWords * 8;

}  // namespace

void Link::send(int to, std::span<const std::uint8_t> bytes) {
  sent_bytes_ += bytes.size();
  for (std::size_t at = 0; at < bytes.size(); at += kMaxMessageBytes) {
    const auto part = bytes.subspan(at, std::min(kMaxMessageBytes, bytes.size() - at));
    std::uint32_t& operation = sent_[static_cast<std::size_t>(to)];
    pending_.push_back(transport_.start_send(to, part, tag(operation++), kHostStream));
    header_bytes_ += wire_bytes(part.size()) - part.size();
  }
}

void Link::receive(int from, std::span<std::uint8_t> bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += kMaxMessageBytes) {
    const auto part = bytes.subspan(at, std::min(kMaxMessageBytes, bytes.size() - at));
    std::uint32_t& operation = received_[static_cast<std::size_t>(from)];
    pending_.push_back(transport_.start_recv(from, part, tag(operation++), kHostStream));
  }
}

Result<void> Link::finish() {
  const ScopedTimer timer(options_.profile ? &seconds_ : nullptr);
  const Deadline until =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.round_timeout_ms);
  Result<void> outcome;
  for (Operation& operation : pending_) {
    Result<void> result = operation.wait(until);
    if (outcome.ok() && !result.ok()) outcome = std::move(result);
  }
  pending_.clear();
  ++rounds_;
  return outcome;
}

}  // namespace beaverpond::securenn
