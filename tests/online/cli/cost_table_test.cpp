// What `plan` predicts by layer and operation is what `train --profile` counts.
#include "online/cli/cost_table.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/online/cli/cluster.h"

namespace beaverpond::testing {
namespace {

using Json = nlohmann::json;
using std::chrono::seconds;

constexpr std::uint64_t kSteps = 8;

class Costs : public ::testing::Test {
 protected:
  void SetUp() override {
    JobText text;
    text.steps = kSteps;
    text.protocol = protocol_;
    text.layers =
        "loss = \"softmax_cross_entropy\"\n[[layer]]\nkind = \"conv2d\"\nchannels = 2\n"
        "kernel = 5\nstride = 3\n[[layer]]\nkind = \"maxpool\"\nkernel = 2\n"
        "[[layer]]\nkind = \"relu\"\n[[layer]]\nkind = \"dense\"\nunits = 10\n";
    text.reveal = "loss_every = 3\npredictions = [\"player1\"]";
    job_ = cluster_.write_job("job.toml", text);
    plan_ = cluster_.path("job.plan");
    ASSERT_EQ(cluster_.beaverpond({"plan", job_, "-o", plan_}).code, 0);
  }

  Json plan_json(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"plan", job_, "--json"});
    const Outcome outcome = cluster_.beaverpond(more);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out, nullptr, false);
  }

  /// Times dealing for `players` players; the file's path.
  std::string dealing(int players) const {
    const Outcome outcome = run_program({TRIPLE_FACTORY, "profile", "--plan", plan_, "--players",
                                         std::to_string(players), "--bundles", "1", "--json"},
                                        cluster_.folder());
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    write_text(cluster_.path("dealing.json"), outcome.out);
    return cluster_.path("dealing.json");
  }

  void expect_agreement() const;

  std::string protocol_ = "additive";
  Cluster cluster_{3};
  std::string job_;
  std::string plan_;
};

void Costs::expect_agreement() const {
  ASSERT_EQ(cluster_.make_bundles(plan_, 16).code, 0);
  const Outcome trained = cluster_.beaverpond(
      {"launch", "--homes", cluster_.folder(), "train", job_, "--profile", "--dealing", dealing(3)},
      seconds(60));
  ASSERT_EQ(trained.code, 0) << trained.err;
  for (const char* words : {"mean of 8 steps", "maxpool1 backward", "message headers", "rounds",
                            "bytes sent", "bundle bytes", "dealing ms", "waiting for messages"}) {
    EXPECT_NE(trained.err.find(words), std::string::npos) << words << " in: " << trained.err;
  }
  for (int player = 0; player < 3; ++player) {
    SCOPED_TRACE(player);
    const Json report = Json::parse(read_text(cluster_.home(player) + "/report.json"));
    const Json plan = plan_json({"--player", std::to_string(player)});
    EXPECT_EQ(report["rounds"], plan["job_rounds"]);
    EXPECT_EQ(report["run_bytes_sent"], plan["job_bytes_sent"]);
    // Beyond the steps there are leases, keys and the last meeting.
    EXPECT_GT(report["bytes_sent"], plan["job_bytes_sent"]);
    EXPECT_LT(report["bytes_sent"].get<double>(), plan["job_bytes_sent"].get<double>() + 8192);
    for (const char* table : {"layers", "operations"}) {
      ASSERT_EQ(report[table].size(), plan[table].size());
      EXPECT_GT(plan[table].size(), 5u);
      for (std::size_t i = 0; i < plan[table].size(); ++i) {
        const Json& predicted = plan[table][i];
        const Json& measured = report[table][i];
        SCOPED_TRACE(predicted.dump());
        EXPECT_EQ(measured["layer"], predicted["layer"]);
        EXPECT_EQ(measured["bundle_bytes"],
                  kSteps * predicted["bundle_bytes"].get<std::uint64_t>());
        EXPECT_GE(measured["seconds"], 0);
        if (predicted["layer"] == "loss") continue;  // two of eight steps reveal it
        EXPECT_EQ(measured["rounds"], kSteps * predicted["rounds"].get<std::uint64_t>());
        EXPECT_EQ(measured["bytes_sent"], kSteps * predicted["bytes_sent"].get<std::uint64_t>());
      }
    }
    double computing = 0;
    double dealing_seconds = 0;
    for (const Json& row : report["layers"]) {
      computing += row["seconds"].get<double>();
      dealing_seconds += row["dealing_seconds"].get<double>();
    }
    EXPECT_GT(dealing_seconds, 0);
    EXPECT_NEAR(computing, report["computing_seconds"], 1e-9);
    const double all = computing + report["message_seconds"].get<double>() +
                       report["scheduling_seconds"].get<double>() +
                       report["between_seconds"].get<double>();
    EXPECT_NEAR(all, report["train_seconds"], 1e-9);
    EXPECT_GE(report["scheduling_seconds"], 0);
    EXPECT_GE(report["between_seconds"], 0);
  }
}

TEST_F(Costs, PredictionAndRunAgree) {
  expect_agreement();
}

class SecurennCosts : public Costs, public ::testing::WithParamInterface<const char*> {
 protected:
  SecurennCosts() { protocol_ = GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Protocols, SecurennCosts, ::testing::Values("securenn", "securenn-fused"));

TEST_P(SecurennCosts, PredictionAndRunAgreeForEveryPlayer) {
  expect_agreement();
  const Json plan = plan_json({"--player", "2"});
  EXPECT_EQ(plan["bytes_sent"], plan["bytes_sent_2"]);  // the assistant's, unlike player 0's
  EXPECT_NE(plan["bytes_sent"], plan["bytes_sent_0"]);
}

TEST_F(Costs, RowsAddUpToTheTotal) {
  const Json plan = plan_json({"--dealing", dealing(3)});
  for (const char* column : {"bundle_bytes", "multiply_adds", "bytes_sent"}) {
    std::uint64_t layers = 0;
    std::uint64_t operations = 0;
    for (const Json& row : plan["layers"]) layers += row[column].get<std::uint64_t>();
    for (const Json& row : plan["operations"]) operations += row[column].get<std::uint64_t>();
    EXPECT_EQ(layers, operations) << column;
    EXPECT_GT(layers, 0u) << column;
    if (std::string(column) == "bytes_sent") {
      EXPECT_LT(layers, plan[column]);  // which has the messages' headers too
    } else {
      EXPECT_EQ(layers, plan[column]) << column;
    }
  }
  const Result<Plan> file = read_plan_file(plan_);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(plan["bundle_bytes"], file->correction_size.value);
  EXPECT_GT(plan["dealing_seconds"], 0);
}

TEST_F(Costs, ASeriesIsOneBundle) {
  const auto inference = [this](const char* series, const char* owner) {
    return plan_json({"--inference", "--asker", "1", "--batch", "4", "--series", series, owner});
  };
  const Json one = inference("1", "--weights-owner=0");
  const Json three = inference("3", "--weights-owner=0");
  EXPECT_EQ(three["members"], 3);
  EXPECT_EQ(three["bundle_bytes"], 3 * one["bundle_bytes"].get<std::uint64_t>());
  // Shared weights are truncated once.
  EXPECT_LT(inference("3", "--shared-weights")["bundle_bytes"],
            3 * inference("1", "--shared-weights")["bundle_bytes"].get<std::uint64_t>());
  EXPECT_LT(three["bytes_sent"], 3 * one["bytes_sent"].get<std::uint64_t>());
  EXPECT_GT(three["bytes_sent"], one["bytes_sent"]);
  const Outcome text = cluster_.beaverpond(
      {"plan", job_, "--inference", "--asker", "1", "--batch", "4", "--series", "3"});
  EXPECT_NE(text.out.find("one series of 3 batches"), std::string::npos) << text.out;
}

TEST_F(Costs, InferenceTakesDealingTimesToo) {
  plan_ = cluster_.path("infer.plan");
  const std::vector<std::string> ask = {"plan",    job_, "--inference", "--asker", "1",
                                        "--batch", "4"};
  std::vector<std::string> arguments = ask;
  arguments.insert(arguments.end(), {"-o", plan_});
  ASSERT_EQ(cluster_.beaverpond(arguments).code, 0);
  arguments = ask;
  arguments.insert(arguments.end(), {"--dealing", dealing(3)});
  const Outcome text = cluster_.beaverpond(arguments);
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_NE(text.out.find("dealing ms"), std::string::npos) << text.out;
}

TEST_F(Costs, InferenceInSeriesIsProfiledToo) {
  const std::vector<std::string> ask = {"--asker=1", "--batch=4", "--series=3",
                                        "--weights-owner=0"};
  std::vector<std::string> plan = {"plan", job_, "--inference", "-o", cluster_.path("infer.plan")};
  plan.insert(plan.end(), ask.begin(), ask.end());
  ASSERT_EQ(cluster_.beaverpond(plan).code, 0);
  ASSERT_EQ(cluster_.make_bundles(cluster_.path("infer.plan"), 4).code, 0);
  const std::string weights = cluster_.path("weights");
  ASSERT_EQ(cluster_.beaverpond({"emulate", job_, "--weights-out", weights}).code, 0);
  // Six batches from two bundles.
  std::vector<std::string> infer = {
      "launch",    "--homes",   cluster_.folder(),
      "infer",     job_,        "--count",
      "24",        "--weights", weights,
      "--profile", "--images",  std::string(kDataFolder) + "/t10k-images-idx3-ubyte.gz"};
  infer.insert(infer.end(), ask.begin(), ask.end());
  const Outcome done = cluster_.beaverpond(infer, seconds(60));
  ASSERT_EQ(done.code, 0) << done.err;
  EXPECT_NE(done.err.find("mean of 6 batches"), std::string::npos) << done.err;
  const Json report = Json::parse(read_text(cluster_.home(0) + "/report.json"));
  plan.push_back("--json");
  const Json bundle = Json::parse(cluster_.beaverpond(plan).out);
  EXPECT_EQ(report["rounds"], 2 * bundle["rounds"].get<std::uint64_t>());
  EXPECT_EQ(report["run_bytes_sent"], 2 * bundle["bytes_sent"].get<std::uint64_t>());
  ASSERT_EQ(report["operations"].size(), bundle["operations"].size());
  for (std::size_t i = 0; i < bundle["operations"].size(); ++i) {
    for (const char* column : {"rounds", "bytes_sent", "bundle_bytes", "multiply_adds"}) {
      EXPECT_EQ(report["operations"][i][column],
                2 * bundle["operations"][i][column].get<std::uint64_t>())
          << column << " of " << bundle["operations"][i].dump();
    }
  }
}

TEST_F(Costs, ThePrintedTableHasALinePerLayerOrOperation) {
  const Outcome layers = cluster_.beaverpond({"plan", job_});
  for (const char* words : {"one step, player 0 of 3", "\nconv1 ", "\nmaxpool1 ", "\nloss ",
                            "\nconv1 backward ", "\ntotal ", "8 steps, 8 bundles", "mult-adds"}) {
    EXPECT_NE(layers.out.find(words), std::string::npos) << words << " in: " << layers.out;
  }
  EXPECT_EQ(layers.out.find("dealing ms"), std::string::npos);
  const Outcome full = cluster_.beaverpond({"plan", job_, "--full", "--dealing", dealing(3)});
  for (const char* words : {" conv1, conv2d ", " loss, lookup ", "dealing ms", "core hours"}) {
    EXPECT_NE(full.out.find(words), std::string::npos) << words << " in: " << full.out;
  }
}

TEST_F(Costs, WrongFilesAndPlayersAreRefused) {
  constexpr int kConfig = static_cast<int>(ErrorCode::kConfig);
  const Outcome nobody = cluster_.beaverpond({"plan", job_, "--player", "3"});
  EXPECT_EQ(nobody.code, kConfig);
  EXPECT_NE(nobody.err.find("0..2"), std::string::npos) << nobody.err;

  const Outcome two = cluster_.beaverpond({"plan", job_, "--dealing", dealing(2)});
  EXPECT_EQ(two.code, kConfig);
  EXPECT_NE(two.err.find("--players 3 --json"), std::string::npos) << two.err;

  const Outcome other =
      cluster_.beaverpond({"plan", job_, "--inference", "--asker", "1", "--dealing", dealing(3)});
  EXPECT_EQ(other.code, kConfig);
  EXPECT_NE(other.err.find("not measured for this plan"), std::string::npos) << other.err;

  for (const char* seconds : {"null", "-1", "\"1\""}) {
    const std::string line = std::string(R"({"profile":"entry","seconds":)") + seconds + "}\n";
    write_text(cluster_.path("seconds.json"), line);
    const Outcome wrong =
        cluster_.beaverpond({"plan", job_, "--dealing", cluster_.path("seconds.json")});
    EXPECT_EQ(wrong.code, kConfig);
    EXPECT_NE(wrong.err.find("seconds is no number"), std::string::npos) << wrong.err;
  }
  write_text(cluster_.path("broken.json"), "{\"profile\":\"entry\"}\n{\n");
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"plan", job_, "--dealing"},
        std::vector<std::string>{"train", job_, "--home", cluster_.home(0), "--profile",
                                 "--dealing"}}) {
    std::vector<std::string> arguments = command;
    arguments.push_back(cluster_.path("broken.json"));
    const Outcome broken = cluster_.beaverpond(arguments);
    EXPECT_EQ(broken.code, kConfig);
    EXPECT_NE(broken.err.find("broken.json:2"), std::string::npos) << broken.err;
  }
}

}  // namespace
}  // namespace beaverpond::testing
