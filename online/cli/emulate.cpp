#include "online/nn/emulate.h"

#include <cstdio>

#include "offline/plan/file.h"
#include "online/cli/commands.h"
#include "online/cli/progress.h"
#include "online/nn/dataset.h"
#include "online/nn/model_weights.h"

namespace beaverpond {
namespace {

Result<void> evaluate_file(const Job& job, const EmulateCommand& options, Progress& progress) {
  BP_ASSIGN(const LoadedWeights loaded, load_weights(options.weights, job));
  for (const std::string& note : loaded.notes) progress.notice(note);
  const std::vector<WeightTensor>& weights = loaded.tensors;
  if (job.test_images.empty()) {
    return make_error(ErrorCode::kConfig, job.file +
                                              " names no test set; add test_images and "
                                              "test_labels, or test_data, to [data]");
  }
  BP_ASSIGN(const Dataset test, read_dataset(job.test_images, job.test_labels, job));
  BP_ASSIGN(const Evaluation result, evaluate(job, weights, test));
  progress.result({{"evaluate", options.weights},
                   {"sha256", weights_sha256(weights)},
                   {"images", std::uint64_t{result.images}},
                   {"accuracy", result.accuracy},
                   {"loss", result.loss}});
  return {};
}

}  // namespace

Result<void> run_emulate(const EmulateCommand& options) {
  BP_TRY(check_output_path(options.weights_out));
  BP_TRY(check_weights_path(options.weights_out, options.job));
  BP_ASSIGN(const Job job, read_job(options.job));
  Progress progress(options.json);
  for (const std::string& note : job.notes) progress.notice(note);
  if (!options.weights.empty()) return evaluate_file(job, options, progress);
  EmulateOptions emulation;
  emulation.arithmetic = options.use_float ? Arithmetic::kFloat : Arithmetic::kFixed;
  emulation.alone = options.alone;
  emulation.progress = [&](const EmulateProgress& now) {
    char line[96];
    std::snprintf(line, sizeof line, "step %llu/%llu  loss %.4f",
                  static_cast<unsigned long long>(now.steps_done),
                  static_cast<unsigned long long>(job.training.steps), now.step_loss);
    progress.step(line, {{"step", now.steps_done}, {"loss", now.step_loss}},
                  now.steps_done == job.training.steps);
    return true;
  };
  BP_ASSIGN(const EmulateReport report, emulate(job, emulation));
  if (!options.weights_out.empty()) BP_TRY(save_weights(report.weights, job, options.weights_out));
  JsonFields fields = {{"emulate", job.name},
                       {"arithmetic", std::string(options.use_float ? "float" : "fixed")},
                       {"steps", report.steps},
                       {"loss", report.last_step_loss},
                       {"accuracy", report.test_accuracy},
                       {"test_images", std::uint64_t{report.test_images}},
                       {"weights_sha256", report.sha256}};
  if (options.alone.has_value()) fields.emplace_back("alone", std::uint64_t{*options.alone});
  progress.result(fields);
  return {};
}

}  // namespace beaverpond
