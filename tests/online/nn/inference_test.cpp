// Private inference equals the plaintext twin, with weights of one player and with shared ones.
#include "online/nn/inference.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "online/nn/emulate.h"
#include "online/nn/twin.h"
#include "tests/online/protocol/engine_harness.h"

namespace beaverpond {
namespace {

using testing::WordVector;

constexpr int kPlayers = 3;
constexpr std::uint32_t kBatch = 4;
constexpr std::uint32_t kImages = 10;  // two batches and a half
constexpr std::uint32_t kSeries = 2;
constexpr std::uint32_t kAsker = 1;

std::string job_text() {
  const std::string images = "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz";
  const std::string labels = "/usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz";
  std::string text = R"([job]
name = "test"
seed = 3
players = 3
[model]
input = [28, 28, 1]
loss = "softmax_cross_entropy"
[[layer]]
kind = "conv2d"
channels = 3
kernel = 5
stride = 2
[[layer]]
kind = "relu"
[[layer]]
kind = "maxpool"
kernel = 2
[[layer]]
kind = "dense"
units = 10
[training]
batch = 12
steps = 3
learning_rate = 0.25
[reveal]
predictions = ["player1"]
answer = "probabilities"
)";
  for (int i = 0; i < kPlayers; ++i) {
    text += "[[data.owner]]\nplayer = " + std::to_string(i) + "\ntrain_images = \"" + images +
            "\"\ntrain_labels = \"" + labels + "\"\nrows = [" + std::to_string(i * 50) + ", " +
            std::to_string(i * 50 + 50) + "]\n";
  }
  return text;
}

/// One bundle a series, the same for all players.
class DealtBundles final : public BundleSource {
 public:
  DealtBundles(std::vector<std::vector<Bundle>>& bundles, std::size_t rank)
      : bundles_(bundles), rank_(rank) {}
  Result<Bundle> next_blocking(std::uint64_t step, std::uint64_t) override {
    return std::move(bundles_[step][rank_]);
  }
  std::uint64_t left() const override { return 0; }

 private:
  std::vector<std::vector<Bundle>>& bundles_;
  std::size_t rank_;
};

class Inference : public ::testing::TestWithParam<bool> {
 protected:
  bool shared() const { return GetParam(); }

  /// What each player holds of the weights: all of them, or random shares.
  std::vector<std::vector<WeightTensor>> split(const std::vector<WeightTensor>& weights) const {
    std::vector<std::vector<WeightTensor>> parts(kPlayers, weights);
    if (!shared()) return parts;
    std::mt19937_64 random(9);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      for (std::size_t word = 0; word < weights[i].words.size(); ++word) {
        for (std::size_t player = 1; player < kPlayers; ++player) {
          parts[player][i].words[word] = random();
          parts[0][i].words[word] -= parts[player][i].words[word];
        }
      }
    }
    return parts;
  }

  /// Probabilities of all images, by the twin.
  std::vector<double> twin_values(const Job& job, const InferenceSetup& setup,
                                  const std::vector<WeightTensor>& weights,
                                  const Dataset& images) const {
    const int f = job.fixed_point.fraction_bits;
    std::vector<WordVector> inputs(setup.inference.program.inputs);
    std::vector<WordVector> states;
    for (std::uint32_t i = 0; i < weights.size(); ++i) {
      if (shared()) {
        states.push_back(weights[i].words);
      } else {
        inputs[setup.inference.parameter_slot(i)] = inference_words(weights[i], job.fixed_point);
      }
    }
    std::vector<double> values;
    for (std::uint32_t first = 0; first < kImages; first += kBatch) {
      std::vector<std::uint32_t> rows;
      for (std::uint32_t r = first; r < std::min(kImages, first + kBatch); ++r) rows.push_back(r);
      WordVector& words = inputs[InferenceProgram::kImageSlot];
      words = image_words(images, rows, f);
      words.resize(kBatch * 28 * 28);
      const auto reveals = run_fixed({setup.inference.program, inputs, states});
      EXPECT_TRUE(reveals.ok()) << reveals.error().message;
      for (std::size_t i = 0; i < rows.size() * 10; ++i) {
        values.push_back(static_cast<double>(static_cast<std::int64_t>((*reveals)[0][i])) /
                         static_cast<double>(1 << f));
      }
    }
    return values;
  }
};

TEST_P(Inference, ProbabilitiesAreBitIdenticalToTheTwins) {
  const Result<Job> job = parse_job(job_text(), "test");
  ASSERT_TRUE(job.ok()) << job.error().message;
  const Result<EmulateReport> trained = emulate(*job, {});
  ASSERT_TRUE(trained.ok()) << trained.error().message;
  InferenceOptions ask{kBatch, kImages, kAsker, 2, kSeries};
  if (shared()) ask.weights_owner.reset();
  const Result<InferenceSetup> setup = prepare_inference(*job, PrgKind::kChaCha20, ask);
  ASSERT_TRUE(setup.ok()) << setup.error().message;
  const Result<Dataset> images = read_images(job->owners[0].train_images, *job);
  ASSERT_TRUE(images.ok()) << images.error().message;
  const std::vector<std::vector<WeightTensor>> parts = split(trained->weights);

  testing::TestDealer dealer(setup->plan, kPlayers, 3);
  std::vector<std::vector<Bundle>> bundles;
  for (std::uint64_t number = 0; number < 2; ++number) bundles.push_back(dealer.deal(number));
  std::vector<std::unique_ptr<Transport>> transports = make_local_transports(kPlayers);
  std::vector<InferenceReport> reports(kPlayers);
  std::vector<std::thread> threads;
  for (std::uint32_t rank = 0; rank < kPlayers; ++rank) {
    threads.emplace_back([&, rank] {
      Transport& transport = *transports[rank];
      const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      const Result<Session> session = Session::create_blocking(transport, deadline);
      ASSERT_TRUE(session.ok()) << session.error().message;
      const std::unique_ptr<Backend> backend = testing::test_backend();
      DealtBundles source(bundles, rank);
      const bool gives_weights = shared() || rank == *ask.weights_owner;
      Result<InferenceReport> report = infer_blocking(
          *job, *setup, rank == kAsker ? &*images : nullptr, gives_weights ? &parts[rank] : nullptr,
          *backend, transport, *session, source, {});
      ASSERT_TRUE(report.ok()) << report.error().message;
      reports[rank] = std::move(report).value();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(reports[kAsker].predictions.size(), kImages);
  EXPECT_EQ(reports[kAsker].values, twin_values(*job, *setup, trained->weights, *images));
  EXPECT_TRUE(reports[0].values.empty());
  EXPECT_TRUE(reports[2].values.empty());
}

INSTANTIATE_TEST_SUITE_P(Weights, Inference, ::testing::Bool());

}  // namespace
}  // namespace beaverpond
