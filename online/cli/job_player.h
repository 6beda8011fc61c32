// A player of a job file.
#pragma once

#include <memory>

#include "online/nn/job.h"
#include "online/player/player.h"

namespace beaverpond {

/// What is run, for Player::connect_blocking().
Undertaking job_undertaking(const Job& job, const Hash256& plan, const Hash256& program);

/// Connects to all others, who must run the same plan, the same public job and the same program
/// (program_hash()). Errors: as Player::connect_blocking().
Result<std::unique_ptr<Player>> connect_job_player_blocking(const Job& job, const Hash256& plan,
                                                            const Hash256& program,
                                                            const PlayerOptions& options);

}  // namespace beaverpond
