#include "online/securenn/link.h"

#include <algorithm>
#include <utility>

#include "online/protocol/traffic.h"
#include "online/transport/frame.h"

namespace beaverpond::securenn {
namespace {

constexpr std::size_t kMaxMessageBytes = kMaxMessageWords * 8;

std::uint64_t padded(std::uint64_t size_bytes) {
  return (size_bytes + 63) / 64 * 64;
}

/// Calls f(offset, size) for the parts that every transport takes as one message.
template <class F>
void for_parts(std::size_t size_bytes, F f) {
  for (std::size_t at = 0; at < size_bytes; at += kMaxMessageBytes) {
    f(at, std::min(kMaxMessageBytes, size_bytes - at));
  }
}

Result<void> grow(Backend& backend, Buffer& buffer, std::uint64_t size_bytes) {
  if (buffer.bytes().size() >= size_bytes) return {};
  BP_ASSIGN(buffer, backend.allocate_host(ByteCount{size_bytes + size_bytes / 4}));
  return {};
}

}  // namespace

/// What is sent is on the host, and there is room for what comes.
Result<void> Link::stage() {
  std::uint64_t out = 0;
  std::uint64_t in = 0;
  for (const Message& message : round_) {
    if (!message.staged) continue;
    out += padded(message.sent.size());
    in += padded(message.received.size());
  }
  BP_TRY(grow(backend_, host_sent_, out));
  std::uint64_t at = 0;
  for (const Message& message : round_) {
    if (!message.staged || message.sent.empty()) continue;
    backend_.download(message.sent, host_sent_.bytes().subspan(at, message.sent.size()),
                      kHostStream);
    at += padded(message.sent.size());
  }
  // A failure is told here: what followed it did nothing, so that a share may lie where a masked
  // word belongs. And the round before has left the host's memory.
  BP_TRY(backend_.synchronize(kHostStream));
  return grow(backend_, host_received_, in);
}

void Link::start(const Message& message, std::uint8_t* host) {
  const auto player = static_cast<std::size_t>(message.player);
  if (!message.sent.empty()) {
    const std::uint8_t* const from = message.staged ? host : message.sent.data();
    for_parts(message.sent.size(), [&](std::size_t at, std::size_t size) {
      pending_.push_back(transport_.start_send(message.player, {from + at, size},
                                               tag(sent_[player]++), kHostStream));
      header_bytes_ += wire_bytes(size) - size;
    });
    return;
  }
  std::uint8_t* const to = message.staged ? host : message.received.data();
  for_parts(message.received.size(), [&](std::size_t at, std::size_t size) {
    pending_.push_back(transport_.start_recv(message.player, {to + at, size},
                                             tag(received_[player]++), kHostStream));
  });
}

Result<void> Link::exchange() {
  BP_TRY(stage());
  const ScopedTimer timer(options_.profile ? &seconds_ : nullptr);
  const Deadline until =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.round_timeout_ms);
  std::uint64_t out = 0;
  std::uint64_t in = 0;
  for (const Message& message : round_) {
    const bool sends = !message.sent.empty();
    std::uint64_t& at = sends ? out : in;
    const std::span<std::uint8_t> memory = (sends ? host_sent_ : host_received_).bytes();
    start(message, message.staged ? memory.data() + at : nullptr);
    if (message.staged) at += padded(message.sent.size() + message.received.size());
  }
  Result<void> outcome;
  for (Operation& operation : pending_) {
    Result<void> result = operation.wait(until);
    if (outcome.ok() && !result.ok()) outcome = std::move(result);
  }
  pending_.clear();
  BP_TRY(std::move(outcome));
  std::uint64_t at = 0;
  for (const Message& message : round_) {
    if (!message.staged || message.received.empty()) continue;
    backend_.upload(host_received_.bytes().subspan(at, message.received.size()), message.received,
                    kHostStream);
    at += padded(message.received.size());
  }
  return {};
}

Result<void> Link::finish() {
  ++rounds_;
  if (round_.empty()) return {};
  Result<void> outcome = exchange();
  round_.clear();
  return outcome;
}

}  // namespace beaverpond::securenn
