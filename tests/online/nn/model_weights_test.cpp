#include "online/nn/model_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "online/nn/chacha20_draws.h"
#include "online/nn/data_file.h"
#include "online/nn/model.h"
#include "online/nn/npy.h"
#include "online/nn/safetensors.h"
#include "online/nn/schedule.h"
#include "online/nn/zip_file.h"
#include "tests/online/nn/data_job.h"

namespace beaverpond {
namespace {

using ::testing::HasSubstr;

std::string read_bytes(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::vector<WeightTensor> some_weights(const Job& job) {
  std::vector<WeightTensor> weights;
  const std::vector<ModelParameter> parameters =
      model_parameters(job.model, job.fixed_point).value();
  std::uint64_t next = 1;
  for (const ModelParameter& parameter : parameters) {
    WeightTensor tensor{parameter.shape, parameter.scale_bits, {}};
    for (std::uint64_t i = 0; i < parameter.shape.count(); ++i) {
      next = next * 6364136223846793005u + 1442695040888963407u;
      tensor.words.push_back(static_cast<std::uint64_t>(static_cast<std::int64_t>(next) >> 11));
    }
    weights.push_back(std::move(tensor));
  }
  weights[0].words[0] = std::uint64_t{1} << 53;
  weights[0].words[1] = std::uint64_t{0} - ((std::uint64_t{1} << 53) - 1);
  return weights;
}

std::vector<NamedTensor> model_tensors() {
  return {{"dense1.weight", {2, 7}, std::vector<double>(14, 0.25)},
          {"dense1.bias", {7}, std::vector<double>(7, -0.5)},
          {"dense2.weight", {7, 3}, std::vector<double>(21, 1.0 / 3)},
          {"dense2.bias", {3}, {0, 1, 2}}};
}

std::string load_error(const std::vector<NamedTensor>& tensors) {
  const std::string path = write_test_file("bad.safetensors", encode_safetensors(tensors));
  const auto loaded = load_weights(path, table_job());
  return loaded.ok() ? "no error" : loaded.error().message;
}

TEST(ModelWeights, EveryFormatReturnsTheSameWords) {
  const Job job = table_job();
  const std::vector<WeightTensor> weights = some_weights(job);
  for (const std::string end : {".weights", ".npz", ".safetensors"}) {
    const std::string path = ::testing::TempDir() + "/round" + end;
    const auto saved = save_weights(weights, job, path);
    ASSERT_TRUE(saved.ok()) << saved.error().message;
    const auto loaded = load_weights(path, job);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_TRUE(loaded->tensors == weights) << end;
    EXPECT_TRUE(loaded->notes.empty()) << end;
    const std::string bytes = read_bytes(path);
    ASSERT_TRUE(save_weights(weights, job, path).ok());
    EXPECT_EQ(read_bytes(path), bytes) << end;  // equal weights, equal bytes
  }
  const std::string base = ::testing::TempDir() + "/round";
  const std::string command = "python3 " BEAVERPOND_SOURCE_DIR "/tests/online/nn/read_weights.py " +
                              base + ".npz " + base + ".safetensors";
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

TEST(ModelWeights, WordsBeyondADoubleAreKeptInTheOwnFormat) {
  const Job job = table_job();
  std::vector<WeightTensor> weights = some_weights(job);
  weights[1].words[2] = (std::uint64_t{1} << 53) + 1;
  const std::string path = ::testing::TempDir() + "/inexact.npz";
  const auto saved = save_weights(weights, job, path);
  ASSERT_FALSE(saved.ok());
  EXPECT_THAT(saved.error().message, HasSubstr("element 2 of dense1.bias needs more than"));
  const auto loaded = load_weights(path + ".weights", job);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_TRUE(loaded->tensors == weights);
}

TEST(ModelWeights, FloatsAreRoundedAndSaidSo) {
  const Job job = table_job();
  const auto loaded =
      load_weights(write_test_file("f64.safetensors", encode_safetensors(model_tensors())), job);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  const int scale = job.fixed_point.master_scale_bits();
  EXPECT_EQ(loaded->tensors[0].words[0], std::uint64_t{1} << (scale - 2));
  EXPECT_EQ(loaded->tensors[2].words[0], ((std::uint64_t{1} << scale) + 1) / 3);
  ASSERT_EQ(loaded->notes.size(), 1u);
  EXPECT_THAT(loaded->notes[0], HasSubstr("21 weights were rounded to multiples of 2^-48"));
  // F32, as other programs write it, with metadata and in another order.
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"dense2.bias":{"dtype":"F32","shape":[3],)"
      R"("data_offsets":[0,12]},"dense1.bias":{"dtype":"F32","shape":[7],"data_offsets":[12,40]},)"
      R"("dense2.weight":{"dtype":"F32","shape":[7,3],"data_offsets":[40,124]},)"
      R"("dense1.weight":{"dtype":"F32","shape":[2,7],"data_offsets":[124,180]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size() & 0xff);
  bytes[1] = static_cast<char>(header.size() >> 8);
  bytes += header;
  for (int i = 0; i < 45; ++i) bytes += std::string("\x00\x00\x80\x3f", 4);  // 1.0f
  const auto floats = load_weights(write_test_file("f32.safetensors", bytes), job);
  ASSERT_TRUE(floats.ok()) << floats.error().message;
  EXPECT_EQ(floats->tensors[3].words[1], std::uint64_t{1} << scale);
  EXPECT_TRUE(floats->notes.empty());
}

TEST(ModelWeights, WrongTensorsAreNamed) {
  auto tensors = model_tensors();
  EXPECT_EQ(load_error(tensors), "no error");
  tensors.pop_back();
  EXPECT_THAT(load_error(tensors), HasSubstr("no tensor 'dense2.bias' of shape [3]"));
  tensors = model_tensors();
  tensors.push_back({"dense3.bias", {1}, {0}});
  EXPECT_THAT(load_error(tensors), HasSubstr("tensor 'dense3.bias' is none of the model's"));
  tensors = model_tensors();
  tensors[0].shape = {7, 2};
  EXPECT_THAT(load_error(tensors),
              HasSubstr("'dense1.weight' has the shape [7,2], the model's is [2,7]"));
  tensors = model_tensors();
  tensors[2].values[5] = NAN;
  EXPECT_THAT(load_error(tensors), HasSubstr("'dense2.weight', element 5: NaN or infinite"));
  tensors[2].values[5] = 20000;
  EXPECT_THAT(load_error(tensors),
              HasSubstr("element 5: 20000 is too large: weights are below 2^14"));
  const Job job = table_job();
  const std::string integers = encode_zip({{"dense1.bias.npy", "no array"}}).value();
  EXPECT_THAT(load_weights(write_test_file("w.npz", integers), job).error().message,
              HasSubstr("w.npz:dense1.bias: not an .npy array"));
  Job other = job;
  other.model.layers[0].units = 9;
  const std::string path = ::testing::TempDir() + "/other.weights";
  ASSERT_TRUE(write_weights(some_weights(other), path).ok());
  EXPECT_THAT(load_weights(path, job).error().message,
              HasSubstr("the model's dense1.weight is [2,7] at scale 48"));
}

TEST(ModelWeights, DamagedHeadersAreRefused) {
  const std::string good = encode_safetensors(model_tensors());
  const auto error = [](const std::string& bytes) {
    const auto tensors = decode_safetensors(bytes, "x");
    return tensors.ok() ? std::string("no error") : tensors.error().message;
  };
  const auto edited = [&good](const std::string& from, const std::string& to) {
    std::string text = good;
    return text.replace(text.find(from), from.size(), to);
  };
  EXPECT_EQ(error(good), "no error");
  EXPECT_THAT(error(good.substr(0, 5)), HasSubstr("too short"));
  EXPECT_THAT(error(good.substr(0, 50)), HasSubstr("truncated"));
  EXPECT_THAT(error(good.substr(0, good.size() - 1)), HasSubstr("lie outside the file"));
  EXPECT_THAT(error(good + "x"), HasSubstr("belong to no tensor"));
  EXPECT_THAT(error(edited("F64", "I64")), HasSubstr("'dense1.weight': type I64 is not read"));
  EXPECT_THAT(error(edited("[2,7]", "[2,8]")), HasSubstr("its shape does not fit"));
  EXPECT_THAT(error(edited("[2,7]", "[-2,]")), HasSubstr("JSON"));
  EXPECT_THAT(error(edited("[2,7]", "[0,7]")), HasSubstr("its shape does not fit"));
  EXPECT_THAT(error(edited("[112,168]", "[104,160]")), HasSubstr("does not follow the one before"));
  EXPECT_THAT(error(edited("[2,7]", "\"2 7")), HasSubstr("JSON"));
}

// Every single damage and many double ones; none may crash, and whatever loads has the model's
// shapes.
TEST(HostileFiles, FlippedAndCutBytesNeverCrash) {
  const Job job = table_job();
  const std::vector<WeightTensor> weights = some_weights(job);
  ChaCha20Draws draws(ChaCha20Draws::key_of_seed(11), {1, 2, 3});
  const auto below = [&draws](std::size_t n) { return static_cast<std::size_t>(draws.below(n)); };
  for (const std::string end : {".weights", ".npz", ".safetensors", ".npy", ".csv"}) {
    const std::string path = ::testing::TempDir() + "/hostile" + end;
    const bool data = end == ".npy" || end == ".csv";
    if (!data) {
      ASSERT_TRUE(save_weights(weights, job, path).ok());
    } else if (end == ".csv") {
      write_test_file("hostile.csv", "x,y,kind\n1.5,\"2\",0\r\n3,4e2,1\n");
    } else {
      write_test_file("hostile.npy", encode_npy({3, 2}, {1, 2, 3, 4, 5, 6}));
    }
    const std::string good = read_bytes(path);
    for (int round = 0; round < 300; ++round) {
      std::string bytes = good;
      for (std::size_t flips = 1 + below(3); flips > 0; --flips) {
        bytes[below(round % 2 == 0 ? bytes.size() : std::min<std::size_t>(bytes.size(), 160))] ^=
            static_cast<char>(1 + below(255));
      }
      if (round % 5 == 0) bytes.resize(below(bytes.size()));
      std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
      if (data) {
        const auto file = read_data_file(path, job);
        if (!file.ok()) {
          EXPECT_FALSE(file.error().message.empty());
        }
        continue;
      }
      const auto loaded = load_weights(path, job);
      if (!loaded.ok()) continue;
      ASSERT_EQ(loaded->tensors.size(), weights.size());
      for (std::size_t i = 0; i < weights.size(); ++i) {
        EXPECT_EQ(loaded->tensors[i].shape, weights[i].shape);
        EXPECT_EQ(loaded->tensors[i].words.size(), weights[i].words.size());
      }
    }
  }
}

}  // namespace
}  // namespace beaverpond
