// A small job on tables, and files for it.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "online/nn/job.h"

namespace beaverpond {

inline std::string write_test_file(const std::string& name, const std::string& bytes) {
  const std::string path = ::testing::TempDir() + "/" + name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

/// Two features, three classes, two owners; `format` goes into [data].
inline std::string table_job_text(const std::string& format, const std::string& train_a = "a.csv",
                                  const std::string& train_b = "b.csv") {
  return R"([job]
name = "table"
seed = 5
players = 2
[model]
input = [2]
loss = "softmax_cross_entropy"
[[layer]]
kind = "dense"
units = 7
[[layer]]
kind = "relu"
[[layer]]
kind = "dense"
units = 3
[training]
batch = 10
steps = 6
learning_rate = 0.5
momentum = 0.5
[reveal]
weights = ["player0"]
[data]
)" + format +
         "\n[[data.owner]]\nplayer = 0\ntrain_data = \"" + train_a +
         "\"\n[[data.owner]]\nplayer = 1\ntrain_data = \"" + train_b + "\"\n";
}

inline Job table_job(const std::string& format = "label = \"kind\"") {
  Result<Job> job = parse_job(table_job_text(format), ::testing::TempDir() + "/table.toml");
  EXPECT_TRUE(job.ok()) << job.error().message;
  return job.ok() ? std::move(job).value() : Job();
}

}  // namespace beaverpond
