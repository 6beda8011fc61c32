#include "tests/online/chaos/proxy.h"

#include <algorithm>
#include <utility>

namespace beaverpond::testing {

ChaosProxy::ChaosProxy(std::vector<std::uint16_t> ports) : ports_(std::move(ports)) {
  std::vector<std::uint16_t> targets;
  for (int dialler = 0; dialler < static_cast<int>(ports_.size()); ++dialler) {
    for (int listener = 0; listener < dialler; ++listener) {
      Pair pair;
      pair.dialler = dialler;
      pair.listener = listener;
      pairs_.push_back(pair);
      targets.push_back(ports_[static_cast<std::size_t>(listener)]);
    }
  }
  RelayOptions options;
  options.most_bytes = std::size_t{1} << 20;
  options.hold = [this](std::size_t pair) {
    const std::scoped_lock lock(mutex_);
    return pairs_[pair].stalled_until > Clock::now();
  };
  options.reset = [this](std::size_t pair) {
    const std::scoped_lock lock(mutex_);
    return std::exchange(pairs_[pair].reset, false);
  };
  options.alter = [this](std::size_t pair, std::span<std::uint8_t> bytes) {
    return alter(pair, bytes);
  };
  Result<std::unique_ptr<Relay>> relay = Relay::listen(targets, std::move(options));
  BP_CHECK(relay.ok(), "a test can listen");
  relay_ = std::move(relay).value();
  relay_->start();
}

std::string ChaosProxy::peers_of(int player) const {
  std::string text;
  for (int peer = 0; peer < static_cast<int>(ports_.size()); ++peer) {
    std::uint16_t port = ports_[static_cast<std::size_t>(peer)];
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      if (pairs_[i].dialler == player && pairs_[i].listener == peer) port = relay_->port(i);
    }
    text.append(peer == 0 ? "" : ",").append("127.0.0.1:").append(std::to_string(port));
  }
  return text;
}

void ChaosProxy::strike(WireFault fault, int player, int other, std::chrono::milliseconds time) {
  const std::scoped_lock lock(mutex_);
  for (Pair& pair : pairs_) {
    const bool one = pair.dialler == player || pair.listener == player;
    const bool two = other < 0 || pair.dialler == other || pair.listener == other;
    if (!one || !two) continue;
    if (fault == WireFault::kStall) {
      pair.stalled_until = Clock::now() + time;
    } else if (fault == WireFault::kReset) {
      pair.reset = true;
    } else {
      pair.alter = 1;
      pair.kind = fault;
    }
  }
}

bool ChaosProxy::alter(std::size_t index, std::span<std::uint8_t> bytes) {
  const std::scoped_lock lock(mutex_);
  Pair& pair = pairs_[index];
  if (pair.alter == 0) return true;
  --pair.alter;
  if (pair.kind == WireFault::kCorrupt) bytes[bytes.size() / 2] ^= 4;
  if (pair.kind == WireFault::kSwap) std::reverse(bytes.begin(), bytes.end());
  return pair.kind != WireFault::kLose;
}

}  // namespace beaverpond::testing
