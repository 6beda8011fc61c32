// Bundles that travel on a medium instead of a network: made into spools, exported, imported into
// the players' pools, spent by a training.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "online/nn/emulate.h"
#include "online/nn/weight_file.h"
#include "tests/online/cli/cluster.h"

namespace beaverpond::testing {
namespace {

using std::chrono::seconds;

class Carried : public ::testing::Test {
 protected:
  void SetUp() override {
    job_ = cluster_.write_job("job.toml", {});
    plan_ = cluster_.path("job.plan");
    ASSERT_EQ(cluster_.beaverpond({"plan", job_, "-o", plan_}).code, 0);
  }

  std::string spool(int player) const { return cluster_.path("spool" + std::to_string(player)); }
  std::string medium(int player) const { return cluster_.path("medium" + std::to_string(player)); }

  Outcome factory(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), TRIPLE_FACTORY);
    return run_program(arguments, cluster_.folder(), seconds(20));
  }
  void make(int bundles) const {
    std::vector<std::string> arguments = {"make",
                                          "--plan",
                                          plan_,
                                          "--roster",
                                          cluster_.home(0) + "/roster.toml",
                                          "--bundles",
                                          std::to_string(bundles),
                                          "--segment-bundles",
                                          "8"};
    for (int player = 0; player < cluster_.players(); ++player) {
      arguments.insert(arguments.end(), {"--pool", spool(player)});
    }
    const Outcome made = factory(arguments);
    ASSERT_EQ(made.code, 0) << made.err;
  }
  Outcome take_out(int player, const std::string& to) const {
    return factory({"export", "--spool", spool(player), "--to", to});
  }
  Outcome take_out(int player) const { return take_out(player, medium(player)); }
  Outcome import(int player, const std::string& what) const {
    return cluster_.beaverpond({"pool", "import", "--home", cluster_.home(player), what});
  }
  static std::vector<std::string> files_of(const std::string& folder) {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
  }
  void carry_to_all() const {
    for (int player = 0; player < cluster_.players(); ++player) {
      const Outcome exported = take_out(player);
      ASSERT_EQ(exported.code, 0) << exported.err;
      const Outcome imported = import(player, medium(player));
      ASSERT_EQ(imported.code, 0) << imported.err;
    }
  }
  Outcome train(const std::string& weights) const {
    return cluster_.beaverpond(
        {"launch", "--homes", cluster_.folder(), "train", job_, "--weights-out", weights},
        seconds(60));
  }

  Cluster cluster_{3};
  std::string job_;
  std::string plan_;
};

TEST_F(Carried, BundlesTrainLikeOthers) {
  make(16);
  carry_to_all();
  const std::string weights = cluster_.path("weights");
  const Outcome trained = train(weights);
  ASSERT_EQ(trained.code, 0) << trained.err;
  const Result<Job> job = read_job(job_);
  ASSERT_TRUE(job.ok()) << job.error().message;
  const Result<EmulateReport> twin = emulate(*job, {});
  ASSERT_TRUE(twin.ok()) << twin.error().message;
  const auto read = read_weights(weights);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_TRUE(*read == twin->weights);

  // All 16 are spent: what was carried once is refused, and numbering has gone on meanwhile.
  const Outcome again = import(0, medium(0));
  EXPECT_EQ(again.code, static_cast<int>(ErrorCode::kPoolCorrupt));
  EXPECT_NE(again.err.find("never taken twice"), std::string::npos) << again.err;
  for (int player = 0; player < cluster_.players(); ++player) {
    std::filesystem::remove_all(medium(player));
  }
  make(16);
  carry_to_all();
  EXPECT_EQ(train(cluster_.path("weights2")).code, 0);
}

TEST_F(Carried, OneMediumServesAllPlayersAndOldFilesOnItKeepNoneOut) {
  make(8);
  const std::string medium = cluster_.path("stick");
  const auto take_all = [&] {
    for (int player = 0; player < cluster_.players(); ++player) {
      const Outcome exported = take_out(player, medium);
      ASSERT_EQ(exported.code, 0) << exported.err;
    }
  };
  take_all();
  EXPECT_EQ(files_of(medium).size(), 3u);  // nobody's file replaced another's
  for (int player = 0; player < cluster_.players(); ++player) {
    const Outcome imported = import(player, medium);
    EXPECT_EQ(imported.code, 0) << imported.err;
  }
  make(8);
  take_all();
  EXPECT_EQ(train(cluster_.path("weights")).code, 5);  // dry: 8 of 16 were brought
  for (int player = 0; player < cluster_.players(); ++player) {
    const Outcome again = import(player, medium);
    EXPECT_EQ(again.code, static_cast<int>(ErrorCode::kPoolCorrupt)) << again.err;
    EXPECT_NE(again.out.find("refused "), std::string::npos) << again.out;   // it is spent
    EXPECT_NE(again.out.find("imported "), std::string::npos) << again.out;  // taken all the same
  }
}

TEST_F(Carried, WhatWasExportedIsGoneFromTheSpool) {
  make(16);
  ASSERT_EQ(take_out(0).code, 0);
  const std::vector<std::string> files = files_of(medium(0));
  ASSERT_EQ(files.size(), 2u);
  const Outcome again = take_out(0);
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.out.find("0 segments"), std::string::npos) << again.out;
  make(8);
  ASSERT_EQ(take_out(0).code, 0);
  EXPECT_EQ(files_of(medium(0)).size(), 3u);
  for (const std::string& file : files_of(medium(0))) {
    const Outcome imported = import(0, file);
    EXPECT_EQ(imported.code, 0) << imported.err;
    EXPECT_EQ(import(0, file).code, 0) << "twice is no error";
  }
}

TEST_F(Carried, WrongPlayersDamagedFilesAndEnginesPoolsAreRefused) {
  make(8);
  ASSERT_EQ(take_out(0).code, 0);
  const std::string file = files_of(medium(0)).at(0);
  const Outcome other = import(1, file);
  EXPECT_EQ(other.code, static_cast<int>(ErrorCode::kRosterMismatch));
  EXPECT_NE(other.err.find("its player is 0, expected 1"), std::string::npos) << other.err;
  std::string bytes = read_text(file);
  bytes[bytes.size() - 100] = static_cast<char>(bytes[bytes.size() - 100] ^ 1);
  write_text(medium(0) + "/bad.seg", bytes);
  const Outcome damaged = import(0, medium(0) + "/bad.seg");
  EXPECT_EQ(damaged.code, static_cast<int>(ErrorCode::kPoolCorrupt));
  EXPECT_NE(damaged.err.find("is damaged"), std::string::npos) << damaged.err;
  std::filesystem::remove(medium(0) + "/bad.seg");
  EXPECT_EQ(import(0, medium(0)).code, 0);
  EXPECT_EQ(import(0, cluster_.home(1)).code, static_cast<int>(ErrorCode::kConfig));

  make(8);
  carry_to_all();
  ASSERT_EQ(train(cluster_.path("weights")).code, 0);
  const Outcome engines =
      factory({"export", "--spool", cluster_.home(0) + "/pool", "--to", medium(0)});
  EXPECT_EQ(engines.code, static_cast<int>(ErrorCode::kConfig));
  EXPECT_NE(engines.err.find("is the pool of an engine"), std::string::npos) << engines.err;
}

}  // namespace
}  // namespace beaverpond::testing
