#include "online/cli/train_session.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "offline/plan/program_hash.h"
#include "offline/pool/posix_storage.h"
#include "offline/pool/roster_identity.h"
#include "online/cli/job_player.h"
#include "online/nn/begin_training.h"
#include "online/session/rejoin.h"

namespace beaverpond {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// For all to have read their checkpoints, on the slowest disk; heartbeats tell who is lost.
constexpr std::chrono::minutes kOpening{10};

/// All that players have alike, and that checkpoints of one training share.
Hash256 job_hash(const Undertaking& what, const Hash256& roster) {
  std::vector<std::uint8_t> bytes(roster.begin(), roster.end());
  for (const Agreed& item : what.agreed) {
    bytes.insert(bytes.end(), item.hash.begin(), item.hash.end());
  }
  return sha256(bytes);
}

/// A descriptor that listens is used up by a connection; this one stays for those after it.
class KeptDescriptor {
 public:
  explicit KeptDescriptor(int descriptor) : descriptor_(descriptor) {}
  KeptDescriptor(const KeptDescriptor&) = delete;             // closed once
  KeptDescriptor& operator=(const KeptDescriptor&) = delete;  // closed once
  ~KeptDescriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int copy() const { return descriptor_ < 0 ? -1 : ::fcntl(descriptor_, F_DUPFD_CLOEXEC, 3); }

 private:
  int descriptor_;
};

class Sessions {
 public:
  explicit Sessions(const TrainSessions& what)
      : what_(what),
        undertaking_(job_undertaking(*what.job, what.setup->training.program, what.setup->plan,
                                     what.setup->wide_plan)),
        descriptor_(what.player.listen_descriptor),
        connect_timeout_ms_(undertaking_.network.connect_timeout_ms) {}

  Result<FinishedTraining> run_blocking() {
    BP_TRY(prepare());
    RejoinOptions rejoin;
    rejoin.patience = std::chrono::seconds(what_.rejoin_seconds);
    rejoin.on_notice = what_.player.on_notice;
    BP_TRY(rejoin_blocking(rejoin, [this](SessionAttempt& attempt) {
      Result<void> done = one(attempt);
      if (done.ok()) return done;
      finished_ = {};  // the others see at once that this session is over
      Error error = std::move(done).error();
      if (attempt.connected && error.epoch == 0) error.epoch = epoch_;
      return Result<void>(std::move(error));
    }));
    return std::move(finished_);
  }

 private:
  bool checkpoints() const { return what_.checkpoint_every > 0; }
  std::string directory() const {
    return checkpoint_directory(what_.player.home, what_.job->checkpoint.dir, what_.rank);
  }

  /// Before anybody waits: a run that begins does not replace the checkpoints of another.
  Result<void> prepare() {
    if (!checkpoints()) return {};
    binding_.pool = pool_identity(what_.roster, what_.rank);
    binding_.plan = undertaking_.plan;
    binding_.job = job_hash(undertaking_, roster_hash(what_.roster));
    binding_.own_data = what_.train.own->hash();
    BP_ASSIGN(const PoolKey key, PoolKey::read(storage_, Home{what_.player.home}.pool_key_path()));
    BP_ASSIGN(const std::optional<std::uint64_t> last,
              CheckpointStore::last_epoch_blocking(storage_, directory(), key, binding_));
    epoch_ = last.value_or(0);
    if (what_.resume || !last.has_value()) return {};
    return make_error(ErrorCode::kConfig,
                      directory() +
                          " holds checkpoints of a run: give --resume to go on with it, or move "
                          "them away (on all players) to begin anew");
  }

  Result<CheckpointStore> open_store() {
    BP_ASSIGN(PoolKey key, PoolKey::read(storage_, Home{what_.player.home}.pool_key_path()));
    return CheckpointStore::open(storage_, directory(), std::move(key), binding_);
  }

  Result<void> one(SessionAttempt& attempt) {
    undertaking_.network.connect_timeout_ms = connect_timeout_ms_;
    if (attempt.connect_within.has_value()) {
      undertaking_.network.connect_timeout_ms =
          static_cast<std::uint32_t>(attempt.connect_within->count());
    }
    PlayerOptions options = what_.player;
    options.listen_descriptor = descriptor_.copy();
    options.last_epoch = epoch_;
    BP_ASSIGN(finished_.player, Player::connect_blocking(undertaking_, options));
    attempt.connected = true;
    epoch_ = finished_.player->session().epoch();
    choose(finished_.player->plan_index() == 1);
    if (attempt.number > 0 && what_.player.on_notice) {
      what_.player.on_notice("all players are back, in membership epoch " + std::to_string(epoch_) +
                             ", session " + std::to_string(finished_.player->session().id()));
    }
    Player& player = *finished_.player;
    TrainOptions train = what_.train;
    train.epoch = epoch_;
    std::optional<CheckpointStore> store;
    if (checkpoints()) {
      BP_ASSIGN(train.checkpoints, agree(player, attempt.number > 0, store));
    }
    train.on_progress = [&](const TrainProgress& now) {
      attempt.reached = now.steps_done;
      if (what_.train.on_progress) what_.train.on_progress(now);
    };
    BP_ASSIGN(finished_.report,
              train_blocking(*what_.job, *what_.setup, player.backend(), player.transport(),
                             player.session(), player.bundles(), train));
    attempt.reached = what_.job->training.steps + 1;
    return player.finish_blocking();
  }

  /// Of the two plans, for this session; another may choose the other, and the weights are the
  /// same.
  void choose(bool wide) {
    if (wide != wide_) std::swap(what_.setup->plan, *what_.setup->wide_plan);
    wide_ = wide;
  }

  Result<TrainCheckpoints> agree(Player& player, bool again,
                                 std::optional<CheckpointStore>& store) {
    BeginOptions begin;
    begin.open = [this] { return open_store(); };
    begin.job = binding_.job;
    begin.resumes = what_.resume || again;
    begin.every = what_.checkpoint_every;
    begin.lane = what_.player.lane;
    begin.on_notice = what_.player.on_notice;
    begin.deadline = [] { return steady_clock::now() + kOpening; };
    return begin_training_blocking(begin, player.transport(), player.session(), store);
  }

  const TrainSessions& what_;
  Undertaking undertaking_;
  bool wide_ = false;
  KeptDescriptor descriptor_;
  std::uint32_t connect_timeout_ms_;
  std::uint64_t epoch_ = 0;  // of the last session that this player was a member of
  PosixStorage storage_;
  CheckpointBinding binding_;
  FinishedTraining finished_;
};

}  // namespace

std::string checkpoint_directory(const std::string& home, const std::string& dir, int rank) {
  if (dir.starts_with('/')) return dir + "/player" + std::to_string(rank);
  return home + "/" + dir;
}

Result<FinishedTraining> train_sessions_blocking(const TrainSessions& what) {
  return Sessions(what).run_blocking();
}

}  // namespace beaverpond
