#include <cstdio>

#include "offline/plan/file.h"
#include "offline/plan/program_hash.h"
#include "online/cli/commands.h"
#include "online/cli/cost_table.h"
#include "online/cli/progress.h"
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

std::string seconds_line(const char* what, double seconds, std::uint64_t steps) {
  char line[96];
  std::snprintf(line, sizeof line, "%10.3f ms %s\n", seconds / static_cast<double>(steps) * 1e3,
                what);
  return line;
}

struct Profile {
  CostTable table;
  std::string text;
  JsonFields fields;
};

/// What the run cost this player, by layer, as means of a step.
Profile profile_of(const Job& job, const TrainingSetup& setup, const TrainReport& report,
                   const DealingTimes* dealing, int rank, bool full) {
  const Program& program = setup.training.program;
  const auto players = static_cast<int>(job.players);
  const EngineProfile& engine = report.profile;
  Profile profile;
  profile.table = predicted_costs(
      program, runs_of_training(program, setup.plan, report.steps, job.reveal.loss_every), players,
      rank);
  put_measured(profile.table, program, engine, report.engine.rounds, players, rank);
  if (dealing != nullptr) {
    put_dealing(profile.table, program, setup.plan, *dealing, report.steps);
  }
  const double computing = profile.table.total.seconds;
  const double scheduling = engine.run_seconds - computing - engine.exchange_seconds;
  const double between = report.seconds - engine.run_seconds;
  profile.text =
      "player " + std::to_string(rank) + ", mean of " + std::to_string(report.steps) +
      " steps:\n\n" + format_costs(profile.table, full, report.steps) + '\n' +
      seconds_line("computing, as above", computing, report.steps) +
      seconds_line("sending, and waiting for messages", engine.exchange_seconds, report.steps) +
      seconds_line("scheduling", scheduling, report.steps) +
      seconds_line("between steps: bundles, rows", between, report.steps) +
      seconds_line("in all", report.seconds, report.steps);
  profile.fields = {{"computing_seconds", computing},
                    {"message_seconds", engine.exchange_seconds},
                    {"scheduling_seconds", scheduling},
                    {"between_seconds", between},
                    {"step_bytes_sent", profile.table.total.bytes_sent}};
  return profile;
}

}  // namespace

Result<void> run_train(const TrainCommand& options) {
  Progress progress(options.json);
  BP_TRY(check_output_path(options.weights_out));
  BP_TRY(check_output_path(options.report));
  const Home home{options.player.home};
  const std::string shares_path =
      options.shares_out.empty() ? "" : home.path_of(options.shares_out);
  BP_TRY(check_output_path(shares_path));
  BP_ASSIGN(const Job job, read_job(options.job));
  for (const std::string& note : job.notes) progress.notice(note);
  BP_ASSIGN(const TrainingSetup setup, prepare_training(job, PrgKind::kAes128Ctr));
  std::optional<DealingTimes> dealing;
  if (options.profile && !options.dealing.empty()) {
    BP_ASSIGN(dealing, read_dealing(options.dealing, setup.plan, job.players));
  }
  PlayerOptions player_options = options.player;
  player_options.task = "train";
  player_options.program = program_hash(setup.training.program);
  player_options.on_notice = [&progress](const std::string& text) { progress.notice(text); };
  BP_ASSIGN(const std::unique_ptr<Player> player,
            Player::connect_blocking(job, plan_hash(setup.plan), player_options));
  if (job.reveal.verify && player->rank() == 0) {
    progress.notice(
        "verify = true: the trained weights are opened to all players, and comparing "
        "them with the twin needs all data in one place");
  }
  TrainOptions train;
  train.lane = options.player.lane;
  train.epoch = player->roster().epoch;
  train.profile = options.profile;
  train.keep_shares = !shares_path.empty();
  train.on_progress = [&progress](const TrainProgress& now) { show_step(progress, now); };
  BP_ASSIGN(const TrainReport report,
            train_blocking(job, setup, player->backend(), player->transport(), player->session(),
                           player->bundles(), train));
  BP_TRY(player->finish_blocking());
  JsonFields fields = {{"train", job.name},
                       {"rank", static_cast<std::uint64_t>(player->rank())},
                       {"steps", report.steps},
                       {"train_seconds", report.seconds},
                       {"bytes_sent", player->transport().stats().sent_bytes},
                       {"rounds", report.engine.rounds}};
  if (!report.weights.empty()) {
    if (!options.weights_out.empty()) BP_TRY(write_weights(report.weights, options.weights_out));
    fields.emplace_back("weights_sha256", weights_sha256(report.weights));
  }
  if (!shares_path.empty()) {
    BP_TRY(write_shares({player->session().id(), static_cast<std::uint32_t>(player->rank()),
                         job.players, report.shares},
                        shares_path));
    fields.emplace_back("shares", shares_path);
  }
  progress.result(fields);
  if (!options.profile || report.steps == 0) return write_report(options.report, fields);
  const Profile profile =
      profile_of(job, setup, report, dealing ? &*dealing : nullptr, player->rank(), options.full);
  std::fprintf(stderr, "%s", profile.text.c_str());
  fields.insert(fields.end(), profile.fields.begin(), profile.fields.end());
  return write_report(options.report, fields, json_costs(profile.table));
}

}  // namespace beaverpond
