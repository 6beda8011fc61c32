// Waiting for a player that was lost: one session after the other, until the work is done.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "beaverpond/result.h"

namespace beaverpond {

struct RejoinOptions {
  /// From a loss, how long to wait until all players are back. Zero: a loss is final.
  std::chrono::milliseconds patience{0};
  std::function<void(const std::string&)> on_notice;  ///< lines for the person who waits
  // Clock and pause are arguments; unset, they are the system's.
  std::function<std::chrono::steady_clock::time_point()> now;
  std::function<void(std::chrono::milliseconds)> pause;
};

/// One session: what it may take to connect, and how far it came.
struct SessionAttempt {
  std::uint64_t number = 0;  ///< 0: the first
  /// How long to wait until all players are there; unset in the first attempt.
  std::optional<std::chrono::milliseconds> connect_within;
  // Set by the attempt as it goes.
  bool connected = false;  ///< all players are there
  /// Any number that grows with the work done.
  std::uint64_t reached = 0;
};

/// Whether a new session can help: a player was lost, or did not answer in time.
bool may_rejoin(const Error& error);

/// So many sessions in a row that get no further than one before are a fault of their own.
inline constexpr int kMaxFutileSessions = 8;

/// Calls `attempt` until it succeeds or fails in a way that no new session can help. Each forms a
/// session of its own and leaves nothing behind. Errors: those of `attempt`; once patience is over,
/// the kPeerLost or kTimeout of the loss, with the player that did not come back.
Result<void> rejoin_blocking(const RejoinOptions& options,
                             const std::function<Result<void>(SessionAttempt&)>& attempt);

}  // namespace beaverpond
