#include "online/nn/emulate.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "online/nn/model.h"
#include "online/nn/schedule.h"
#include "online/nn/twin.h"
#include "online/nn/twin_ops.h"

namespace beaverpond {
namespace {

constexpr std::uint32_t kEvaluationBatch = 500;

// What differs between the two arithmetics, so that training and evaluation are written once.
struct FixedTwin {
  using Word = std::uint64_t;
  static constexpr bool kExactSoftmax = false;
  static auto run(const TwinRun<Word>& run) { return run_fixed(run); }
  static auto images(const Dataset& data, std::span<const std::uint32_t> rows, int f) {
    return image_words(data, rows, f);
  }
  static auto labels(const Dataset& data, std::span<const std::uint32_t> rows, std::uint32_t c,
                     int f) {
    return label_words(data, rows, c, f);
  }
  static Word from_word(std::uint64_t word) { return word; }
  static std::uint64_t to_word(Word word) { return word; }
  static double to_real(Word word) { return static_cast<double>(static_cast<std::int64_t>(word)); }
  static Word truncate(Word word, std::uint32_t shift) {
    const std::uint64_t rounded = word + (std::uint64_t{1} << (shift - 1));
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(rounded) >> shift);
  }
};

struct FloatTwin {
  using Word = double;
  static constexpr bool kExactSoftmax = true;
  static auto run(const TwinRun<Word>& run) { return run_float(run); }
  static auto images(const Dataset& data, std::span<const std::uint32_t> rows, int f) {
    return image_reals(data, rows, f);
  }
  static auto labels(const Dataset& data, std::span<const std::uint32_t> rows, std::uint32_t c,
                     int f) {
    return label_reals(data, rows, c, f);
  }
  static Word from_word(std::uint64_t word) {
    return static_cast<double>(static_cast<std::int64_t>(word));
  }
  // A float run that diverged has no word; zero stands for it, its loss tells the story.
  static std::uint64_t to_word(Word word) {
    constexpr double kLimit = 9.2e18;
    if (!(word > -kLimit && word < kLimit)) return 0;
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(word + (word < 0 ? -0.5 : 0.5)));
  }
  static double to_real(Word word) { return word; }
  static Word truncate(Word word, std::uint32_t shift) {
    return word / static_cast<double>(std::uint64_t{1} << shift);
  }
};

template <class Twin>
using States = std::vector<std::vector<typename Twin::Word>>;

// The job's loss, summed over rows of scores; for reading only.
template <class Twin>
double loss_of(const ModelConfig& model, const std::vector<typename Twin::Word>& scores,
               const std::vector<typename Twin::Word>& onehot, int f) {
  const double one = static_cast<double>(std::uint64_t{1} << f);
  std::vector<double> u;
  std::vector<double> y;
  for (const auto word : scores) u.push_back(Twin::to_real(word) / one);
  for (const auto word : onehot) y.push_back(Twin::to_real(word) / one);
  if (model.loss == Loss::kNormalisedRelu) {
    for (std::size_t row = 0; row < u.size(); row += model.classes()) {
      double total = 1 / one;
      for (std::size_t c = row; c < row + model.classes(); ++c) total += std::max(u[c], 0.0);
      for (std::size_t c = row; c < row + model.classes(); ++c) u[c] = std::max(u[c], 0.0) / total;
    }
  }
  if (model.loss == Loss::kSoftmax) return twin_ops::cross_entropy(u, y, model.classes(), 1.0);
  double sum = 0;
  for (std::size_t i = 0; i < u.size(); ++i) sum += (u[i] - y[i]) * (u[i] - y[i]) / 2;
  return sum;
}

// An owner with its data; owners of one file share it.
struct LoadedOwner {
  std::shared_ptr<const Dataset> data;
  std::vector<std::uint32_t> rows;
  RowSchedule schedule;
  BatchPart part;
};

Result<std::vector<LoadedOwner>> load_owners(const Job& job, const EmulateOptions& options) {
  std::map<std::pair<std::string, std::string>, std::shared_ptr<const Dataset>> files;
  std::vector<LoadedOwner> owners;
  for (DataOwner owner : job.owners) {
    if (options.alone.has_value()) {
      if (owner.player != *options.alone) continue;
      owner.rows_per_step = job.training.batch;
    }
    std::shared_ptr<const Dataset>& data = files[{owner.train_images, owner.train_labels}];
    if (data == nullptr) {
      BP_ASSIGN(Dataset read, read_dataset(owner.train_images, owner.train_labels, job));
      data = std::make_shared<const Dataset>(std::move(read));
    }
    BP_ASSIGN(std::vector<std::uint32_t> rows, owned_rows(owner, *data));
    const auto count = static_cast<std::uint32_t>(rows.size());
    owners.push_back({data, std::move(rows),
                      RowSchedule(job.seed, owner.player, count, owner.rows_per_step),
                      BatchPart{owner.player, owner.rows_per_step}});
  }
  if (owners.empty()) {
    return make_error(ErrorCode::kConfig, "player " + std::to_string(options.alone.value_or(0)) +
                                              " owns no data in " + job.file +
                                              "; name a player with [[data.owner]]");
  }
  return owners;
}

template <class Twin>
Result<double> train(const Job& job, const EmulateOptions& options,
                     std::vector<LoadedOwner>& owners, States<Twin>& states) {
  TrainingProgramOptions program_options;
  for (const LoadedOwner& owner : owners) program_options.parts.push_back(owner.part);
  program_options.loss_receivers = 1;  // the twin's own look at the loss
  program_options.exact_softmax = Twin::kExactSoftmax;
  BP_ASSIGN(
      const TrainingProgram training,
      build_training_program(job.model, job.fixed_point, job.training.optimiser, program_options));
  const std::size_t parameters = states.size();
  if (job.training.optimiser.momentum_shift != 0) {
    for (std::size_t i = 0; i < parameters; ++i) states.emplace_back(states[i].size(), 0);
  }
  const int f = job.fixed_point.fraction_bits;
  double loss = 0;
  std::vector<std::vector<typename Twin::Word>> inputs(training.program.inputs);
  for (std::uint64_t step = 0; step < job.training.steps; ++step) {
    for (std::uint32_t i = 0; i < owners.size(); ++i) {
      std::vector<std::uint32_t> rows = owners[i].schedule.rows_of_step(step);
      for (std::uint32_t& row : rows) row = owners[i].rows[row];
      inputs[training.image_slot(i)] = Twin::images(*owners[i].data, rows, f);
      inputs[training.label_slot(i)] = Twin::labels(*owners[i].data, rows, job.model.classes(), f);
    }
    BP_ASSIGN(const auto reveals,
              Twin::run({training.program, inputs, states, job.training.multiplier_of_step(step),
                         step, job.protocol}));
    const double one = static_cast<double>(std::uint64_t{1} << f);
    loss = Twin::to_real(reveals[0][0]) / (one * one) * loss_factor(job.model.loss) /
           job.training.batch;
    if (options.progress && !options.progress({step + 1, loss})) {
      return make_error(ErrorCode::kCancelled,
                        "stopped on request after step " + std::to_string(step));
    }
  }
  states.resize(parameters);
  return loss;
}

template <class Twin>
Result<Evaluation> evaluate_states(const Job& job, const States<Twin>& states,
                                   const Dataset& data) {
  const int f = job.fixed_point.fraction_bits;
  const std::uint32_t classes = job.model.classes();
  States<Twin> no_states;
  std::vector<std::vector<typename Twin::Word>> inputs(1 + states.size());
  for (std::size_t i = 0; i < states.size(); ++i) {
    inputs[1 + i] = states[i];
    for (auto& word : inputs[1 + i]) word = Twin::truncate(word, job.fixed_point.master_shift());
  }
  Evaluation result;
  std::uint32_t correct = 0;
  InferenceProgram inference;
  std::uint32_t batch = 0;
  while (result.images < data.images.count) {
    const std::uint32_t rest = std::min(kEvaluationBatch, data.images.count - result.images);
    if (rest != batch) {  // the first batch, and a last one that is smaller
      batch = rest;
      InferenceProgramOptions options;
      options.batch = batch;
      BP_ASSIGN(inference, build_inference_program(job.model, job.fixed_point, options));
    }
    std::vector<std::uint32_t> rows(batch);
    for (std::uint32_t i = 0; i < batch; ++i) rows[i] = result.images + i;
    inputs[InferenceProgram::kImageSlot] = Twin::images(data, rows, f);
    BP_ASSIGN(auto reveals, Twin::run({inference.program, inputs, no_states, 1, {}, job.protocol}));
    auto& logits = reveals[0];
    const auto onehot = Twin::labels(data, rows, classes, f);
    for (std::uint32_t i = 0; i < batch; ++i) {
      std::uint32_t best = 0;
      for (std::uint32_t c = 1; c < classes; ++c) {
        if (Twin::to_real(logits[i * classes + c]) > Twin::to_real(logits[i * classes + best])) {
          best = c;
        }
      }
      correct += best == data.labels[rows[i]] ? 1 : 0;
    }
    result.loss += loss_of<Twin>(job.model, logits, onehot, f);
    result.images += batch;
  }
  result.loss /= result.images;
  result.accuracy = static_cast<double>(correct) / result.images;
  return result;
}

template <class Twin>
Result<EmulateReport> emulate_with(const Job& job, const EmulateOptions& options) {
  BP_ASSIGN(std::vector<LoadedOwner> owners, load_owners(job, options));
  BP_ASSIGN(const std::vector<ModelParameter> parameters,
            model_parameters(job.model, job.fixed_point));
  States<Twin> states;
  for (const std::vector<std::uint64_t>& words : initial_weights(parameters, job.seed)) {
    auto& state = states.emplace_back();
    for (const std::uint64_t word : words) state.push_back(Twin::from_word(word));
  }
  EmulateReport report;
  Dataset test;  // read before the work, so that a mistake in its name costs none
  if (!job.test_images.empty()) {
    BP_ASSIGN(test, read_dataset(job.test_images, job.test_labels, job));
  }
  BP_ASSIGN(report.last_step_loss, train<Twin>(job, options, owners, states));
  report.steps = job.training.steps;
  for (std::size_t i = 0; i < states.size(); ++i) {
    WeightTensor tensor{parameters[i].shape, parameters[i].scale_bits, {}};
    for (const auto word : states[i]) tensor.words.push_back(Twin::to_word(word));
    report.weights.push_back(std::move(tensor));
  }
  report.sha256 = weights_sha256(report.weights);
  if (job.test_images.empty()) return report;
  BP_ASSIGN(const Evaluation evaluation, evaluate_states<Twin>(job, states, test));
  report.test_loss = evaluation.loss;
  report.test_accuracy = evaluation.accuracy;
  report.test_images = evaluation.images;
  return report;
}

}  // namespace

Result<EmulateReport> emulate(const Job& job, const EmulateOptions& options) {
  return options.arithmetic == Arithmetic::kFixed ? emulate_with<FixedTwin>(job, options)
                                                  : emulate_with<FloatTwin>(job, options);
}

Result<Evaluation> evaluate(const Job& job, const std::vector<WeightTensor>& weights,
                            const Dataset& data) {
  BP_ASSIGN(const std::vector<ModelParameter> parameters,
            model_parameters(job.model, job.fixed_point));
  bool fits = weights.size() == parameters.size();
  for (std::size_t i = 0; fits && i < weights.size(); ++i) {
    fits = weights[i].shape == parameters[i].shape &&
           weights[i].scale_bits == parameters[i].scale_bits &&
           weights[i].words.size() == weights[i].shape.count();
  }
  if (!fits) {
    return make_error(ErrorCode::kConfig, "the weights do not fit the model of " + job.file +
                                              "; use the job that trained them");
  }
  States<FixedTwin> states;
  for (const WeightTensor& tensor : weights) states.push_back(tensor.words);
  return evaluate_states<FixedTwin>(job, states, data);
}

std::vector<std::uint64_t> inference_words(const WeightTensor& master, const FixedPoint& fixed) {
  std::vector<std::uint64_t> words = master.words;
  for (std::uint64_t& word : words) word = FixedTwin::truncate(word, fixed.master_shift());
  return words;
}

}  // namespace beaverpond
