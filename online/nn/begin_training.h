// Where a training begins, as all its players agree: the part of a session before the first step.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "online/nn/trainer.h"

namespace beaverpond {

struct BeginOptions {
  std::function<Result<CheckpointStore>()> open;  ///< this player's store
  Hash256 job{};                                  ///< as in its CheckpointBinding
  bool resumes = false;  ///< it goes on with a run: asked to, or after a loss
  std::uint64_t every = 1;
  std::uint32_t lane = 0;
  EntropySource entropy = fill_random_blocking;
  /// Of the agreement, asked once the store is open: reading it takes what the disk takes, and the
  /// others may still be at theirs.
  std::function<Deadline()> deadline;
  std::function<void(const std::string&)> on_notice;
};

/// A collective, once a session. `store` gets the store that the result refers to. A player that
/// cannot use its checkpoints tells the others, who would wait, and returns its own error; a
/// damaged one beside another that is whole is left out, with a notice. Errors: those of
/// CheckpointStore::open(), of agree_on_resume_blocking() and kCheckpointCorrupt.
Result<TrainCheckpoints> begin_training_blocking(const BeginOptions& options, Transport& transport,
                                                 const Session& session,
                                                 std::optional<CheckpointStore>& store);

}  // namespace beaverpond
