// Output that cannot be written: full disks, closed pipes, folders that are not there.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/online/cli/cluster.h"

namespace beaverpond::testing {
namespace {

using Arguments = std::vector<std::string>;
using std::chrono::seconds;

constexpr int kIoCode = static_cast<int>(ErrorCode::kIo);

class Output : public ::testing::Test {
 protected:
  void SetUp() override {
    JobText text;
    text.steps = 16;
    job_ = cluster_.write_job("job.toml", text);
    plan_ = cluster_.path("job.plan");
    ASSERT_EQ(cluster_.beaverpond({"plan", job_, "-o", plan_}).code, 0);
  }

  Outcome with_output(Arguments arguments, ProcessOptions::Out kind) const {
    ProcessOptions options;
    options.arguments = std::move(arguments);
    options.err = cluster_.path("err.txt");
    options.kind = kind;
    Process process = Process::start(options);
    Outcome outcome;
    outcome.code = process.wait(seconds(20));
    outcome.err = read_text(options.err);
    return outcome;
  }

  Cluster cluster_{3};
  std::string job_;
  std::string plan_;
};

TEST_F(Output, PathsAreCheckedBeforeTheWork) {
  const std::string file = cluster_.path("a-file");
  write_text(file, "x");
  for (const std::string& path :
       {std::string("/nowhere/x"), file + "/x", cluster_.folder(), std::string("/dev/null")}) {
    for (const Arguments& arguments : {
             Arguments{"plan", job_, "-o", path},
             Arguments{"emulate", job_, "--weights-out", path},
             Arguments{"train", job_, "--home", cluster_.home(0), "--weights-out", path},
             Arguments{"train", job_, "--home", cluster_.home(0), "--report", path},
             Arguments{"infer", job_, "--home", cluster_.home(0), "--count", "2",
                       "--predictions-out", path},
             Arguments{"launch", "--homes", cluster_.folder(), "--report", path, "train", job_},
         }) {
      const Outcome outcome = cluster_.beaverpond(arguments);
      EXPECT_EQ(outcome.code, kIoCode) << arguments[0] << ' ' << path << ": " << outcome.err;
      EXPECT_NE(outcome.err.find(path), std::string::npos) << outcome.err;
      EXPECT_LT(outcome.seconds, 2) << arguments[0];
    }
  }
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST_F(Output, LostLinesAreNoSilentSuccess) {
  using Out = ProcessOptions::Out;
  for (const Out kind : {Out::kBrokenPipe, Out::kClosed, Out::kFull}) {
    SCOPED_TRACE(static_cast<int>(kind));
    for (const Arguments& arguments : {Arguments{BEAVERPOND_PROGRAM, "plan", job_},
                                       Arguments{BEAVERPOND_PROGRAM, "emulate", job_}}) {
      const Outcome outcome = with_output(arguments, kind);
      EXPECT_EQ(outcome.code, kIoCode) << outcome.err;
      EXPECT_NE(outcome.err.find("standard output"), std::string::npos) << outcome.err;
    }
  }
}

TEST_F(Output, TheWorkIsDoneWithoutAReader) {
  using Out = ProcessOptions::Out;
  for (const Out kind : {Out::kBrokenPipe, Out::kClosed}) {
    SCOPED_TRACE(static_cast<int>(kind));
    Arguments make = cluster_.factory_arguments("make", plan_);
    make.insert(make.end(), {"--bundles", "16", "--segment-bundles", "4"});
    const Outcome made = with_output(make, kind);
    EXPECT_EQ(made.code, kIoCode) << made.err;
    const std::string weights = cluster_.path("weights" + std::to_string(static_cast<int>(kind)));
    const Outcome trained = with_output({BEAVERPOND_PROGRAM, "launch", "--homes", cluster_.folder(),
                                         "train", job_, "--weights-out", weights},
                                        kind);
    EXPECT_EQ(trained.code, kIoCode) << trained.err;
    EXPECT_TRUE(std::filesystem::exists(weights)) << trained.err;
  }
}

TEST_F(Output, TrainedWeightsSurviveTheLossOfTheirFolder) {
  Arguments make = cluster_.factory_arguments("make", plan_);
  make.insert(make.end(), {"--bundles", "16", "--segment-bundles", "4"});
  ASSERT_EQ(run_program(make, cluster_.folder()).code, 0);
  const std::string gone = cluster_.path("gone");
  std::filesystem::create_directory(gone);
  // The folder goes with the first line of progress, long before the last step.
  const std::string line = std::string(BEAVERPOND_PROGRAM) + " launch --homes " +
                           cluster_.folder() + " train " + job_ + " --json --weights-out " + gone +
                           "/w | { read first; rmdir " + gone + "; cat; }";
  const Outcome trained =
      run_program({"/bin/bash", "-c", "set -o pipefail; " + line}, cluster_.folder());
  EXPECT_EQ(trained.code, kIoCode) << trained.err;
  EXPECT_NE(trained.err.find("the trained weights are in "), std::string::npos) << trained.err;
  const auto text = cluster_.beaverpond({"emulate", job_, "--weights-out", cluster_.path("twin")});
  ASSERT_EQ(text.code, 0) << text.err;
  int rescued = 0;
  for (const auto& entry : std::filesystem::directory_iterator(cluster_.home(0))) {
    if (entry.path().filename().string().rfind("rescued-", 0) != 0) continue;
    ++rescued;
    EXPECT_EQ(read_text(entry.path()), read_text(cluster_.path("twin")));
  }
  EXPECT_EQ(rescued, 1);
}

/// The folder `small` is a disk of 1 MiB for this command line only.
Outcome with_small_disk(const Cluster& cluster, const std::string& line) {
  const std::string script =
      "mount -t tmpfs -o size=1m,mode=0755 none " + cluster.path("small") + " && exec " + line;
  return run_program({"/usr/bin/unshare", "-rm", "/bin/sh", "-c", script}, cluster.folder());
}

TEST_F(Output, NoSpaceLeft) {
  const std::string small = cluster_.path("small");
  std::filesystem::create_directory(small);
  if (with_small_disk(cluster_, "true").code != 0) {
    GTEST_SKIP() << "this system gives no private mounts (unshare -rm), so no small disk";
  }
  const std::string fill = "head -c 2000000 /dev/zero > " + small + "/fill 2>/dev/null; ";
  const auto in_small = [&](const std::string& line, bool full) {
    return with_small_disk(cluster_, "sh -c '" + (full ? fill : std::string()) + line + "'");
  };
  const std::string beaverpond = std::string(BEAVERPOND_PROGRAM) + " ";
  const std::string make = std::string(TRIPLE_FACTORY) + " make --plan " + plan_ + " --roster " +
                           cluster_.home(0) + "/roster.toml --pool " + small + "/0 --pool " +
                           small + "/1 --pool " + small + "/2 --bundles ";
  for (const std::string& line : {beaverpond + "plan " + job_ + " -o " + small + "/x.plan",
                                  beaverpond + "emulate " + job_ + " --weights-out " + small + "/w",
                                  beaverpond + "train " + job_ + " --home " + cluster_.home(0) +
                                      " --weights-out " + small + "/w",
                                  beaverpond + "keygen --all 3 --base " + small + "/homes"}) {
    const Outcome outcome = in_small(line, true);
    EXPECT_EQ(outcome.code, static_cast<int>(ErrorCode::kNoSpace)) << line << outcome.err;
    EXPECT_NE(outcome.err.find(small), std::string::npos) << outcome.err;
  }
  const Outcome made = in_small(make + "4000", false);
  EXPECT_EQ(made.code, static_cast<int>(ErrorCode::kNoSpace)) << made.err;
  EXPECT_NE(made.err.find("4000 bundles"), std::string::npos) << made.err;
  const Outcome full = in_small(make + "4", true);
  EXPECT_EQ(full.code, static_cast<int>(ErrorCode::kNoSpace)) << full.err;
}

}  // namespace
}  // namespace beaverpond::testing
