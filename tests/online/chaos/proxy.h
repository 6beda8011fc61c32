// A TCP proxy between real players: what passes, it delays, alters, swaps, loses, or cuts off.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "bench/relay/relay.h"

namespace beaverpond::testing {

enum class WireFault : std::uint8_t {
  kStall,    ///< nothing passes for `ms`
  kCorrupt,  ///< a bit of the next bytes is another
  kLose,     ///< the next bytes never come
  kSwap,     ///< the next bytes come in another order
  kReset,    ///< the connections end
};
inline constexpr int kWireFaults = 5;

/// All connections among players of one host. Player i dials player j < i at port(i, j). One
/// thread, which ends with the object.
class ChaosProxy {
 public:
  /// `ports`: where each player listens.
  explicit ChaosProxy(std::vector<std::uint16_t> ports);

  /// --peers of a player.
  std::string peers_of(int player) const;
  /// Bytes that passed so far.
  std::uint64_t bytes() const { return relay_->bytes(); }

  /// To connections between the two players; other < 0: between player and all others.
  void strike(WireFault fault, int player, int other, std::chrono::milliseconds time);

 private:
  using Clock = std::chrono::steady_clock;
  /// The route of the same number.
  struct Pair {
    int dialler = 0;
    int listener = 0;
    Clock::time_point stalled_until{};
    int alter = 0;  // how many faults of the kind wait for bytes
    WireFault kind = WireFault::kCorrupt;
    bool reset = false;
  };
  bool alter(std::size_t pair, std::span<std::uint8_t> bytes);

  const std::vector<std::uint16_t> ports_;
  std::mutex mutex_;  // guards pairs_
  std::vector<Pair> pairs_;
  std::unique_ptr<Relay> relay_;  // last: its thread uses the rest
};

}  // namespace beaverpond::testing
