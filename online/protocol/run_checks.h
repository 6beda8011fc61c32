// What an engine refuses, whatever its protocol.
#pragma once

#include <cstdint>
#include <optional>

#include "beaverpond/bundle.h"
#include "beaverpond/program.h"
#include "offline/plan/plan.h"
#include "online/protocol/engine.h"

namespace beaverpond {

/// That `plan` is the one of `program`, with the plan's own randomness and profile, for a protocol.
/// Errors: kRosterMismatch.
Result<void> check_plan(const Program& program, const Plan& plan, Protocol protocol);

/// That owners and receivers are players 0..players-1. Errors: kConfig.
Result<void> check_players(const Program& program, int players);

/// That no earlier run has failed: then the players may disagree on the step, and only a new
/// session can tell. Errors: kCancelled.
Result<void> check_alive(bool failed);

/// That the bundle is there and newer than the last. Errors: kConfig.
Result<void> check_order(const Bundle& bundle, const std::optional<std::uint64_t>& last);

/// That a player's own inputs have their sizes. Errors: kConfig.
Result<void> check_inputs(const Program& program, const RunInputs& inputs, std::uint32_t member,
                          int rank);

}  // namespace beaverpond
