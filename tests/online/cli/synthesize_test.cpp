// `beaverpond synthesize`: the same files everywhere, in formats that jobs read, and worth training
// on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "offline/plan/hash.h"
#include "online/cli/json_line.h"
#include "online/cli/made_up_data.h"
#include "online/nn/idx.h"
#include "online/nn/npy.h"
#include "tests/online/cli/cluster.h"

namespace beaverpond::testing {
namespace {

using Arguments = std::vector<std::string>;
using Bytes = std::vector<std::uint8_t>;
using ::testing::HasSubstr;

std::string sha256_of(const std::string& path) {
  const std::string text = read_text(path);
  return to_hex(sha256({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}));
}

class Synthesize : public ::testing::Test {
 protected:
  Outcome make(const std::string& folder, Arguments more) const {
    Arguments arguments = {"synthesize", "--out", cluster_.path(folder)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return cluster_.beaverpond(arguments);
  }
  std::vector<std::string> files(const std::string& folder) const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(cluster_.path(folder))) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  Cluster cluster_{2};
};

TEST_F(Synthesize, TheSameSeedGivesTheSameBytes) {
  const Outcome made = make("a", {"--images", "500", "--seed", "3", "--device", "cpu"});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_THAT(made.err, HasSubstr("made by the CPU"));
  EXPECT_THAT(files("a"),
              ::testing::ElementsAre("test-images-idx3-ubyte", "test-labels-idx1-ubyte",
                                     "train-images-idx3-ubyte", "train-labels-idx1-ubyte"));
  // As a program in another language made them from README.md's description.
  EXPECT_EQ(sha256_of(cluster_.path("a/train-images-idx3-ubyte")),
            "457f4672928b60a9a4ca32b005895cd58ff7838e901404d031a8de3cabdc788d");
  EXPECT_EQ(sha256_of(cluster_.path("a/train-labels-idx1-ubyte")),
            "b2fbfc2a49fd5caee71368193c954a0d1a7093095894f67d19a42825c4f07d76");
  EXPECT_EQ(sha256_of(cluster_.path("a/test-images-idx3-ubyte")),
            "896302ad424b49a0161d2be022308889237a71665b833e5b1f76f54266948ffb");
  // Whatever computes: a GPU where there is one.
  ASSERT_EQ(make("b", {"--images", "500", "--seed", "3"}).code, 0);
  ASSERT_EQ(make("c", {"--images", "500", "--seed", "4"}).code, 0);
  for (const std::string& name : files("a")) {
    EXPECT_TRUE(read_text(cluster_.path("a/" + name)) == read_text(cluster_.path("b/" + name)));
    EXPECT_FALSE(read_text(cluster_.path("a/" + name)) == read_text(cluster_.path("c/" + name)));
  }
}

TEST_F(Synthesize, CuRandOnTheCpuGivesTheSameBytes) {
  const Arguments options = {"--images", "300", "--shape", "9x7x3", "--classes", "200"};
  const auto on = [&options](const std::string& device) {
    Arguments all = options;
    all.insert(all.end(), {"--device", device});
    return all;
  };
  const Outcome theirs = make("theirs", on("curand-host"));
  if (theirs.code == static_cast<int>(ErrorCode::kDeviceFailed)) GTEST_SKIP() << theirs.err;
  ASSERT_EQ(theirs.code, 0) << theirs.err;
  ASSERT_EQ(make("ours", on("cpu")).code, 0);
  for (const std::string& name : files("ours")) {
    EXPECT_TRUE(read_text(cluster_.path("ours/" + name)) ==
                read_text(cluster_.path("theirs/" + name)));
  }
}

TEST_F(Synthesize, JobsReadWhatItWrites) {
  ASSERT_EQ(make("grey", {"--images", "61", "--test-images", "7", "--shape", "5x6x1"}).code, 0);
  const Result<Samples> images = read_idx_images(cluster_.path("grey/train-images-idx3-ubyte"));
  ASSERT_TRUE(images.ok()) << images.error().message;
  EXPECT_EQ(images->count, 61u);
  EXPECT_EQ(images->height, 5u);
  EXPECT_EQ(images->width, 6u);
  EXPECT_EQ(read_idx_images(cluster_.path("grey/test-images-idx3-ubyte"))->count, 7u);
  const auto labels = read_idx_labels(cluster_.path("grey/train-labels-idx1-ubyte"), 10);
  ASSERT_TRUE(labels.ok()) << labels.error().message;
  EXPECT_EQ(labels->size(), 61u);

  ASSERT_EQ(make("colour", {"--images", "13", "--shape", "8x4x3"}).code, 0);
  const std::string bytes = read_text(cluster_.path("colour/train-images.npy"));
  const Result<NpyArray> array = parse_npy(bytes, "colour");
  ASSERT_TRUE(array.ok()) << array.error().message;
  EXPECT_TRUE(array->is_bytes());
  EXPECT_THAT(array->shape, ::testing::ElementsAre(13u, 8u, 4u, 3u));
}

TEST(MadeUpData, APieceIsThatOfTheWhole) {
  const MadeUpShape shape{.height = 5, .width = 3, .channels = 2, .classes = 4};
  const SyntheticSource source;
  MadeUpData data = std::move(MadeUpData::create(shape, 9, source)).value();
  const auto draw = [&](MadeUpPart part, std::uint64_t first, std::size_t count) {
    Bytes pixels(count * shape.image_size());
    Bytes labels(count);
    EXPECT_TRUE(data.draw(part, first, pixels, labels).ok());
    return std::pair(pixels, labels);
  };
  const auto whole = draw(MadeUpPart::kTraining, 0, 20);
  const auto piece = draw(MadeUpPart::kTraining, 7, 5);
  EXPECT_TRUE(std::equal(piece.first.begin(), piece.first.end(), whole.first.begin() + 7 * 30));
  EXPECT_TRUE(std::equal(piece.second.begin(), piece.second.end(), whole.second.begin() + 7));
  EXPECT_NE(draw(MadeUpPart::kTest, 0, 20), whole);
}

TEST(MadeUpData, ClassesAreEvenAndDifferInTheirMeans) {
  const MadeUpShape shape{.height = 8, .width = 8, .classes = 3};
  const SyntheticSource source;
  MadeUpData data = std::move(MadeUpData::create(shape, 1, source)).value();
  constexpr std::size_t kImages = 6000;
  Bytes pixels(kImages * 64);
  Bytes labels(kImages);
  ASSERT_TRUE(data.draw(MadeUpPart::kTraining, 0, pixels, labels).ok());
  // The mean of each cell of four by four pixels, by class.
  std::vector<double> means(3 * 4, 0.0);
  for (std::uint8_t label = 0; label < 3; ++label) {
    const auto images = std::count(labels.begin(), labels.end(), label);
    EXPECT_NEAR(static_cast<double>(images), 2000, 200);
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      if (labels[i / 64] != label) continue;
      const std::size_t cell = i % 64 / 32 * 2 + i % 8 / 4;
      means[label * 4u + cell] += pixels[i] / (16.0 * static_cast<double>(images));
    }
  }
  double apart = 0;
  for (std::size_t cell = 0; cell < 4; ++cell) {
    apart = std::max(apart, std::abs(means[cell] - means[4 + cell]));
    for (std::size_t c = 0; c < 3; ++c) {
      EXPECT_GT(means[c * 4 + cell], 90);
      EXPECT_LT(means[c * 4 + cell], 165);
    }
  }
  EXPECT_GT(apart, 10);
}

TEST_F(Synthesize, AJobLearnsFromIt) {
  ASSERT_EQ(make("data", {"--images", "2000", "--test-images", "1000"}).code, 0);
  const std::string data = cluster_.path("data/");
  std::string job = R"([job]
name = "made-up"
seed = 1
players = 2
[model]
input = [28, 28, 1]
[[layer]]
kind = "dense"
units = 32
[[layer]]
kind = "relu"
[[layer]]
kind = "dense"
units = 10
[training]
batch = 40
steps = 300
learning_rate = 0.06
[data]
)";
  job += "test_images = \"" + data + "test-images-idx3-ubyte\"\n" + "test_labels = \"" + data +
         "test-labels-idx1-ubyte\"\n";
  for (const char* const owner :
       {"player = 0\nrows = [0, 1000]\n", "player = 1\nrows = [1000, 2000]\n"}) {
    job += std::string("[[data.owner]]\n") + owner + "train_images = \"" + data +
           "train-images-idx3-ubyte\"\ntrain_labels = \"" + data + "train-labels-idx1-ubyte\"\n";
  }
  write_text(cluster_.path("job.toml"), job);
  const Outcome outcome = cluster_.beaverpond({"emulate", cluster_.path("job.toml"), "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::string last = outcome.out.substr(outcome.out.find("{\"emulate\""));
  write_text(cluster_.path("result.json"), last);
  const Result<JsonFields> fields = read_json_file(cluster_.path("result.json"));
  ASSERT_TRUE(fields.ok()) << fields.error().message;
  // One in ten by chance.
  EXPECT_GT(json_number(*fields, "accuracy"), 0.8) << last;
}

TEST_F(Synthesize, WrongUsageIsSaid) {
  const auto config = static_cast<int>(ErrorCode::kConfig);
  const std::vector<std::pair<Arguments, std::string>> table = {
      {{"--images", "0"}, "at least 1"},
      {{"--images", "5", "--test-images", "0"}, "at least 1"},
      {{"--images", "5", "--shape", "28x28"}, "'28x28'"},
      {{"--images", "5", "--shape", "28x28x1x"}, "HEIGHTxWIDTHxCHANNELS"},
      {{"--images", "5", "--shape", "0x28x1"}, "'0x28x1'"},
      {{"--images", "5", "--classes", "257"}, "2 to 256"},
      {{"--images", "5", "--classes", "1"}, "2 to 256"},
      {{"--images", "99999999999"}, "99999999999 images"},
      {{"--images", "9999999", "--shape", "999x999x1"}, "8 GiB"},
      {{"--images", "1", "--shape", "40000x40000x1"}, "256 MiB"},
      {{"--images", "5", "--device", "gpu"}, "curand-host"},
      {{}, "--images"},
  };
  for (const auto& [arguments, words] : table) {
    const Outcome outcome = make("none", arguments);
    EXPECT_EQ(outcome.code, config) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(words));
  }
  EXPECT_FALSE(std::filesystem::exists(cluster_.path("none")));
}

TEST_F(Synthesize, WhatIsThereStaysAndNothingHalfMadeDoes) {
  std::filesystem::create_directory(cluster_.path("mine"));
  write_text(cluster_.path("mine/test-labels-idx1-ubyte"), "mine");
  const Outcome outcome = make("mine", {"--images", "5"});
  EXPECT_EQ(outcome.code, static_cast<int>(ErrorCode::kConfig)) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("mine/test-labels-idx1-ubyte exists"));
  EXPECT_THAT(files("mine"), ::testing::ElementsAre("test-labels-idx1-ubyte"));
  EXPECT_EQ(read_text(cluster_.path("mine/test-labels-idx1-ubyte")), "mine");

  write_text(cluster_.path("file"), "");
  EXPECT_EQ(make("file/in", {"--images", "5"}).code, static_cast<int>(ErrorCode::kIo));
}

}  // namespace
}  // namespace beaverpond::testing
