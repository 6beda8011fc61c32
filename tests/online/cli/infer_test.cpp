// Private inference by the real programs, against the plaintext twin.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "online/nn/dataset.h"
#include "online/nn/emulate.h"
#include "online/nn/model.h"
#include "online/nn/twin.h"
#include "online/nn/weight_file.h"
#include "tests/online/cli/cluster.h"

namespace beaverpond::testing {
namespace {

using Arguments = std::vector<std::string>;
using std::chrono::seconds;

constexpr std::uint32_t kAsker = 1;
constexpr std::uint32_t kBatch = 8;
constexpr std::uint32_t kCount = 21;  // the last batch is not full

const std::string kImages = std::string(kDataFolder) + "/t10k-images-idx3-ubyte.gz";
const std::string kLabels = std::string(kDataFolder) + "/t10k-labels-idx1-ubyte.gz";

/// The largest logit of every image, by run_fixed on the inference program; the lower class wins a
/// tie.
std::vector<std::uint32_t> twin_predictions(const Job& job,
                                            const std::vector<WeightTensor>& weights) {
  InferenceProgramOptions options;
  options.batch = kCount;
  const auto inference = build_inference_program(job.model, job.fixed_point, options);
  BP_CHECK(inference.ok(), "the model can be built");
  const auto data = read_dataset(kImages, kLabels, job);
  BP_CHECK(data.ok(), "the data set is there");
  std::vector<std::uint32_t> rows;
  for (std::uint32_t row = 0; row < kCount; ++row) rows.push_back(row);
  std::vector<std::vector<std::uint64_t>> inputs(inference->program.inputs);
  inputs[InferenceProgram::kImageSlot] = image_words(*data, rows, job.fixed_point.fraction_bits);
  for (std::uint32_t i = 0; i < weights.size(); ++i) {
    inputs[inference->parameter_slot(i)] = inference_words(weights[i], job.fixed_point);
  }
  std::vector<std::vector<std::uint64_t>> states;
  const auto reveals = run_fixed({inference->program, inputs, states});
  BP_CHECK(reveals.ok(), "the twin runs");
  std::vector<std::uint32_t> predictions;
  const std::uint32_t classes = job.model.classes();
  for (std::uint32_t row = 0; row < kCount; ++row) {
    std::uint32_t best = 0;
    for (std::uint32_t c = 1; c < classes; ++c) {
      const auto logit = [&](std::uint32_t k) {
        return static_cast<std::int64_t>(reveals->at(0)[row * classes + k]);
      };
      if (logit(c) > logit(best)) best = c;
    }
    predictions.push_back(best);
  }
  return predictions;
}

std::vector<std::uint32_t> read_predictions(const std::string& path) {
  std::istringstream text(read_text(path));
  std::vector<std::uint32_t> predictions;
  for (std::uint32_t prediction = 0; text >> prediction;) predictions.push_back(prediction);
  return predictions;
}

class Infer : public ::testing::Test {
 protected:
  /// Trains, with the weights revealed to player 0 only, and deals for inference.
  void SetUp() override {
    JobText text;
    text.steps = 30;
    text.reveal = "weights = [\"player0\"]\npredictions = [\"player1\"]" + more_reveal_;
    job_ = cluster_.write_job("job.toml", text);
    const std::string train_plan = cluster_.path("train.plan");
    const std::string infer_plan = cluster_.path("infer.plan");
    ASSERT_EQ(cluster_.beaverpond({"plan", job_, "-o", train_plan}).code, 0);
    ASSERT_EQ(cluster_
                  .beaverpond(with({"plan", job_, "--inference", "--asker", "1", "--batch", "8",
                                    "-o", infer_plan},
                                   plan_flags_))
                  .code,
              0);
    ASSERT_EQ(cluster_.make_bundles(train_plan, 30).code, 0);
    ASSERT_EQ(cluster_.make_bundles(infer_plan, 6).code, 0);
    std::vector<Process> players = cluster_.start_players("train", [&](int player) {
      return Arguments{BEAVERPOND_PROGRAM,   "train",        job_,         "--weights-out",
                       weights_path(player), "--shares-out", "kept.shares"};
    });
    for (Process& player : players) ASSERT_EQ(player.wait(seconds(30)), 0);
  }

  static Arguments with(Arguments arguments, const Arguments& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  /// `launch infer` with the flags given; the answers go to the cluster's file "predictions".
  Outcome launch_infer(const Arguments& more) {
    Arguments arguments = {"launch",
                           "--homes",
                           cluster_.folder(),
                           "--report",
                           cluster_.path("report.json"),
                           "infer",
                           job_,
                           "--images",
                           kImages,
                           "--labels",
                           kLabels,
                           "--predictions-out",
                           cluster_.path("predictions"),
                           "--asker",
                           "1",
                           "--batch",
                           std::to_string(kBatch),
                           "--count",
                           std::to_string(kCount)};
    return cluster_.beaverpond(with(std::move(arguments), more));
  }

  std::string weights_path(int player) const { return cluster_.home(player) + "/weights"; }
  std::string predictions_path(int player) const { return cluster_.home(player) + "/predictions"; }
  static Arguments infer_flags() {
    return {"--asker",         "1",
            "--weights-owner", "0",
            "--batch",         std::to_string(kBatch),
            "--count",         std::to_string(kCount)};
  }
  std::vector<std::uint32_t> expected() const {
    const auto job = read_job(job_);
    const auto weights = read_weights(weights_path(0));
    EXPECT_TRUE(weights.ok()) << weights.error().message;
    return twin_predictions(*job, *weights);
  }

  Cluster cluster_{3};
  std::string job_;
  std::string more_reveal_;
  Arguments plan_flags_;
};

class InferSeries : public Infer {
 protected:
  InferSeries() { plan_flags_ = {"--series", "2"}; }
};

TEST_F(InferSeries, GivesTheTwinsPredictionsFromHalfTheBundles) {
  const Outcome outcome = launch_infer({"--weights", weights_path(0), "--series", "2"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(read_predictions(cluster_.path("predictions")), expected());
  // Three batches of 8 in series of 2: of the six bundles four are left.
  EXPECT_NE(outcome.out.find("\"batch\":3,\"batches\":3,\"bundles_left\":4"), std::string::npos)
      << outcome.out;
}

TEST_F(InferSeries, OfAnotherLengthIsRefused) {
  const Outcome outcome = launch_infer({"--weights", weights_path(0), "--series", "3"});
  EXPECT_NE(outcome.code, 0);
}

class InferShared : public Infer {
 protected:
  InferShared() { plan_flags_ = {"--shared-weights", "--series", "3"}; }
};

TEST_F(InferShared, WeightsThatTrainingLeftSharedGiveTheTwinsPredictions) {
  const Outcome outcome = launch_infer({"--shares", "kept.shares", "--series", "3"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(read_predictions(cluster_.path("predictions")), expected());
}

TEST_F(InferShared, SharesOfAnotherPlayerOrDamagedOnesAreRefused) {
  const std::string mine = cluster_.home(0) + "/kept.shares";
  const std::string kept = read_text(mine);
  std::filesystem::copy_file(cluster_.home(1) + "/kept.shares", mine,
                             std::filesystem::copy_options::overwrite_existing);
  Outcome outcome = launch_infer({"--shares", "kept.shares", "--series", "3"});
  EXPECT_EQ(outcome.code, static_cast<int>(ErrorCode::kConfig));
  EXPECT_NE(outcome.err.find("shares of player 1"), std::string::npos) << outcome.err;
  std::string damaged = kept;
  damaged[100] = static_cast<char>(damaged[100] ^ 1);
  std::ofstream(mine, std::ios::binary) << damaged;
  outcome = launch_infer({"--shares", "kept.shares", "--series", "3"});
  EXPECT_EQ(outcome.code, static_cast<int>(ErrorCode::kConfig));
  EXPECT_NE(outcome.err.find("damaged"), std::string::npos) << outcome.err;
  // One share alone looks nothing like the weights.
  const auto weights = read_weights(weights_path(0));
  ASSERT_TRUE(weights.ok());
  EXPECT_EQ(kept.find(std::string(reinterpret_cast<const char*>(weights->at(0).words.data()), 16)),
            std::string::npos);
}

class InferScores : public Infer {
 protected:
  InferScores() { more_reveal_ = "\nanswer = \"scores\""; }
};

TEST_F(InferScores, AreWrittenBesideTheClassWhereTheJobSaysSo) {
  const Outcome outcome = launch_infer({"--weights", weights_path(0)});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::vector<std::uint32_t> classes = expected();
  std::istringstream lines(read_text(cluster_.path("predictions")));
  std::size_t row = 0;
  for (std::string line; std::getline(lines, line); ++row) {
    std::replace(line.begin(), line.end(), ',', ' ');
    std::istringstream numbers(line);
    std::uint32_t chosen = 0;
    numbers >> chosen;
    std::vector<double> scores;
    for (double score = 0; numbers >> score;) scores.push_back(score);
    ASSERT_EQ(scores.size(), 10u);
    EXPECT_EQ(chosen, classes[row]);
    EXPECT_EQ(std::max_element(scores.begin(), scores.end()) - scores.begin(), chosen);
  }
  EXPECT_EQ(row, kCount);
}

TEST_F(Infer, TheLauncherGivesTheTwinsPredictions) {
  EXPECT_TRUE(std::filesystem::exists(weights_path(0)));
  EXPECT_FALSE(std::filesystem::exists(weights_path(1)));
  EXPECT_FALSE(std::filesystem::exists(weights_path(2)));
  Arguments arguments = {
      "launch", "--homes",  cluster_.folder(), "--report",          cluster_.path("report.json"),
      "infer",  job_,       "--weights",       weights_path(0),     "--images",
      kImages,  "--labels", kLabels,           "--predictions-out", cluster_.path("predictions")};
  const Arguments flags = infer_flags();
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const Outcome outcome = cluster_.beaverpond(arguments);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(read_predictions(cluster_.path("predictions")), expected());
  EXPECT_NE(read_text(cluster_.path("report.json")).find("\"players\":3"), std::string::npos);
}

TEST_F(Infer, OnlyTheAskerLearnsTheAnswers) {
  // Every player is asked to write predictions; nobody is given what is not its own.
  std::vector<Process> players = cluster_.start_players("infer", [&](int player) {
    Arguments arguments = {BEAVERPOND_PROGRAM, "infer", job_, "--predictions-out",
                           predictions_path(player)};
    if (player == 0) arguments.insert(arguments.end(), {"--weights", weights_path(0)});
    if (player == 1) arguments.insert(arguments.end(), {"--images", kImages});
    const Arguments flags = infer_flags();
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return arguments;
  });
  for (int player = 0; player < 3; ++player) {
    ASSERT_EQ(players[static_cast<std::size_t>(player)].wait(seconds(30)), 0)
        << read_text(cluster_.err_path("infer", player));
    EXPECT_EQ(std::filesystem::exists(predictions_path(player)), player == 1);
    EXPECT_EQ(read_text(cluster_.out_path("infer", player)).find("accuracy"), std::string::npos);
  }
  EXPECT_EQ(read_predictions(predictions_path(1)), expected());
}

TEST_F(Infer, OnlyAPlayerThatTheJobNamesMayAsk) {
  const Outcome outcome =
      cluster_.beaverpond({"launch", "--homes", cluster_.folder(), "infer", job_, "--asker", "2",
                           "--count", "8", "--weights", weights_path(0), "--images", kImages});
  EXPECT_EQ(outcome.code, static_cast<int>(ErrorCode::kConfig)) << outcome.err;
  EXPECT_NE(outcome.err.find("reveal.predictions does not name player2"), std::string::npos)
      << outcome.err;
}

TEST_F(Infer, PlayersThatWereToldDifferentTasksSaySo) {
  std::vector<Process> players = cluster_.start_players("differ", [&](int player) {
    return Arguments{BEAVERPOND_PROGRAM,
                     "infer",
                     job_,
                     "--asker",
                     "1",
                     "--weights-owner",
                     player == 2 ? "2" : "0",
                     "--batch",
                     std::to_string(kBatch),
                     "--count",
                     std::to_string(kCount),
                     "--images",
                     kImages,
                     "--weights",
                     weights_path(0)};
  });
  EXPECT_EQ(players[2].wait(seconds(20)), static_cast<int>(ErrorCode::kRosterMismatch));
  EXPECT_NE(read_text(cluster_.err_path("differ", 2)).find("the tasks differ"), std::string::npos)
      << read_text(cluster_.err_path("differ", 2));
}

TEST_F(Infer, ImagesOfAnotherSizeAreRefusedWithoutLabelsToo) {
  const std::string path = cluster_.path("small.idx");
  std::string bytes = {0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 10, 0, 0, 0, 10};
  bytes.resize(16 + 20 * 100);
  std::ofstream(path, std::ios::binary) << bytes;
  Arguments arguments = {"launch",    "--homes",       cluster_.folder(), "infer", job_,
                         "--weights", weights_path(0), "--images",        path};
  const Arguments flags = infer_flags();
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const Outcome outcome = cluster_.beaverpond(arguments);
  // Player 1 ends with kConfig; the others wait for it in vain or are stopped.
  EXPECT_NE(outcome.code, 0);
  EXPECT_NE((outcome.err + read_text(cluster_.home(1) + "/player.log"))
                .find("rows of 10x10x1, the model takes 28x28x1"),
            std::string::npos)
      << outcome.err;
}

TEST_F(Infer, WeightsOfAnotherModelAreRefused) {
  JobText text;
  text.layers = "[[layer]]\nkind = \"dense\"\nunits = 10\n";
  const std::string other = cluster_.write_job("other.toml", text);
  ASSERT_EQ(cluster_.beaverpond({"emulate", other, "--weights-out", cluster_.path("other")}).code,
            0);
  Arguments arguments = {"launch", "--homes",   cluster_.folder(),      "infer",
                         job_,     "--weights", cluster_.path("other"), "--images",
                         kImages};
  const Arguments flags = infer_flags();
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const Outcome outcome = cluster_.beaverpond(arguments);
  EXPECT_EQ(outcome.code, static_cast<int>(ErrorCode::kConfig)) << outcome.err;
  EXPECT_NE(outcome.err.find("2 tensors, the model has 4: dense1.weight [784,6]"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace beaverpond::testing
