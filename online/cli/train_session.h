// The sessions of one training: checkpoints, and players that come back.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "online/cli/commands.h"
#include "online/nn/checkpoint.h"
#include "online/nn/job.h"
#include "online/nn/trainer.h"
#include "online/player/player.h"

namespace beaverpond {

/// What ended well: the player is still connected to those that wait for it.
struct FinishedTraining {
  std::unique_ptr<Player> player;
  TrainReport report;
};

struct TrainSessions {
  const Job* job = nullptr;
  TrainingSetup* setup = nullptr;  ///< its plan becomes the one that the players chose
  int rank = 0;
  Roster roster;
  PlayerOptions player;
  TrainOptions train;  ///< with `own`: read once for all sessions
  bool resume = false;
  std::uint64_t checkpoint_every = 0;
  std::uint64_t rejoin_seconds = 0;
};

/// Connects, agrees where to begin, trains and reveals what the job says; after the loss of a
/// player again, until patience is over. Errors: those of Player::connect_blocking(),
/// agree_on_resume_blocking(), train_blocking() and rejoin_blocking().
Result<FinishedTraining> train_sessions_blocking(const TrainSessions& what);

/// The folder of a player's checkpoints: in its home, or below a folder of the whole host.
std::string checkpoint_directory(const std::string& home, const std::string& dir, int rank);

}  // namespace beaverpond
