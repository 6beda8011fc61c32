// Wrong usage of the real programs: a documented exit code, and a message that names what is wrong
// and what to do. Never a crash, a hang or a silent success.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <utility>

#include "online/session/identity.h"
#include "online/transport/tls.h"
#include "tests/online/cli/cluster.h"

namespace beaverpond::testing {
namespace {

using Arguments = std::vector<std::string>;
using Words = std::vector<std::string>;
using std::chrono::seconds;

struct Wrong {
  std::string name;
  Arguments arguments;
  ErrorCode code;
  Words words;
};

void expect_outcome(const Outcome& outcome, ErrorCode code, const Words& words) {
  EXPECT_EQ(outcome.code, static_cast<int>(code)) << outcome.err;
  for (const std::string& word : words) {
    EXPECT_NE(outcome.err.find(word), std::string::npos)
        << "'" << word << "' is missing in: " << outcome.err;
  }
  EXPECT_EQ(outcome.err.find("terminate called"), std::string::npos) << outcome.err;
}

JobText small_job() {
  JobText text;
  text.network = "pool_timeout_ms = 500\nconnect_timeout_ms = 2500";
  return text;
}

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const std::size_t at = text.find(what);
  BP_CHECK(at != std::string::npos, "the text to replace is there");
  return text.replace(at, what.size(), with);
}

class Usage : public ::testing::Test {
 protected:
  void SetUp() override {
    job_ = cluster_.write_job("job.toml", small_job());
    plan_ = cluster_.path("job.plan");
    ASSERT_EQ(cluster_.beaverpond({"plan", job_, "-o", plan_}).code, 0);
  }

  std::string write(const std::string& name, const std::string& text) const {
    write_text(cluster_.path(name), text);
    return cluster_.path(name);
  }
  /// The job with one piece of text replaced.
  std::string wrong_job(const std::string& name, const std::string& what,
                        const std::string& with) const {
    return write(name, replaced(small_job().str(), what, with));
  }
  Arguments launch(const std::string& job, Arguments more = {}) const {
    Arguments arguments = {"launch", "--homes", cluster_.folder(), "train", job};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  void expect_all(const std::vector<Wrong>& table) const {
    for (const Wrong& wrong : table) {
      SCOPED_TRACE(wrong.name);
      expect_outcome(cluster_.beaverpond(wrong.arguments), wrong.code, wrong.words);
    }
  }
  Outcome factory(Arguments arguments) const {
    arguments.insert(arguments.begin(), TRIPLE_FACTORY);
    return run_program(arguments, cluster_.folder());
  }

  Cluster cluster_{3};
  std::string job_;
  std::string plan_;
};

TEST_F(Usage, CommandLines) {
  const std::string home = cluster_.home(0);
  expect_all({
      {"nothing", {}, ErrorCode::kConfig, {"subcommand"}},
      {"unknown command", {"trian"}, ErrorCode::kConfig, {"'trian'", "did you mean 'train'"}},
      {"no job", {"train", "--home", home}, ErrorCode::kConfig, {"job"}},
      {"no home", {"train", job_}, ErrorCode::kConfig, {"--home"}},
      {"unknown flag", {"train", job_, "--home", home, "--jsn"}, ErrorCode::kConfig, {"--jsn"}},
      {"too few peers",
       {"train", job_, "--home", home, "--peers", "127.0.0.1:1,127.0.0.1:2"},
       ErrorCode::kConfig,
       {"--peers", "2 addresses", "3 players", "one host:port for each"}},
      {"peer without port",
       {"train", job_, "--home", home, "--peers", "a:1,b,c:3"},
       ErrorCode::kConfig,
       {"--peers", "'b'", "host:port"}},
      {"a device that is none",
       {"train", job_, "--home", home, "--device", "gpu"},
       ErrorCode::kConfig,
       {"--device", "'gpu'", "cuda:1"}},
      {"inference on a device that is none",
       {"infer", job_, "--home", home, "--count", "1", "--device", "cuda:one"},
       ErrorCode::kConfig,
       {"--device", "'cuda:one'"}},
      {"launch of nothing",
       {"launch", "--homes", cluster_.folder()},
       ErrorCode::kConfig,
       {"say what to run", "train JOB"}},
      {"launch of something else",
       {"launch", "--homes", cluster_.folder(), "keygen"},
       ErrorCode::kConfig,
       {"train JOB"}},
      {"launch without homes",
       {"launch", "--homes", cluster_.path("none"), "train", job_},
       ErrorCode::kIo,
       {"none/player0/roster.toml"}},
      {"keygen of nobody", {"keygen"}, ErrorCode::kConfig, {"--all", "--home"}},
      {"keygen of one", {"keygen", "--all", "1"}, ErrorCode::kConfig, {"--all"}},
      {"keygen again",
       {"keygen", "--all", "3", "--base", cluster_.folder()},
       ErrorCode::kConfig,
       {"player0/key.pem"}},
      {"a stranger asks",
       {"infer", job_, "--home", home, "--asker", "9", "--count", "2"},
       ErrorCode::kConfig,
       {"asker", "0..2"}},
      {"no images",
       {"infer", job_, "--home", home, "--count", "2"},
       ErrorCode::kConfig,
       {"--images"}},
      {"no count", {"infer", job_, "--home", home}, ErrorCode::kConfig, {"--count"}},
      {"inference of nobody's weights",
       {"plan", job_, "--inference", "--weights-owner", "7"},
       ErrorCode::kConfig,
       {"weights owner", "0..2"}},
      {"inference flags without inference",
       {"plan", job_, "--batch", "8"},
       ErrorCode::kConfig,
       {"--batch", "--inference"}},
      {"weights as a table",
       {"emulate", job_, "--weights-out", cluster_.path("w.csv")},
       ErrorCode::kConfig,
       {"w.csv", ".safetensors"}},
      {"weights over the job",
       {"train", job_, "--home", home, "--weights-out", job_},
       ErrorCode::kConfig,
       {"replace the job file"}},
      {"more images than there are",
       {"infer", job_, "--home", home, "--count", "90000", "--images", small_job().images},
       ErrorCode::kConfig,
       {"fewer than --count 90000"}},
      {"alone, but who", {"emulate", job_, "--alone", "8"}, ErrorCode::kConfig, {"8"}},
  });
}

TEST_F(Usage, JobFiles) {
  const std::string conv = "[[layer]]\nkind = \"conv2d\"\nchannels = 2\nkernel = 40\n";
  JobText huge = small_job();
  huge.layers = conv + huge.layers;
  expect_all({
      {"missing", {"plan", "/nowhere/job.toml"}, ErrorCode::kIo, {"/nowhere/job.toml", "check"}},
      {"a folder", {"plan", cluster_.folder()}, ErrorCode::kIo, {cluster_.folder()}},
      {"typo",
       {"plan", wrong_job("typo.toml", "batch =", "bacth =")},
       ErrorCode::kConfig,
       {"typo.toml:", "training.bacth", "did you mean 'batch'"}},
      {"not TOML",
       {"plan", write("not.toml", "[job\nname = ")},
       ErrorCode::kConfig,
       {"not.toml:1"}},
      {"binary",
       {"plan", write("binary.toml", std::string("\0\xff\x7f"
                                                 "ELF",
                                                 6))},
       ErrorCode::kConfig,
       {"binary.toml"}},
      {"empty", {"plan", write("empty.toml", "")}, ErrorCode::kConfig, {"empty.toml", "[job]"}},
      {"a kernel larger than the image",
       {"plan", cluster_.write_job("conv.toml", huge)},
       ErrorCode::kConfig,
       {"conv.toml", "kernel"}},
      {"other players than the roster",
       {"train", wrong_job("five.toml", "players = 3", "players = 5"), "--home", cluster_.home(0)},
       ErrorCode::kConfig,
       {"five.toml", "5 players", "names 3"}},
      {"too slow a heart",
       {"plan", wrong_job("beat.toml", "[network]\n", "[network]\nheartbeat_ms = 9000\n")},
       ErrorCode::kConfig,
       {"beat.toml:", "heartbeat_ms", "peer_timeout_ms"}},
  });
}

TEST_F(Usage, DataFiles) {
  const std::string images = small_job().images;
  const auto with_images = [&](const std::string& name, const std::string& path) {
    JobText text = small_job();
    text.images = path;
    return cluster_.write_job(name, text);
  };
  // A header for 10 images of 28 x 28, and half an image.
  const std::string header("\0\0\x08\x03\0\0\0\x0a\0\0\0\x1c\0\0\0\x1c", 16);
  const std::string cut = write("cut.idx", header + std::string(392, 'x'));
  const std::string damaged =
      write("damaged.gz", replaced(read_text(images).substr(0, 100'000),
                                   read_text(images).substr(50'000, 8), "damaged!"));
  const std::string bad_weights = write("bad.weights", "BPWT\1\0\0\0\xff\xff\xff\xff\0\0\0\0");
  expect_all({
      {"missing",
       {"emulate", with_images("a.toml", "/nowhere/images.gz")},
       ErrorCode::kIo,
       {"/nowhere/images.gz"}},
      {"missing, among players",
       launch(with_images("b.toml", "/nowhere/images.gz")),
       ErrorCode::kIo,
       {"/nowhere/images.gz", "player 0"}},
      {"truncated",
       {"emulate", with_images("c.toml", cut)},
       ErrorCode::kConfig,
       {"cut.idx", "7840"}},
      {"damaged gzip",
       {"emulate", with_images("d.toml", damaged)},
       ErrorCode::kConfig,
       {"damaged.gz"}},
      {"labels as images",
       {"emulate", with_images("e.toml", std::string(kDataFolder) + "/t10k-labels-idx1-ubyte.gz")},
       ErrorCode::kConfig,
       {"t10k-labels"}},
      {"no weights", {"emulate", job_, "--evaluate", "/nowhere/w"}, ErrorCode::kIo, {"/nowhere/w"}},
      {"a folder as weights",
       {"emulate", job_, "--evaluate", cluster_.folder()},
       ErrorCode::kIo,
       {cluster_.folder(), "a folder"}},
      {"control bytes",
       {"emulate", job_, "--evaluate", cluster_.path("\x1b[31m")},
       ErrorCode::kIo,
       {"?[31m"}},
      {"corrupt weights",
       {"emulate", job_, "--evaluate", bad_weights},
       ErrorCode::kConfig,
       {"bad.weights"}},
      {"a job as weights",
       {"emulate", job_, "--evaluate", job_},
       ErrorCode::kConfig,
       {"job.toml", "weight file"}},
  });
}

TEST_F(Usage, Homes) {
  std::filesystem::rename(cluster_.home(0) + "/key.pem", cluster_.path("key.pem"));
  expect_all({{"no key",
               {"train", job_, "--home", cluster_.home(0), "--peers", "h:1,h:2,h:3"},
               ErrorCode::kConfig,
               {"player0/key.pem"}}});
  const std::string stranger = cluster_.path("stranger");
  ASSERT_EQ(cluster_.beaverpond({"keygen", "--home", stranger, "--name", "stranger"}).code, 0);
  std::filesystem::copy(cluster_.home(0) + "/roster.toml", stranger + "/roster.toml");
  const std::string damaged = cluster_.path("damaged");
  ASSERT_EQ(cluster_.beaverpond({"keygen", "--home", damaged, "--name", "damaged"}).code, 0);
  write_text(damaged + "/roster.toml", "epoch = \"first\"\n");
  const std::string bare = cluster_.path("bare");
  std::filesystem::create_directory(bare);
  expect_all({
      {"not in the roster",
       {"train", job_, "--home", stranger},
       ErrorCode::kRosterMismatch,
       {"stranger/cert.pem", "is not in", "roster.toml", "send the certificate"}},
      {"damaged roster",
       {"train", job_, "--home", damaged},
       ErrorCode::kConfig,
       {"damaged/roster.toml:1"}},
      {"empty home", {"train", job_, "--home", bare}, ErrorCode::kIo, {"bare/roster.toml"}},
      {"no home", {"train", job_, "--home", "/nowhere"}, ErrorCode::kIo, {"/nowhere"}},
  });
}

TEST_F(Usage, AnotherPlayersKeyIsRefused) {
  std::filesystem::remove(cluster_.home(0) + "/key.pem");
  std::filesystem::copy(cluster_.home(1) + "/key.pem", cluster_.home(0) + "/key.pem");
  expect_all({{"foreign key",
               {"train", job_, "--home", cluster_.home(0), "--peers", "h:1,h:2,h:3"},
               ErrorCode::kConfig,
               {"player0/key.pem", "cert.pem"}}});
}

TEST_F(Usage, PortInUse) {
  const Result<Listener> taken = listen_on("0.0.0.0", 0);
  ASSERT_TRUE(taken.ok());
  const std::string port = std::to_string(taken->port);
  expect_all({{"taken",
               {"train", job_, "--home", cluster_.home(0), "--peers",
                "127.0.0.1:" + port + ",127.0.0.1:1,127.0.0.1:2"},
               ErrorCode::kIo,
               {"port " + port, "in use", "stop it or change the port"}}});
  ::close(taken->descriptor);
}

TEST_F(Usage, NobodyComes) {
  expect_all({{"alone",
               {"train", job_, "--home", cluster_.home(2), "--peers",
                "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"},
               ErrorCode::kTimeout,
               {"player0", "127.0.0.1 port 1", "start it"}}});
}

TEST_F(Usage, ATestSetThatIsNotThereCostsNoTraining) {
  JobText text = small_job();
  text.layers += "[data]\ntest_images = \"nowhere\"\ntest_labels = \"nowhere\"\n";
  const std::string job = cluster_.write_job("no-test-set.toml", text);
  const Outcome outcome = cluster_.beaverpond({"emulate", job});
  EXPECT_NE(outcome.code, 0);
  EXPECT_NE(outcome.err.find("nowhere"), std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.out.find("\"step\""), std::string::npos) << outcome.out;
}

TEST_F(Usage, KeygenForAllNeedsAFolder) {
  const Outcome outcome = cluster_.beaverpond({"keygen", "--all", "2"});
  EXPECT_EQ(outcome.code, static_cast<int>(ErrorCode::kConfig));
  EXPECT_NE(outcome.err.find("--base DIR"), std::string::npos) << outcome.err;
}

TEST_F(Usage, PeersWithAnotherJob) {
  JobText text = small_job();
  text.seed = 6;
  const std::string other_seed = cluster_.write_job("seed.toml", text);
  text = small_job();
  text.steps += 1;
  const std::string other_rates = cluster_.write_job("rates.toml", text);
  text = small_job();
  text.layers += "[data]\ndivide_by = [2.0]\n";
  const std::string other_data = cluster_.write_job("data.toml", text);
  text = small_job();
  text.layers = replaced(text.layers, "units = 6", "units = 7");
  const std::string other_model = cluster_.write_job("model.toml", text);
  for (const auto& [other, word] :
       {std::pair(other_seed, "the job files differ"), std::pair(other_model, "the models differ"),
        std::pair(other_data, "how [data] reads values"),
        std::pair(other_rates, "seed or [training]")}) {
    std::vector<Process> players =
        cluster_.start_players("other", [&, &other_job = other](int player) {
          return Arguments{BEAVERPOND_PROGRAM, "train", player == 1 ? other_job : job_};
        });
    for (int player = 0; player < 3; ++player) {
      const int code = players[static_cast<std::size_t>(player)].wait(seconds(20));
      const std::string err = read_text(cluster_.err_path("other", player));
      if (player == 1) {
        EXPECT_EQ(code, static_cast<int>(ErrorCode::kRosterMismatch)) << err;
        EXPECT_NE(err.find(word), std::string::npos) << err;
      } else {
        // Whoever comes last may find that the others have fallen out and gone.
        EXPECT_THAT(code, ::testing::AnyOf(3, 4, 7)) << err;
      }
      EXPECT_NE(err.find("player"), std::string::npos) << err;
    }
  }
}

TEST_F(Usage, Pools) {
  JobText text = small_job();
  text.layers = replaced(text.layers, "units = 6", "units = 5");
  const std::string other_job = cluster_.write_job("five.toml", text);
  ASSERT_EQ(cluster_.make_bundles(plan_, 16).code, 0);
  expect_all({{"of another plan",
               launch(other_job),
               ErrorCode::kPoolDry,
               {"the pool is dry", "player 0 has 0", "triple-factory"}}});
  Cluster other(3);
  const Outcome foreign =
      factory({"make", "--plan", plan_, "--roster", other.home(0) + "/roster.toml", "--pool",
               cluster_.home(0) + "/pool", "--pool", cluster_.home(1) + "/pool", "--pool",
               cluster_.home(2) + "/pool", "--bundles", "4"});
  expect_outcome(foreign, ErrorCode::kRosterMismatch, {"player0/pool"});
  std::filesystem::remove_all(cluster_.home(1) + "/pool");
  std::filesystem::copy(cluster_.home(0) + "/pool", cluster_.home(1) + "/pool",
                        std::filesystem::copy_options::recursive);
  expect_all({{"of another player",
               launch(job_),
               ErrorCode::kRosterMismatch,
               {"player 1", "player1/player.log"}}});
  EXPECT_NE(read_text(cluster_.home(1) + "/player.log").find("player1/pool"), std::string::npos);
}

TEST_F(Usage, Factory) {
  const std::string roster = cluster_.home(0) + "/roster.toml";
  const auto make = [&](const std::string& plan, const std::string& roster_path, Arguments more) {
    Arguments all = {"make", "--plan", plan, "--roster", roster_path};
    for (int player = 0; player < 3; ++player) {
      all.insert(all.end(), {"--pool", cluster_.home(player) + "/pool"});
    }
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const std::string garbage = write("garbage.plan", std::string(4000, '\x5a'));
  const std::string cut = write("cut.plan", read_text(plan_).substr(0, 100));
  const Wrong table[] = {
      {"nothing", {}, ErrorCode::kConfig, {"subcommand"}},
      {"too few pools",
       {"make", "--plan", plan_, "--roster", roster, "--pool", cluster_.home(0) + "/pool",
        "--bundles", "4"},
       ErrorCode::kConfig,
       {"3 players", "1 pool folder", "--pool once per player"}},
      {"a plan of garbage",
       make(garbage, roster, {"--bundles", "4"}),
       ErrorCode::kConfig,
       {"garbage.plan"}},
      {"half a plan", make(cut, roster, {"--bundles", "4"}), ErrorCode::kConfig, {"cut.plan"}},
      {"no plan",
       make("/nowhere/x.plan", roster, {"--bundles", "4"}),
       ErrorCode::kIo,
       {"/nowhere/x.plan"}},
      {"no roster",
       make(plan_, "/nowhere/r.toml", {"--bundles", "4"}),
       ErrorCode::kIo,
       {"/nowhere/r.toml"}},
      {"no number", make(plan_, roster, {}), ErrorCode::kConfig, {"--bundles"}},
      {"a negative number",
       make(plan_, roster, {"--bundles", "-4"}),
       ErrorCode::kConfig,
       {"--bundles"}},
      {"over the budget",
       make(plan_, roster, {"--bundles", "4000", "--disk-budget", "1M"}),
       ErrorCode::kNoSpace,
       {"4000 bundles", "disk budget", "make fewer"}},
  };
  for (const Wrong& wrong : table) {
    SCOPED_TRACE(wrong.name);
    expect_outcome(factory(wrong.arguments), wrong.code, wrong.words);
  }
  EXPECT_TRUE(std::filesystem::is_empty(cluster_.home(0) + "/pool") ||
              cluster_.beaverpond(launch(job_)).code == static_cast<int>(ErrorCode::kPoolDry));
}

}  // namespace
}  // namespace beaverpond::testing
