#include "online/nn/emulate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "online/nn/chacha20_draws.h"
#include "online/nn/model.h"
#include "online/nn/weight_bounds.h"
#include "tests/online/nn/idx_writer.h"

namespace beaverpond {
namespace {

using ::testing::HasSubstr;

// Four classes of 8x8 images: one bright quadrant each, over noise. Classes take turns.
Dataset quadrants(std::uint32_t count, std::uint64_t seed) {
  Dataset data{{count, 8, 8, {}}, {}};
  ChaCha20Draws draws(ChaCha20Draws::key_of_seed(seed), {9, 9, 9});
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t label = i % 4;
    data.labels.push_back(static_cast<std::uint8_t>(label));
    for (std::uint32_t p = 0; p < 64; ++p) {
      const bool bright = (p / 32) * 2 + p % 8 / 4 == label;
      data.images.pixels.push_back(static_cast<std::uint8_t>(draws.below(140) + (bright ? 80 : 0)));
    }
  }
  return data;
}

std::string job_text() {
  const Dataset train = quadrants(400, 1);
  const Dataset test = quadrants(600, 2);  // more than one evaluation batch
  write_idx_images("emulate_train_images", train.images);
  write_idx_labels("emulate_train_labels", train.labels);
  write_idx_images("emulate_test_images", test.images);
  write_idx_labels("emulate_test_labels", test.labels);
  return R"([job]
name = "quadrants"
seed = 3
players = 2
[model]
input = [8, 8, 1]
[[layer]]
kind = "conv2d"
channels = 3
kernel = 3
stride = 2
padding = 1
[[layer]]
kind = "relu"
[[layer]]
kind = "dense"
units = 4
[training]
batch = 20
steps = 150
learning_rate = 0.1
[data]
test_images = "emulate_test_images"
test_labels = "emulate_test_labels"
[[data.owner]]
player = 0
train_images = "emulate_train_images"
train_labels = "emulate_train_labels"
classes = [0, 1]
[[data.owner]]
player = 1
train_images = "emulate_train_images"
train_labels = "emulate_train_labels"
classes = [2, 3]
)";
}

Job quadrant_job() {
  return parse_job(job_text(), ::testing::TempDir() + "/quadrants.toml").value();
}

TEST(Emulate, FixedAndFloatLearnTheSameAndNobodyLearnsAlone) {
  const Job job = quadrant_job();
  const auto fixed = emulate(job, {});
  ASSERT_TRUE(fixed.ok()) << fixed.error().message;
  EXPECT_GT(fixed->test_accuracy, 0.9);
  EXPECT_EQ(fixed->test_images, 600u);
  EXPECT_EQ(fixed->steps, 150u);
  EmulateOptions options;
  options.arithmetic = Arithmetic::kFloat;
  const auto real = emulate(job, options);
  ASSERT_TRUE(real.ok()) << real.error().message;
  EXPECT_NEAR(real->test_accuracy, fixed->test_accuracy, 0.01);
  EXPECT_NEAR(real->test_loss, fixed->test_loss, 1e-3);
  EXPECT_NEAR(real->last_step_loss, fixed->last_step_loss, 1e-3);
  for (std::uint32_t player = 0; player < 2; ++player) {
    EmulateOptions alone;
    alone.alone = player;
    const auto report = emulate(job, alone);
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_LE(report->test_accuracy, 0.5);
    EXPECT_GT(report->test_accuracy, 0.4);
  }
}

TEST(Emulate, RunsAreIdenticalAndWeightsSurviveTheFile) {
  const Job job = quadrant_job();
  const auto first = emulate(job, {});
  const auto second = emulate(job, {});
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->sha256, second->sha256);
  EXPECT_EQ(first->weights, second->weights);
  const std::string path = ::testing::TempDir() + "/emulate_weights";
  ASSERT_TRUE(write_weights(first->weights, path).ok());
  const auto read = read_weights(path);
  ASSERT_TRUE(read.ok());
  const auto test = read_dataset(job.test_images, job.test_labels, job);
  ASSERT_TRUE(test.ok());
  const auto evaluation = evaluate(job, read.value(), test.value());
  ASSERT_TRUE(evaluation.ok());
  EXPECT_EQ(evaluation->accuracy, first->test_accuracy);
  EXPECT_EQ(evaluation->loss, first->test_loss);
  EXPECT_FALSE(evaluate(job, {}, test.value()).ok());
}

TEST(Emulate, TooHighARateIsADomainErrorWithItsStep) {
  Job job = quadrant_job();
  job.training.rates = {{0, 10}, {5, std::uint64_t{1} << 30}};
  const auto report = emulate(job, {});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, ErrorCode::kDomain);
  EXPECT_THAT(report.error().message, HasSubstr("step 5: layer "));
}

std::vector<WeightTensor> weights_of_size(const Job& job, double size, std::uint64_t seed) {
  std::vector<WeightTensor> weights;
  ChaCha20Draws draws(ChaCha20Draws::key_of_seed(seed), {7, 7, 7});
  for (const ModelParameter& parameter : model_parameters(job.model, job.fixed_point).value()) {
    WeightTensor& tensor =
        weights.emplace_back(WeightTensor{parameter.shape, parameter.scale_bits, {}});
    for (std::uint64_t i = 0; i < parameter.shape.count(); ++i) {
      const double real = size * (static_cast<double>(draws.below(2001)) / 1000 - 1);
      tensor.words.push_back(static_cast<std::uint64_t>(
          static_cast<std::int64_t>(std::ldexp(real, parameter.scale_bits))));
    }
  }
  return weights;
}

TEST(WeightBounds, WhatIsNotWarnedOfStaysInTheDomain) {
  const Job job = quadrant_job();
  int warned = 0;
  int left = 0;
  for (int bits = 0; bits < 13; ++bits) {
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      std::vector<WeightTensor> weights = weights_of_size(job, std::ldexp(1.0, bits), seed);
      // The worst image there is: ones, and weights of one sign.
      if (seed % 2 == 0) {
        for (WeightTensor& tensor : weights) {
          for (std::uint64_t& word : tensor.words) {
            if (word >> 63 != 0) word = 0 - word;
          }
        }
      }
      Dataset ones = quadrants(4, 5);
      ones.images.pixels.assign(ones.images.pixels.size(), 255);
      const auto note = overflow_note(job, weights);
      ASSERT_TRUE(note.ok()) << note.error().message;
      const bool stays = evaluate(job, weights, ones).ok();
      EXPECT_TRUE(stays || note->has_value()) << bits << ' ' << seed;
      warned += note->has_value() ? 1 : 0;
      left += stays ? 0 : 1;
      EXPECT_THAT(note->value_or("layer '"), HasSubstr("layer '"));
    }
  }
  EXPECT_GT(left, 0);
  EXPECT_GE(warned, left);
  EXPECT_LT(warned, 40);
}

TEST(Emulate, StopsWhenProgressSaysSo) {
  EmulateOptions options;
  std::uint64_t seen = 0;
  options.progress = [&seen](const EmulateProgress& progress) {
    seen = progress.steps_done;
    return progress.steps_done < 4;
  };
  const auto report = emulate(quadrant_job(), options);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(seen, 4u);
}

TEST(Emulate, AloneNeedsAnOwner) {
  EmulateOptions options;
  options.alone = 7;
  EXPECT_THAT(emulate(quadrant_job(), options).error().message, HasSubstr("player 7 owns no data"));
}

TEST(Emulate, InferenceWordsAreRoundedToNearest) {
  const FixedPoint fixed{8, 2};
  const WeightTensor master{{4}, 18, {511, 512, UINT64_MAX - 511, UINT64_MAX - 512}};
  EXPECT_EQ(inference_words(master, fixed), (std::vector<std::uint64_t>{0, 1, 0, UINT64_MAX}));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// Integers only: the same weights on every machine and with every compiler.
TEST(Emulate, DemoTrainsTheKnownWeights) {
  const auto job = read_job(BEAVERPOND_SOURCE_DIR "/online/examples/demo.toml");
  ASSERT_TRUE(job.ok()) << job.error().message;
  if (!std::filesystem::exists(job->test_images)) GTEST_SKIP() << "no " << job->test_images;
  const auto report = emulate(job.value(), {});
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_GE(report->test_accuracy, 0.80);
  EXPECT_EQ(report->sha256, "8dfa9484541a8f08f20dfa18065c3b32b70c3270be47cbf87ba3831bf7bb933f");
}
#endif

}  // namespace
}  // namespace beaverpond
