#include <sys/stat.h>

#include <cstdio>

#include "offline/plan/file.h"
#include "online/cli/commands.h"
#include "online/cli/progress.h"
#include "online/cli/run_profile.h"
#include "online/cli/train_session.h"
#include "online/nn/model_weights.h"
#include "online/nn/share_file.h"
#include "online/nn/trainer.h"

namespace beaverpond {
namespace {

void show_step(Progress& progress, const TrainProgress& now) {
  char loss[32] = "-";
  if (now.loss.has_value()) std::snprintf(loss, sizeof loss, "%.4f", *now.loss);
  char line[128];
  std::snprintf(line, sizeof line, "step %llu/%llu  loss %s  %.1f steps/s  bundles left %llu",
                static_cast<unsigned long long>(now.steps_done),
                static_cast<unsigned long long>(now.steps), loss, now.steps_per_second,
                static_cast<unsigned long long>(now.bundles_left));
  JsonFields fields = {{"step", now.steps_done},
                       {"steps", now.steps},
                       {"loss", nullptr},
                       {"steps_per_second", now.steps_per_second},
                       {"bundles_left", now.bundles_left}};
  if (now.loss.has_value()) fields[2].second = *now.loss;
  progress.step(line, fields, now.steps_done == now.steps);
}

/// Where --shares-out keeps the shares: a new file of the home itself. Players of one host are
/// given the same flags, so a path from elsewhere would be one file for all; and nothing that is
/// there is replaced, neither keys nor the shares of an earlier training.
Result<std::string> new_shares_path(const Home& home, const std::string& name) {
  if (name.empty()) return std::string();
  if (name.find('/') != std::string::npos || name == "." || name == "..") {
    return make_error(ErrorCode::kConfig, "--shares-out '" + name +
                                              "': give the name of a new file, without a folder; "
                                              "it is kept in the home of each player");
  }
  std::string path = home.path_of(name);
  struct stat found {};
  if (::lstat(path.c_str(), &found) == 0) {
    return make_error(ErrorCode::kConfig, "--shares-out: " + path +
                                              " exists already and is not replaced; choose "
                                              "another name, or move it away");
  }
  return path;
}

/// Weights that cost a training are not lost with a disk: the home takes what --weights-out cannot.
Result<void> keep_weights(const TrainCommand& options, const Job& job, const Player& player,
                          const TrainReport& report) {
  Result<void> saved = save_weights(report.weights, job, options.weights_out);
  if (saved.ok() || saved.error().code == ErrorCode::kConfig) return saved;
  const std::string other = Home{options.player.home}.path_of(
      "rescued-" + std::to_string(player.session().id()) + ".weights");
  Error error = std::move(saved).error();
  if (write_weights(report.weights, other).ok()) {
    error.message += "; the trained weights are in " + other + " instead";
  }
  return error;
}

/// Both are tried: what one disk refuses the other may take.
Result<void> keep_results(const TrainCommand& options, const Job& job, const Player& player,
                          const TrainReport& report, const std::string& shares_path) {
  Result<void> shares;
  if (!shares_path.empty()) {
    shares = write_shares({player.session().id(), static_cast<std::uint32_t>(player.rank()),
                           job.players, report.shares},
                          shares_path);
  }
  if (!report.weights.empty() && !options.weights_out.empty()) {
    BP_TRY(keep_weights(options, job, player, report));
  }
  return shares;
}

/// Room is asked for at twice the words: .npz and .safetensors hold as many, and a name each.
Result<void> check_rooms(const TrainCommand& options, const TrainingSetup& setup,
                         const std::string& shares_path) {
  std::uint64_t words = 64;
  for (const ModelParameter& parameter : setup.parameters) words += parameter.shape.count();
  BP_TRY(check_room(options.weights_out, 16 * words));
  return check_room(shares_path, 16 * words);
}

Result<TrainSessions> sessions_of(const TrainCommand& options, const Job& job, TrainingSetup& setup,
                                  int rank, Progress& progress) {
  TrainSessions sessions;
  sessions.job = &job;
  sessions.setup = &setup;
  sessions.rank = rank;
  sessions.resume = options.resume;
  sessions.checkpoint_every = options.checkpoint_every.value_or(job.checkpoint.every);
  sessions.rejoin_seconds = options.rejoin_seconds.value_or(job.checkpoint.rejoin_seconds);
  if (sessions.checkpoint_every == 0 && (options.resume || sessions.rejoin_seconds > 0)) {
    return make_error(ErrorCode::kConfig,
                      std::string(options.resume ? "--resume" : "--rejoin") +
                          " needs checkpoints to go on from: give --checkpoint-every, or set every "
                          "in the job's [checkpoint]");
  }
  if (options.player.transport == "mpi" && sessions.rejoin_seconds > 0) {
    progress.notice(
        "MPI starts once in a process, so this one does not wait for a lost player: after a loss "
        "start all again with --resume");
    sessions.rejoin_seconds = 0;
  }
  sessions.player = options.player;
  sessions.player.task = "train";
  if (sessions.checkpoint_every > 0) {
    sessions.player.task +=
        " with a checkpoint every " + std::to_string(sessions.checkpoint_every) + " steps";
  }
  sessions.player.on_notice = [&progress](const std::string& text) { progress.notice(text); };
  if (job.reveal.verify && rank == 0) {
    progress.notice(
        "verify = true: the trained weights are opened to all players, and comparing "
        "them with the twin needs all data in one place");
  }
  sessions.train.lane = options.player.lane;
  sessions.train.profile = options.profile.profile;
  sessions.train.on_progress = [&progress](const TrainProgress& now) { show_step(progress, now); };
  return sessions;
}

}  // namespace

Result<void> run_train(const TrainCommand& options) {
  Progress progress(options.json);
  BP_TRY(check_output_path(options.weights_out));
  BP_TRY(check_weights_path(options.weights_out, options.job));
  BP_TRY(check_output_path(options.report));
  const Home home{options.player.home};
  BP_ASSIGN(const std::string shares_path, new_shares_path(home, options.shares_out));
  BP_TRY(check_output_path(shares_path));
  BP_ASSIGN(const Job job, read_job(options.job));
  for (const std::string& note : job.notes) progress.notice(note);
  BP_ASSIGN(TrainingSetup setup, prepare_training(job, job.pool.prg));
  BP_TRY(check_rooms(options, setup, shares_path));
  BP_ASSIGN(const Roster roster, read_roster_file(home.roster_path()));
  BP_ASSIGN(const int rank, rank_of_home(home, roster));
  BP_ASSIGN(const OwnData own, OwnData::read(job, rank));  // a mistake shows before anybody waits
  BP_ASSIGN(const std::vector<DealingTimes> dealing,
            read_dealings(options.profile.dealing, setup.plan, setup.wide_plan, job.players));
  BP_ASSIGN(TrainSessions sessions, sessions_of(options, job, setup, rank, progress));
  sessions.roster = roster;
  sessions.train.own = own;
  sessions.train.keep_shares = !shares_path.empty();
  BP_ASSIGN(const FinishedTraining finished, train_sessions_blocking(sessions));
  const std::unique_ptr<Player>& player = finished.player;
  const TrainReport& report = finished.report;
  JsonFields fields = {{"train", job.name},
                       {"rank", static_cast<std::uint64_t>(player->rank())},
                       {"steps", report.steps},
                       {"epoch", player->session().epoch()},
                       {"train_seconds", report.seconds},
                       {"bytes_sent", player->transport().stats().sent_bytes},
                       {"rounds", report.engine.rounds}};
  BP_TRY(keep_results(options, job, *player, report, shares_path));
  if (!report.weights.empty()) {
    fields.emplace_back("weights_sha256", weights_sha256(report.weights));
  }
  if (!shares_path.empty()) fields.emplace_back("shares", shares_path);
  progress.result(fields);
  const FinishedRun run{&setup.training.program,
                        &setup.plan,
                        &report.profile,
                        report.engine.rounds,
                        report.seconds,
                        runs_of_training(setup.training.program, setup.plan, report.steps,
                                         job.reveal.loss_every, player->rank()),
                        report.steps,
                        static_cast<int>(job.players),
                        player->rank(),
                        "step"};
  return report_run(options.report, fields, options.profile, run, dealing);
}

}  // namespace beaverpond
