// A player of a job file.
#pragma once

#include <memory>
#include <optional>

#include "beaverpond/program.h"
#include "offline/plan/plan.h"
#include "online/nn/job.h"
#include "online/player/player.h"

namespace beaverpond {

/// What is run, for Player::connect_blocking(); with a wide plan either is (Undertaking::plans).
Undertaking job_undertaking(const Job& job, const Program& program, const Plan& plan,
                            const std::optional<Plan>& wide_plan);

/// Connects to all others, who must run the same plan, the same public job and the same program
/// (program_hash()). With a wide plan the players choose one of the two, and the other is dropped
/// from `plan`. Errors: as Player::connect_blocking().
Result<std::unique_ptr<Player>> connect_job_player_blocking(const Job& job, const Program& program,
                                                            Plan& plan,
                                                            std::optional<Plan>& wide_plan,
                                                            const PlayerOptions& options);

}  // namespace beaverpond
