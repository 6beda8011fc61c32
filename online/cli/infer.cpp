#include <cstdio>
#include <memory>

#include "offline/plan/file.h"
#include "online/cli/commands.h"
#include "online/cli/job_player.h"
#include "online/cli/progress.h"
#include "online/cli/run_profile.h"
#include "online/nn/inference.h"
#include "online/nn/model_weights.h"
#include "online/nn/share_file.h"
#include "online/nn/weight_bounds.h"

namespace beaverpond {
namespace {

struct OwnInputs {
  std::optional<Dataset> images;
  std::optional<std::vector<WeightTensor>> weights;
  std::uint64_t training = 0;  ///< where the weights are shares: of which training
  bool has_labels = false;
  std::vector<std::string> notes;  ///< for the user to read
};

Result<void> read_own_shares(const Job& job, const InferCommand& options, std::uint32_t rank,
                             OwnInputs& own) {
  const std::string path = Home{options.player.home}.path_of(options.shares);
  BP_ASSIGN(WeightShares shares, read_shares(path));
  if (shares.player != rank || shares.players != job.players) {
    return make_error(ErrorCode::kConfig,
                      path + ": shares of player " + std::to_string(shares.player) + " of " +
                          std::to_string(shares.players) + ", but this is player " +
                          std::to_string(rank) + " of " + std::to_string(job.players));
  }
  BP_TRY(check_weights(shares.tensors, job, path));
  own.training = shares.training;
  own.weights = std::move(shares.tensors);
  return {};
}

/// Reads what this player owns, and refuses to go on without it.
Result<OwnInputs> read_own(const Job& job, const InferCommand& options, std::uint32_t rank) {
  OwnInputs own;
  if (!options.shares.empty()) BP_TRY(read_own_shares(job, options, rank, own));
  if (rank == options.asker) {
    if (options.images.empty()) {
      return make_error(ErrorCode::kConfig, "player " + std::to_string(rank) +
                                                " asks: give its images with --images FILE");
    }
    BP_ASSIGN(own.images, options.labels.empty()
                              ? read_images(options.images, job)
                              : read_dataset(options.images, options.labels, job));
    if (own.images->images.count < options.count) {
      return make_error(ErrorCode::kConfig,
                        options.images + ": " + std::to_string(own.images->images.count) +
                            " images, fewer than --count " + std::to_string(options.count) +
                            "; lower --count for all players");
    }
    own.has_labels = !own.images->labels.empty();
  }
  if (options.shares.empty() && rank == options.weights_owner) {
    if (options.weights.empty()) {
      return make_error(ErrorCode::kConfig, "player " + std::to_string(rank) +
                                                " owns the weights: give --weights FILE");
    }
    BP_ASSIGN(LoadedWeights loaded, load_weights(options.weights, job));
    own.notes = std::move(loaded.notes);
    BP_ASSIGN(const std::optional<std::string> unsafe, overflow_note(job, loaded.tensors));
    if (unsafe.has_value()) own.notes.push_back(options.weights + ": " + *unsafe);
    own.weights = std::move(loaded.tensors);
  }
  return own;
}

/// A line an image: the class, then its scores or probabilities where the job answers with them.
/// Readable by this user only: the answers are the asker's.
Result<void> write_answers(const std::string& path, const InferenceReport& report) {
  std::string text;
  const std::size_t width = report.values.size() / report.predictions.size();
  for (std::size_t row = 0; row < report.predictions.size(); ++row) {
    text += std::to_string(report.predictions[row]);
    for (std::size_t i = 0; i < width; ++i) {
      char number[40];
      std::snprintf(number, sizeof number, ",%.9g", report.values[row * width + i]);
      text += number;
    }
    text += "\n";
  }
  return replace_file(path, text, 0600);
}

}  // namespace

Result<void> run_infer(const InferCommand& options) {
  Progress progress(options.json);
  BP_TRY(check_output_path(options.predictions_out));
  BP_TRY(check_output_path(options.report));
  BP_ASSIGN(const Job job, read_job(options.job));
  InferenceOptions ask{options.batch, options.count, options.asker, options.weights_owner,
                       options.series};
  if (!options.shares.empty()) ask.weights_owner.reset();
  BP_ASSIGN(InferenceSetup setup, prepare_inference(job, job.pool.prg, ask));
  BP_ASSIGN(const std::vector<DealingTimes> dealing,
            read_dealings(options.profile.dealing, setup.plan, setup.wide_plan, job.players));
  const Home home{options.player.home};
  BP_ASSIGN(const Roster roster, read_roster_file(home.roster_path()));
  BP_ASSIGN(const int rank, rank_of_home(home, roster));
  BP_ASSIGN(const OwnInputs own, read_own(job, options, static_cast<std::uint32_t>(rank)));
  for (const std::string& note : own.notes) progress.notice(note);
  PlayerOptions player_options = options.player;
  player_options.task =
      "infer " + std::to_string(options.count) + " images of player " +
      std::to_string(options.asker) + " in batches of " + std::to_string(options.batch) + ", " +
      std::to_string(options.series) + " a bundle, with weights " +
      (ask.weights_owner.has_value() ? "of player " + std::to_string(options.weights_owner)
                                     : "shared by training " + std::to_string(own.training));
  player_options.on_notice = [&progress](const std::string& text) { progress.notice(text); };
  BP_ASSIGN(const std::unique_ptr<Player> player,
            connect_job_player_blocking(job, setup.inference.program, setup.plan, setup.wide_plan,
                                        player_options));
  TrainOptions run;
  run.lane = options.player.lane;
  run.epoch = player->session().epoch();
  run.profile = options.profile.profile;
  run.on_progress = [&progress](const TrainProgress& now) {
    char line[96];
    std::snprintf(line, sizeof line, "batch %llu/%llu  %.1f batches/s  bundles left %llu",
                  static_cast<unsigned long long>(now.steps_done),
                  static_cast<unsigned long long>(now.steps), now.steps_per_second,
                  static_cast<unsigned long long>(now.bundles_left));
    progress.step(
        line,
        {{"batch", now.steps_done}, {"batches", now.steps}, {"bundles_left", now.bundles_left}},
        now.steps_done == now.steps);
  };
  BP_ASSIGN(const InferenceReport report,
            infer_blocking(job, setup, own.images ? &*own.images : nullptr,
                           own.weights ? &*own.weights : nullptr, player->backend(),
                           player->transport(), player->session(), player->bundles(), run));
  BP_TRY(player->finish_blocking());
  JsonFields fields = {{"infer", job.name},
                       {"rank", static_cast<std::uint64_t>(rank)},
                       {"images", std::uint64_t{options.count}},
                       {"seconds", report.seconds},
                       {"bytes_sent", player->transport().stats().sent_bytes},
                       {"rounds", report.engine.rounds}};
  if (!report.predictions.empty() && !options.predictions_out.empty()) {
    BP_TRY(write_answers(options.predictions_out, report));
  }
  if (!report.predictions.empty() && own.has_labels) {
    std::uint32_t correct = 0;
    for (std::size_t i = 0; i < report.predictions.size(); ++i) {
      correct += report.predictions[i] == own.images->labels[i] ? 1 : 0;
    }
    fields.emplace_back(
        "accuracy", static_cast<double>(correct) / static_cast<double>(report.predictions.size()));
  }
  progress.result(fields);
  const std::uint64_t bundles = (report.batches + options.series - 1) / options.series;
  const FinishedRun finished{
      &setup.inference.program,
      &setup.plan,
      &report.profile,
      report.engine.rounds,
      report.seconds,
      runs_of_inference(setup.inference.program, setup.plan, report.batches, rank),
      bundles,
      static_cast<int>(job.players),
      rank,
      "batch"};
  return report_run(options.report, fields, options.profile, finished, dealing);
}

}  // namespace beaverpond
