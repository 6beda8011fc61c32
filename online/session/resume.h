// The agreement of all players on where a training goes on: from which checkpoint, of those that
// each holds, or from the beginning.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "offline/plan/hash.h"
#include "online/session/session.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// Names a training from its first step to its last, whatever sessions it takes.
using RunId = std::array<std::uint8_t, 16>;

/// One moment of a run, the same on all players. The session belongs to it: two sessions that went
/// on from one checkpoint share the same weights in different ways, and shares of both make none.
struct CheckpointName {
  RunId run{};
  std::uint64_t session = 0;  ///< that computed it
  std::uint64_t step = 0;     ///< steps done
  friend bool operator==(const CheckpointName&, const CheckpointName&) = default;
};

/// What a player says about its checkpoints.
struct ResumeOffer {
  static constexpr std::size_t kMaxHeld = 16;

  Hash256 job{};            ///< of all that the players have alike, the roster included
  RunId fresh{};            ///< random; those of all players name a new run
  bool resumes = false;     ///< false: asked to begin a new run
  std::uint8_t failed = 0;  ///< ErrorCode of a sender that cannot use its checkpoints
  std::vector<CheckpointName> held;
};

struct ResumeDecision {
  RunId run{};
  /// Unset: a new run. Held by all players otherwise.
  std::optional<CheckpointName> from;
};

/// Pure: every player decides the same. The latest checkpoint that all hold; a new run where nobody
/// holds any, or where none got beyond step 0. Errors: kCheckpointMismatch, naming a player and
/// what to do (another job; a new run among players that hold one; no checkpoint in common: lost,
/// of another run, or put back to an earlier state); kPeerLost for a player that failed.
Result<ResumeDecision> decide_resume(const std::vector<ResumeOffer>& offers);

/// A collective, once a session. Errors: those of decide_resume() and of messages.
Result<ResumeDecision> agree_on_resume_blocking(Transport& transport, const Session& session,
                                                std::uint32_t lane, const ResumeOffer& mine,
                                                Deadline deadline);

/// The bytes of an offer: a table in README.md.
std::vector<std::uint8_t> encode_offer(const ResumeOffer& offer);
/// Errors: kProtocolMismatch.
Result<ResumeOffer> decode_offer(std::span<const std::uint8_t> bytes);

}  // namespace beaverpond
