// Which of several plans a run spends, where the job leaves that to the players: decided once, by
// all alike, from what their pools hold and from what a round between them costs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "offline/plan/hash.h"
#include "offline/pool/pool.h"
#include "online/session/session.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// A plan of the same program that would do.
struct PlanOption {
  std::string name;  ///< for messages: "lan", "wan"
  Hash256 plan{};
  std::uint64_t rounds = 0;            ///< of one bundle; one that takes two steps counts twice
  std::uint64_t correction_bytes = 0;  ///< of one bundle
};

/// What one player knows.
struct PlanVote {
  std::uint64_t round_ns = 0;          ///< what a round costs, measured
  std::vector<std::uint64_t> bundles;  ///< of each option, ready in its pool
};

/// What a step takes longer for a byte more of correction: its holder reads and unseals it. LeNet's
/// step at batch 128 from pools in the page cache took 0.30 s longer for 522 MB more
/// (bench/README.md, "Far apart"). A round costs everybody the slowest link.
inline constexpr std::uint64_t kCorrectionBytesPerSecond = 1'750'000'000;

/// The index of the option to take: among those that all pools can serve now (of all, if none is)
/// the one with the least rounds x slowest round + bytes / kCorrectionBytesPerSecond; ties go to
/// the first. Pure, the same on all players. `votes`: one per player, a count for each option.
std::size_t decide_plan(std::span<const PlanOption> options, std::span<const PlanVote> votes);

/// A collective: what an opening costs that has almost nothing to send, in nanoseconds. Half the
/// median of five pairs of empty rounds, after one in which the players meet. Of a single round one
/// cannot tell: players who are out of step by half a round trip wait a whole one and nothing in
/// turn. Takes the bundles of `tag` from its own on, eleven of them. Errors: those of the
/// transport.
Result<std::uint64_t> measure_round_blocking(Transport& transport, Tag tag, Deadline deadline);

struct PlanChoice {
  std::size_t index = 0;
  std::uint64_t round_ns = 0;  ///< the slowest player's
  std::string reason;          ///< a line for the user
};

/// A collective: measures rounds over `transport`, exchanges votes and decides. The options are the
/// same on all players. Errors: those of the transport and of Pool::ranges(), kProtocolMismatch.
Result<PlanChoice> choose_plan_blocking(Pool& pool, std::uint32_t lane, Transport& transport,
                                        const Session& session, std::span<const PlanOption> options,
                                        Deadline deadline);

}  // namespace beaverpond
