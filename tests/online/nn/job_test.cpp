#include "online/nn/job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace beaverpond {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kJob = R"([job]
name = "test"
seed = 7
players = 3

[fixed_point]
fraction_bits = 16
master_extra_bits = 20

[model]
input = [28, 28, 1]
loss = "squared_error"

[[layer]]
kind = "conv2d"
channels = 5
kernel = 5
stride = 2
padding = 2

[[layer]]
kind = "relu"

[[layer]]
kind = "dense"
units = 10

[training]
batch = 128
steps = 300

[[training.rate]]
from_step = 0
multiplier = 64

[[training.rate]]
from_step = 100
learning_rate = 0.005

[data]
test_images = "t10k-images.gz"
test_labels = "/data/t10k-labels.gz"

[[data.owner]]
player = 2
train_images = "images.gz"
train_labels = "labels.gz"
classes = [7, 8, 9]

[[data.owner]]
player = 0
train_images = "images.gz"
train_labels = "labels.gz"
rows = [0, 30000]

[[data.owner]]
player = 1
train_images = "images.gz"
train_labels = "labels.gz"
rows_per_step = 31

[reveal]
loss_every = 10
weights = ["player1"]
predictions = ["player2", "player0"]
verify = true

[pool]
low = 10
high = 20
lease_steps = 4
disk_budget = "2GiB"
profile = "auto"

[network]
connect_timeout_ms = 1000
peer_timeout_ms = 2000
heartbeat_ms = 500
reconnect_ms = 7000
pool_timeout_ms = 3000
)";

TEST(Job, ReadsTheProtocol) {
  const auto with = [](const std::string& lines, const std::string& profile = "lan") {
    std::string text = kJob;
    text.replace(text.find("\"auto\""), 6, '"' + profile + '"');
    const std::string seed = "seed = 7\n";
    const std::size_t at = text.find(seed);
    EXPECT_NE(at, std::string::npos);
    return parse_job(text.insert(at, lines), "/jobs/test.toml");
  };
  EXPECT_EQ(with("")->protocol, Protocol::kAdditive);
  EXPECT_EQ(with("protocol = \"securenn\"\n")->protocol, Protocol::kSecurenn);
  EXPECT_EQ(with("protocol = \"securenn-fused\"\n")->protocol, Protocol::kSecurennFused);
  const auto far = with("protocol = \"securenn\"\n", "wan");
  ASSERT_FALSE(far.ok());
  EXPECT_THAT(far.error().message, HasSubstr("the protocol securenn has none; leave it out"));
  const auto unknown = with("protocol = \"secureNN\"\n");
  ASSERT_FALSE(unknown.ok());
  EXPECT_THAT(unknown.error().message, HasSubstr("did you mean 'securenn'"));
}

TEST(Job, ReadsEveryField) {
  const Result<Job> result = parse_job(kJob, "/jobs/test.toml");
  ASSERT_TRUE(result.ok()) << result.error().message;
  const Job& job = result.value();
  EXPECT_EQ(job.name, "test");
  EXPECT_EQ(job.seed, 7u);
  EXPECT_EQ(job.players, 3u);
  EXPECT_EQ(job.fixed_point.master_scale_bits(), 52);
  EXPECT_EQ(job.fixed_point.master_shift(), 36u);
  ASSERT_EQ(job.model.layers.size(), 3u);
  EXPECT_EQ(job.model.layers[0].kind, LayerKind::kConv2d);
  EXPECT_EQ(job.model.layers[0].pad_after, 2u);
  EXPECT_EQ(job.model.classes(), 10u);
  EXPECT_EQ(job.training.steps, 300u);
  ASSERT_EQ(job.training.rates.size(), 2u);
  EXPECT_EQ(job.training.rates[1].multiplier, 41u);  // 0.005 * 2^20 / 128 = 40.96
  ASSERT_EQ(job.notes.size(), 1u);
  EXPECT_THAT(job.notes[0], HasSubstr("becomes multiplier 41, a rate of 0.00500488"));
  ASSERT_EQ(job.owners.size(), 3u);
  EXPECT_EQ(job.owners[0].player, 0u);
  EXPECT_EQ(job.owners[0].rows->end, 30000u);
  EXPECT_EQ(job.owners[0].rows_per_step, 49u);  // 97 over two: the lower rank has the remainder
  EXPECT_EQ(job.owners[1].rows_per_step, 31u);
  EXPECT_EQ(job.owners[2].rows_per_step, 48u);
  EXPECT_THAT(job.owners[2].classes, ElementsAre(7, 8, 9));
  EXPECT_EQ(job.owners[2].train_images, "/jobs/images.gz");
  EXPECT_EQ(job.test_images, "/jobs/t10k-images.gz");
  EXPECT_EQ(job.test_labels, "/data/t10k-labels.gz");
  EXPECT_EQ(job.reveal.loss_every, 10u);
  EXPECT_THAT(job.reveal.weights, ElementsAre(1));
  EXPECT_THAT(job.reveal.predictions, ElementsAre(0, 2));
  EXPECT_TRUE(job.reveal.verify);
  EXPECT_EQ(job.pool.lease_steps, 4u);
  EXPECT_EQ(job.pool.disk_budget.value, std::uint64_t{2} << 30);
  EXPECT_FALSE(job.pool.profile.has_value());
  EXPECT_EQ(job.network.heartbeat_ms, 500u);
}

struct Edit {
  const char* from;
  const char* to;
};

std::string edited(const Edit& edit) {
  std::string text = kJob;
  const std::size_t at = text.find(edit.from);
  EXPECT_NE(at, std::string::npos) << edit.from;
  return text.replace(at, std::string(edit.from).size(), edit.to);
}

TEST(Job, DefaultsRevealNothingButPredictions) {
  std::string text = kJob;
  text.resize(text.find("[reveal]"));
  const Result<Job> job = parse_job(text, "job.toml");
  ASSERT_TRUE(job.ok()) << job.error().message;
  EXPECT_EQ(job->reveal.loss_every, 0u);
  EXPECT_TRUE(job->reveal.weights.empty());
  EXPECT_THAT(job->reveal.predictions, ElementsAre(0));
  EXPECT_FALSE(job->reveal.verify);
  EXPECT_GT(job->network.peer_timeout_ms, job->network.heartbeat_ms);
  EXPECT_EQ(job->network.reconnect_ms, 0u);  // a break is a loss unless the job says otherwise
}

struct Mistake {
  Edit edit;
  const char* message;
};

void expect_messages(const std::vector<Mistake>& mistakes) {
  for (const Mistake& mistake : mistakes) {
    SCOPED_TRACE(mistake.edit.to);
    const Result<Job> job = parse_job(edited(mistake.edit), "job.toml");
    ASSERT_FALSE(job.ok());
    EXPECT_EQ(job.error().code, ErrorCode::kConfig);
    EXPECT_THAT(job.error().message, HasSubstr("job.toml"));
    EXPECT_THAT(job.error().message, HasSubstr(mistake.message));
  }
}

TEST(Job, TyposInEveryTableAreNamedWithLineAndNearMiss) {
  expect_messages({
      {{"name =", "nmae ="}, "job.toml:2: job.nmae: unknown key (did you mean 'name'?)"},
      {{"seed =", "seeed ="}, "did you mean 'seed'"},
      {{"players =", "player ="}, "did you mean 'players'"},
      {{"fraction_bits", "fractionbits"}, "did you mean 'fraction_bits'"},
      {{"master_extra_bits", "masterextra_bits"}, "did you mean 'master_extra_bits'"},
      {{"input =", "inptu ="}, "did you mean 'input'"},
      {{"loss =", "los ="}, "did you mean 'loss'"},
      {{"kind = \"conv2d\"", "knid = \"conv2d\""},
       "layer[0].knid: unknown key (did you mean 'kind'"},
      {{"channels", "chanels"}, "did you mean 'channels'"},
      {{"kernel", "kernal"}, "did you mean 'kernel'"},
      {{"stride", "strides"}, "job.toml:18: layer[0].strides: unknown key (did you mean 'stride'"},
      {{"padding", "pading"}, "did you mean 'padding'"},
      {{"units", "unit"}, "layer[2].unit: unknown key (did you mean 'units'"},
      {{"\"conv2d\"", "\"conv\""}, "unknown layer 'conv' (did you mean 'conv2d'"},
      {{"[training]\nbatch", "[training]\nbacth"}, "did you mean 'batch'"},
      {{"steps", "stesp"}, "did you mean 'steps'"},
      {{"from_step", "from_steps"}, "training.rate[0].from_steps: unknown key"},
      {{"multiplier", "multplier"}, "did you mean 'multiplier'"},
      {{"learning_rate", "learningrate"}, "did you mean 'learning_rate'"},
      {{"test_images", "tset_images"}, "did you mean 'test_images'"},
      {{"player = 2", "palyer = 2"}, "data.owner[0].palyer: unknown key (did you mean 'player'"},
      {{"train_images", "training_images"}, "did you mean 'train_images'"},
      {{"train_labels", "train_label"}, "did you mean 'train_labels'"},
      {{"rows = ", "row = "}, "did you mean 'rows'"},
      {{"classes", "clases"}, "did you mean 'classes'"},
      {{"rows_per_step", "rows_pre_step"}, "did you mean 'rows_per_step'"},
      {{"loss_every", "lossevery"}, "did you mean 'loss_every'"},
      {{"predictions", "prediction"}, "did you mean 'predictions'"},
      {{"verify", "verfiy"}, "did you mean 'verify'"},
      {{"lease_steps", "lease_step"}, "did you mean 'lease_steps'"},
      {{"disk_budget", "disk_buget"}, "did you mean 'disk_budget'"},
      {{"disk_budget = \"2GiB\"", "rollback = \"forgive\""}, "use \"burn\" or \"refuse\""},
      {{"disk_budget = \"2GiB\"", "prg = \"mt19937\""}, "use \"aes128-ctr\" or \"chacha20\""},
      {{"peer_timeout_ms", "peer_timeout"}, "did you mean 'peer_timeout_ms'"},
      {{"[training]\nbatch", "[trainnig]\nbatch"},
       "trainnig: unknown key (did you mean 'training'"},
      {{"[pool]", "[pools]"}, "did you mean 'pool'"},
      {{"seed =", "zebra ="}, "known here: name, seed, players"},
  });
}

TEST(Job, WrongTypesAndRangesSayWhatToWrite) {
  expect_messages({
      {{"seed = 7", "seed = \"7\""}, "job.toml:3: job.seed: expected an integer, found a string"},
      {{"seed = 7", "seed = -7"}, "-7 is out of range"},
      {{"seed = 7\n", ""}, "job.seed: missing; add it: an integer"},
      {{"players = 3", "players = 1"}, "1 is out of range; use a value in 2..64"},
      {{"name = \"test\"", "name = \"\""}, "job.name: empty"},
      {{"name = \"test\"", "name = "}, "not valid TOML"},
      {{"fraction_bits = 16", "fraction_bits = 25"}, "use a value in 8..24"},
      {{"fraction_bits = 16", "fraction_bits = 20"}, "exceed 54 bits; use at most 14"},
      {{"[28, 28, 1]", "[28, 28]"}, "write [height, width, channels]"},
      {{"[28, 28, 1]", "[28, 0, 1]"}, "0 is out of range"},
      {{"[28, 28, 1]", "[28, 28, 1.5]"}, "expected integers, found a number"},
      {{"kernel = 5", "kernel = 33"}, "kernel 33 does not fit into the padded image"},
      {{"squared_error", "cross_entropy"}, "unknown loss 'cross_entropy'"},
      {{"padding = 2", "padding = 5"}, "not smaller than the kernel; use at most 4"},
      {{"padding = 2", "padding = [1, 2, 3]"}, "write one number or [before, after]"},
      {{"[[layer]]\nkind = \"conv2d\"", "[layer]\nkind = \"conv2d\""}, "job.toml"},
      {{"units = 10", "units = 10\n[[layer]]\nkind = \"relu\""}, "the last layer must be dense"},
      {{"[[layer]]\nkind = \"dense\"\nunits = 10",
        "[[layer]]\nkind = \"relu\"\n[[layer]]\nkind = \"dense\"\nunits = 10"},
       "a relu must follow"},
      {{"batch = 128", "batch = 0"}, "training.batch: 0 is out of range"},
      {{"steps = 300", "steps = 300\nmultiplier = 3"}, "both a single rate and a schedule"},
      {{"multiplier = 64", "multiplier = 64\nlearning_rate = 1.0"}, "give either"},
      {{"multiplier = 64", ""}, "training.rate[0].multiplier: missing; give either"},
      {{"learning_rate = 0.005", "learning_rate = -1.0"}, "not a positive number"},
      {{"learning_rate = 0.005", "learning_rate = nan"}, "not a positive number"},
      {{"learning_rate = 0.005", "learning_rate = 1e-9"}, "raise master_extra_bits"},
      {{"learning_rate = 0.005", "learning_rate = 1e-7"},
       "multiplier would be 0.0008192; raise master_extra_bits"},
      {{"name = \"test\"", "name = \"a\\u001b[31m\""}, "job.name: control characters"},
      {{"from_step = 0", "from_step = 5"}, "the first rate must start at step 0"},
      {{"from_step = 100", "from_step = 0"}, "sort the rates by from_step"},
  });
}

TEST(Job, MasterBitsAreNotToBeRaisedAboveTheirLimit) {
  std::string text = edited({"fraction_bits = 16", "fraction_bits = 17"});
  text.replace(text.find("learning_rate = 0.005"), 21, "learning_rate = 1e-9");
  const Result<Job> job = parse_job(text, "job.toml");
  ASSERT_FALSE(job.ok());
  EXPECT_THAT(job.error().message, HasSubstr("lower fraction_bits or raise the rate"));
}

TEST(Job, OwnersPlayersAndLimitsAreChecked) {
  expect_messages({
      {{"player = 2", "player = 3"}, "3 is out of range; use a value in 0..2"},
      {{"player = 2", "player = 1"}, "player 1 is listed twice"},
      {{"classes = [7, 8, 9]", "classes = [7, 10]"}, "10 is out of range; use a value in 0..9"},
      {{"classes = [7, 8, 9]", "classes = []"}, "data.owner[0].classes: empty"},
      {{"rows = [0, 30000]", "rows = [30000, 0]"}, "write [begin, end] with begin < end"},
      {{"rows_per_step = 31", "rows_per_step = 127"}, "do not make up the batch of 128"},
      {{"test_labels = \"/data/t10k-labels.gz\"", ""}, "give test_images and test_labels together"},
      {{"[\"player1\"]", "[\"player3\"]"},
       "'player3' is not a player; use \"player0\"..\"player2\""},
      {{"[\"player1\"]", "[1]"}, "expected strings, found an integer"},
      {{"[\"player1\"]", "\"player1\""}, "expected a list, found a string"},
      {{"verify = true", "verify = 1"}, "expected true or false, found an integer"},
      {{"high = 20", "high = 5"}, "pool.high: below low"},
      {{"profile = \"auto\"", "profile = \"fast\""},
       "'fast' is none; use \"lan\", \"wan\" or \"auto\""},
      {{"\"2GiB\"", "\"2GB\""}, "'2GB' is not a size"},
      {{"\"2GiB\"", "-1"}, "-1 is out of range"},
      {{"heartbeat_ms = 500", "heartbeat_ms = 2000"}, "not below peer_timeout_ms"},
      {{"[data]\n", "[data]\nowner = 3\n"}, "job.toml"},
  });
}

TEST(Job, SingleLearningRateStandsForASchedule) {
  const std::string text = edited({R"(
[[training.rate]]
from_step = 0
multiplier = 64

[[training.rate]]
from_step = 100
learning_rate = 0.005
)",
                                   "learning_rate = 1\n"});
  const Result<Job> job = parse_job(text, "job.toml");
  ASSERT_TRUE(job.ok()) << job.error().message;
  ASSERT_EQ(job->training.rates.size(), 1u);
  EXPECT_EQ(job->training.rates[0].multiplier, 8192u);
}

TEST(Job, OptimiserPoolsAndLossAreReadAndRounded) {
  std::string text = edited({"[training]\n", "[training]\nmomentum = 0.9\nweight_decay = 0.001\n"});
  const auto replace = [&text](const std::string& from, const std::string& to) {
    text.replace(text.find(from), from.size(), to);
  };
  replace("squared_error", "softmax_cross_entropy");
  replace("[[layer]]\nkind = \"relu\"",
          "[[layer]]\nkind = \"maxpool\"\nkernel = 3\nstride = 2\npadding = 1\n"
          "[[layer]]\nkind = \"relu\"\n[[layer]]\nkind = \"avgpool\"\nkernel = 2");
  replace("verify = true", "answer = \"probabilities\"");
  const Result<Job> job = parse_job(text, "job.toml");
  ASSERT_TRUE(job.ok()) << job.error().message;
  EXPECT_EQ(job->model.loss, Loss::kSoftmax);
  EXPECT_EQ(job->model.layers[1].kind, LayerKind::kMaxPool);
  EXPECT_EQ(job->model.layers[1].pad_after, 1u);
  EXPECT_EQ(job->model.layers[3].kind, LayerKind::kAvgPool);
  EXPECT_EQ(job->model.layers[3].stride, 2u);  // its kernel
  EXPECT_EQ(job->training.optimiser.momentum_shift, 3u);
  EXPECT_THAT(job->notes[0], HasSubstr("becomes 0.875 = 1 - 2^-3"));
  EXPECT_EQ(job->training.optimiser.weight_decay_word, 8389u);  // 0.001 * 128 * 2^16
  EXPECT_EQ(job->reveal.answer, Answer::kProbabilities);
}

TEST(Job, MistakesInPoolsAndOptimiserSayWhatToWrite) {
  const char* const relu = "[[layer]]\nkind = \"relu\"";
  expect_messages({
      {{relu, "[[layer]]\nkind = \"maxpol\""}, "unknown layer 'maxpol' (did you mean 'maxpool'"},
      {{relu, "[[layer]]\nkind = \"maxpool\""}, "layer[1].kernel: missing"},
      {{relu, "[[layer]]\nkind = \"maxpool\"\nkernel = 15"},
       "layer 'maxpool1': kernel 15 does not fit into the padded image [14,14,5]"},
      {{relu, "[[layer]]\nkind = \"avgpool\"\nkernel = 2\nunits = 3"}, "layer[1].units: unknown"},
      {{relu, "[[layer]]\nkind = \"avgpool\"\nkernel = 2\npadding = 2"}, "use at most 1"},
      {{"[training]\n", "[training]\nmomentum = 1.5\n"}, "use 0.5, 0.75, 0.875"},
      {{"[training]\n", "[training]\nmomentum = -0.5\n"}, "not a positive number"},
      {{"[training]\n", "[training]\nmomemtum = 0.5\n"}, "did you mean 'momentum'"},
      {{"[training]\n", "[training]\nweight_decay = 2.0\n"}, "weight_decay: above 1"},
      {{"[training]\n", "[training]\nweight_decay = 1e-9\n"}, "use a value from 5.96046e-08 to 1"},
      {{"[training]\n", "[training]\nweight_deacy = 0.1\n"}, "did you mean 'weight_decay'"},
      {{"squared_error", "softmax"}, "unknown loss 'softmax'"},
      {{"verify = true", "answer = \"score\""}, "did you mean 'scores'"},
      {{"verify = true", "anser = \"class\""}, "did you mean 'answer'"},
  });
}

TEST(Job, SoftmaxNeedsAScaleThatItsTablesHave) {
  std::string text = edited({"squared_error", "softmax_cross_entropy"});
  text.replace(text.find("fraction_bits = 16"), 18, "fraction_bits = 21");
  text.replace(text.find("master_extra_bits = 20"), 22, "master_extra_bits = 12");
  text.replace(text.find("learning_rate = 0.005"), 21, "multiplier = 3");
  const Result<Job> job = parse_job(text, "job.toml");
  ASSERT_FALSE(job.ok());
  EXPECT_THAT(job.error().message, HasSubstr("the softmax needs fraction_bits from 8 to 20"));
}

TEST(Job, MissingFileIsAnIoError) {
  const Result<Job> job = read_job("/nowhere/job.toml");
  ASSERT_FALSE(job.ok());
  EXPECT_EQ(job.error().code, ErrorCode::kIo);
}

TEST(Job, ExamplesAreValid) {
  for (const char* name :
       {"demo", "netA", "chameleon", "minionn", "lenet", "gpus2", "gpus3", "gpus8"}) {
    const Result<Job> job =
        read_job(std::string(BEAVERPOND_SOURCE_DIR "/online/examples/") + name + ".toml");
    ASSERT_TRUE(job.ok()) << job.error().message;
    EXPECT_EQ(job->name, name);
    EXPECT_TRUE(job->notes.empty());
  }
}

}  // namespace
}  // namespace beaverpond
