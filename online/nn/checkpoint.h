// One player's checkpoints of a training: its shares of weights and optimiser state, sealed to this
// player. Format and what resuming may tell: README.md, "Checkpoints".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "offline/pool/identity.h"
#include "offline/pool/pool_key.h"
#include "offline/pool/random.h"
#include "offline/pool/storage.h"
#include "online/session/resume.h"

namespace beaverpond {

/// What a checkpoint is bound to, besides its name.
struct CheckpointBinding {
  PoolIdentity pool;   ///< pool id, epoch of the roster, roster, player
  Hash256 plan{};      ///< of a step
  Hash256 job{};       ///< all that players have alike: model, seed, schedule, data format ..
  Hash256 own_data{};  ///< rows of this player in their order; zero for none. Kept under its key
};

/// Shares of one moment. Move-only; wiped.
struct Checkpoint {
  CheckpointName name;
  std::uint64_t epoch = 0;                         ///< of the membership that computed it
  std::vector<std::vector<std::uint64_t>> states;  ///< by state slot of the program

  Checkpoint() = default;
  Checkpoint(Checkpoint&&) = default;
  Checkpoint& operator=(Checkpoint&&) = default;
  Checkpoint(const Checkpoint&) = delete;             // shares are not copied about
  Checkpoint& operator=(const Checkpoint&) = delete;  // shares are not copied about
  ~Checkpoint();
};

/// The checkpoints of one player in a folder (0700) of one job. One at a time: the caller holds the
/// lock of the player's pool. One thread.
class CheckpointStore {
 public:
  /// The last two are kept: while one player writes a step, another may not have the one before.
  static constexpr std::size_t kKept = 2;

  /// Creates the folder (not its parents) and reads all that is there; what was being written when
  /// a process died is removed. `storage` outlives the store. Errors: kCheckpointMismatch for a
  /// file of another job, plan, roster, epoch, player or data; kIo, kNoSpace. A damaged file is no
  /// error yet: see damaged().
  static Result<CheckpointStore> open(Storage& storage, const std::string& directory, PoolKey key,
                                      const CheckpointBinding& binding,
                                      const EntropySource& entropy = fill_random_blocking);

  /// The last membership epoch of those that the folder holds, by their heads alone: for who does
  /// not hold the pool's lock yet. 0 where all are damaged, unset where there is none. Changes
  /// nothing. Errors: kCheckpointMismatch as open(); kIo.
  static Result<std::optional<std::uint64_t>> last_epoch_blocking(Storage& storage,
                                                                  const std::string& directory,
                                                                  const PoolKey& key,
                                                                  const CheckpointBinding& binding);

  /// Whole and authentic, by step.
  const std::vector<CheckpointName>& held() const { return held_; }
  /// kCheckpointCorrupt, naming the first file that is damaged, if any is.
  const std::optional<Error>& damaged() const { return damaged_; }

  /// Durable when it returns, and the oldest beyond kKept is gone. Errors: kIo, kNoSpace,
  /// kOutOfMemory; the files from before are still there.
  Result<void> write_blocking(const Checkpoint& checkpoint);
  /// Errors: kCheckpointCorrupt, kCheckpointMismatch, kIo, kOutOfMemory.
  Result<Checkpoint> read_blocking(const CheckpointName& name) const;
  /// Removes the others that are held: what a session left that nobody goes on from. Damaged files
  /// stay, for a person to look at. Errors: kIo.
  Result<void> keep_only_blocking(const std::optional<CheckpointName>& name);

  const std::string& directory() const { return directory_; }

 private:
  CheckpointStore(Storage& storage, std::string directory, PoolKey key,
                  const CheckpointBinding& binding, EntropySource entropy);
  Result<void> load();
  Result<Checkpoint> read_file(const std::string& path) const;
  std::string path_of(const CheckpointName& name) const;

  Storage* storage_;
  std::string directory_;
  PoolKey key_;
  CheckpointBinding binding_;
  EntropySource entropy_;
  std::vector<CheckpointName> held_;
  std::optional<Error> damaged_;
};

}  // namespace beaverpond
