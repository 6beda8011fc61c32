#include "online/nn/inference.h"

#include <algorithm>
#include <chrono>

#include "online/nn/emulate.h"
#include "online/nn/session_engine.h"

namespace beaverpond {
namespace {

using Clock = std::chrono::steady_clock;

/// Weights by parameter, once they are known to fit the model: at scale f from their owner, as they
/// are where they are shares.
Result<std::vector<std::vector<std::uint64_t>>> owned_weights(
    const Job& job, const std::vector<WeightTensor>& weights, bool shares) {
  BP_ASSIGN(const std::vector<ModelParameter> parameters,
            model_parameters(job.model, job.fixed_point));
  bool fits = weights.size() == parameters.size();
  for (std::size_t i = 0; fits && i < weights.size(); ++i) {
    fits = weights[i].shape == parameters[i].shape &&
           weights[i].scale_bits == parameters[i].scale_bits;
  }
  if (!fits) {
    return make_error(ErrorCode::kConfig, "the weights do not fit the model of " + job.file +
                                              "; use the job that trained them");
  }
  std::vector<std::vector<std::uint64_t>> words;
  for (const WeightTensor& tensor : weights) {
    words.push_back(shares ? tensor.words : inference_words(tensor, job.fixed_point));
  }
  return words;
}

std::vector<std::uint64_t> batch_words(const Job& job, const InferenceOptions& options,
                                       const Dataset& images, std::uint32_t first) {
  std::vector<std::uint32_t> rows;
  const std::uint32_t end = std::min(options.count, first + options.batch);
  for (std::uint32_t row = first; row < end; ++row) rows.push_back(row);
  std::vector<std::uint64_t> words = image_words(images, rows, job.fixed_point.fraction_bits);
  const std::size_t row_words =
      std::size_t{job.model.height} * job.model.width * job.model.channels;
  BP_CHECK(words.size() == rows.size() * row_words, "images are as large as the model takes");
  words.resize(options.batch * row_words);  // the last batch is filled up with zero images
  return words;
}

Error in_batch(Error error, std::uint64_t batch, std::uint64_t batches) {
  error.message =
      "batch " + std::to_string(batch + 1) + "/" + std::to_string(batches) + ": " + error.message;
  return error;
}

void take_answers(const Job& job, ConstWords answer, std::uint32_t rows, InferenceReport& report) {
  std::vector<std::uint32_t>& predictions = report.predictions;
  if (job.reveal.answer == Answer::kClass) {
    for (std::uint32_t row = 0; row < rows; ++row) {
      predictions.push_back(static_cast<std::uint32_t>(answer[row]));
    }
    return;
  }
  const std::uint32_t classes = job.model.classes();
  const double one = static_cast<double>(std::uint64_t{1} << job.fixed_point.fraction_bits);
  const auto value = [&answer](std::size_t i) { return static_cast<std::int64_t>(answer[i]); };
  for (std::size_t i = 0; i < std::size_t{rows} * classes; ++i) {
    report.values.push_back(static_cast<double>(value(i)) / one);
  }
  for (std::uint32_t row = 0; row < rows; ++row) {
    const std::size_t at = std::size_t{row} * classes;
    std::uint32_t best = 0;
    for (std::uint32_t c = 1; c < classes; ++c) {
      if (value(at + c) > value(at + best)) best = c;
    }
    predictions.push_back(best);
  }
}

}  // namespace

Result<InferenceSetup> prepare_inference(const Job& job, PrgKind prg,
                                         const InferenceOptions& options) {
  if (options.asker >= job.players || options.weights_owner.value_or(0) >= job.players) {
    return make_error(ErrorCode::kConfig, "asker and weights owner are players 0.." +
                                              std::to_string(job.players - 1) + " of " + job.file);
  }
  const std::vector<std::uint32_t>& allowed = job.reveal.predictions;
  if (std::find(allowed.begin(), allowed.end(), options.asker) == allowed.end()) {
    const std::string name = "player" + std::to_string(options.asker);
    return make_error(ErrorCode::kConfig, job.file + ": reveal.predictions does not name " + name +
                                              ", so it may not learn the answers; add \"" + name +
                                              "\" there, or ask as a player that is named");
  }
  if (options.batch == 0 || options.count == 0 || options.series == 0) {
    return make_error(ErrorCode::kConfig,
                      "inference needs at least one image, a batch of one and a series of one");
  }
  if (job.reveal.answer == Answer::kProbabilities && job.model.loss != Loss::kSoftmax) {
    return make_error(ErrorCode::kConfig,
                      job.file +
                          ": reveal.answer = \"probabilities\" needs loss = "
                          "\"softmax_cross_entropy\"; use \"scores\" or \"class\"");
  }
  InferenceSetup setup;
  setup.options = options;
  InferenceProgramOptions program;
  program.batch = options.batch;
  program.image_owner = options.asker;
  program.weight_owner = options.weights_owner;
  program.answer = job.reveal.answer;
  program.receivers = std::uint64_t{1} << options.asker;
  program.members = options.series;
  BP_ASSIGN(setup.inference, build_inference_program(job.model, job.fixed_point, program));
  BP_ASSIGN(setup.plan, make_plan(setup.inference.program, prg, job.protocol));
  return setup;
}

Result<InferenceReport> infer_blocking(const Job& job, const InferenceSetup& setup,
                                       const Dataset* images,
                                       const std::vector<WeightTensor>* weights, Backend& backend,
                                       Transport& transport, const Session& session,
                                       BundleSource& bundles, const TrainOptions& options) {
  const InferenceOptions& ask = setup.options;
  const auto rank = static_cast<std::uint32_t>(transport.rank());
  const bool shared = !ask.weights_owner.has_value();
  if ((rank == ask.asker) != (images != nullptr) ||
      (shared || rank == *ask.weights_owner) != (weights != nullptr)) {
    return make_error(ErrorCode::kConfig,
                      "the asker gives the images, and the weights' owner (where they are shared, "
                      "everybody) the weights, nobody else");
  }
  if (images != nullptr && images->images.count < ask.count) {
    return make_error(ErrorCode::kConfig,
                      "the image file holds " + std::to_string(images->images.count) +
                          " images, fewer than the " + std::to_string(ask.count) + " asked for");
  }
  std::vector<std::vector<std::uint64_t>> parameters;
  if (weights != nullptr) {
    BP_ASSIGN(parameters, owned_weights(job, *weights, shared));
  }
  BP_ASSIGN(
      const std::unique_ptr<Engine> engine,
      create_session_engine(job.network, setup.inference.program, setup.plan, backend, transport,
                            session, options.lane, options.epoch, options.profile));
  RunInputs run;
  run.inputs.resize(setup.inference.program.inputs);
  for (std::uint32_t i = 0; i < parameters.size(); ++i) {
    if (shared) {
      BP_TRY(engine->set_state_share(i, parameters[i]));
    } else {
      run.inputs[setup.inference.parameter_slot(i)] = parameters[i];
    }
  }
  InferenceReport report;
  const Clock::time_point start = Clock::now();
  const std::uint64_t batches = (std::uint64_t{ask.count} + ask.batch - 1) / ask.batch;
  report.batches = batches;
  for (std::uint64_t step = 0; step < batches; ++step) {
    const auto first = static_cast<std::uint32_t>(step * ask.batch);
    std::vector<std::uint64_t> words;
    if (images != nullptr) words = batch_words(job, ask, *images, first);
    run.inputs[InferenceProgram::kImageSlot] = words;
    Result<void> done;
    if (step % ask.series != 0) {
      done = engine->run_next(run);
    } else {
      const std::uint64_t wanted = (batches - step + ask.series - 1) / ask.series;
      BP_ASSIGN(Bundle bundle, bundles.next_blocking(step / ask.series, wanted));
      done = engine->run(std::move(bundle), run);
    }
    if (!done.ok()) return in_batch(std::move(done).error(), step, batches);
    if (rank == ask.asker) {
      take_answers(job, engine->revealed(0), std::min(ask.batch, ask.count - first), report);
    }
    report.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (options.on_progress) {
      options.on_progress({step + 1, batches, std::nullopt,
                           static_cast<double>(step + 1) / report.seconds, bundles.left()});
    }
  }
  report.engine = engine->stats();
  report.profile = engine->profile();
  return report;
}

}  // namespace beaverpond
