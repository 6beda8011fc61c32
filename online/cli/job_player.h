// A player of a job file.
#pragma once

#include <memory>

#include "online/nn/job.h"
#include "online/player/player.h"

namespace beaverpond {

/// What all players of a job must agree on, beyond the plan: seed, schedule, owners, reveals.
Hash256 public_job_hash(const Job& job);

/// Connects to all others, who must run the same plan, the same public job and the same program
/// (program_hash()). Errors: as Player::connect_blocking().
Result<std::unique_ptr<Player>> connect_job_player_blocking(const Job& job, const Hash256& plan,
                                                            const Hash256& program,
                                                            const PlayerOptions& options);

}  // namespace beaverpond
