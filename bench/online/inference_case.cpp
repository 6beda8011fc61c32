#include "bench/online/inference_case.h"

#include "online/nn/emulate.h"
#include "online/nn/schedule.h"
#include "online/nn/twin.h"

namespace beaverpond {
namespace {

constexpr std::uint32_t kAsker = 1;

Result<std::vector<std::uint32_t>> classes_by_the_twin(const InferenceCase& test) {
  InferenceProgramOptions options;
  options.batch = test.setup.options.count;
  options.answer = Answer::kClass;
  BP_ASSIGN(const InferenceProgram inference,
            build_inference_program(test.job.model, test.job.fixed_point, options));
  std::vector<std::uint32_t> rows(options.batch);
  for (std::uint32_t i = 0; i < options.batch; ++i) rows[i] = i;
  const int f = test.job.fixed_point.fraction_bits;
  std::vector<std::vector<std::uint64_t>> inputs{image_words(test.images, rows, f)};
  for (const WeightTensor& tensor : test.weights) {
    inputs.push_back(inference_words(tensor, test.job.fixed_point));
  }
  std::vector<std::vector<std::uint64_t>> no_states;
  BP_ASSIGN(const auto reveals, run_fixed({inference.program, inputs, no_states, 1, 0}));
  return std::vector<std::uint32_t>(reveals[0].begin(), reveals[0].end());
}

}  // namespace

Result<InferenceCase> make_inference_case(const std::string& job_path, std::uint32_t batch,
                                          std::uint32_t batches, const Setting& setting) {
  InferenceCase test;
  BP_ASSIGN(test.job, read_job(job_path));
  set_protocol(test.job, setting);
  test.job.reveal.predictions = {kAsker};
  test.job.reveal.answer = Answer::kClass;
  InferenceOptions ask;
  ask.batch = batch;
  ask.count = batch * batches;
  ask.asker = kAsker;
  ask.series = batches;
  BP_ASSIGN(test.setup, prepare_inference(test.job, PrgKind::kAes128Ctr, ask));
  BP_ASSIGN(test.images, read_dataset(test.job.test_images, test.job.test_labels, test.job));
  BP_ASSIGN(const std::vector<ModelParameter> parameters,
            model_parameters(test.job.model, test.job.fixed_point));
  std::vector<std::vector<std::uint64_t>> words = initial_weights(parameters, test.job.seed);
  for (std::size_t i = 0; i < words.size(); ++i) {
    test.weights.push_back({parameters[i].shape, parameters[i].scale_bits, std::move(words[i])});
  }
  BP_ASSIGN(test.expected, classes_by_the_twin(test));
  return test;
}

Result<InferenceReport> infer_player_blocking(const InferenceCase& test, Transport& transport,
                                              std::vector<Bundle> bundles,
                                              const TrainOptions& options) {
  const auto rank = static_cast<std::uint32_t>(transport.rank());
  BP_ASSIGN(const Session session,
            Session::create_blocking(transport,
                                     std::chrono::steady_clock::now() + std::chrono::seconds(30)));
  const std::unique_ptr<Backend> backend = make_cpu_backend();
  DealtBundles source(std::move(bundles));
  return infer_blocking(test.job, test.setup, rank == kAsker ? &test.images : nullptr,
                        rank == 0 ? &test.weights : nullptr, *backend, transport, session, source,
                        options);
}

}  // namespace beaverpond
