// Private training equals the plaintext twin, weights and all, for every number of players.
#include "online/nn/trainer.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "online/nn/emulate.h"
#include "online/transport/local.h"
#include "tests/online/protocol/engine_harness.h"

namespace beaverpond {
namespace {

const char* const kData = "/usr/share/datasets/fashion-mnist/";

struct Case {
  const char* net;
  int players;
  int fraction_bits;
  bool softmax = false;   // else squared error, or under SecureNN its normalised ReLU
  bool momentum = false;  // and weight decay
  int batch = 33;
  Protocol protocol = Protocol::kAdditive;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.net << " N=" << c.players << " f=" << c.fraction_bits
       << (c.softmax ? " softmax" : " squared error") << (c.momentum ? " momentum" : "") << ' '
       << to_string(c.protocol);
}

std::string job_text(const std::string& layers, const Case& c) {
  const int players = c.players;
  const int fraction_bits = c.fraction_bits;
  std::string text = "[job]\nname = \"test\"\nseed = 7\nplayers = " + std::to_string(players) +
                     "\nprotocol = \"" + to_string(c.protocol) +
                     "\"\n[fixed_point]\nfraction_bits = " + std::to_string(fraction_bits) +
                     "\nmaster_extra_bits = 12\n[model]\ninput = [28, 28, 1]\nloss = \"" +
                     (c.softmax                           ? "softmax_cross_entropy"
                      : c.protocol == Protocol::kAdditive ? "squared_error"
                                                          : "normalised_relu") +
                     "\"\n" + layers + "[training]\nbatch = " + std::to_string(c.batch) +
                     "\nsteps = 4\n" +
                     (c.momentum ? "momentum = 0.875\nweight_decay = 0.001\n" : "") +
                     "[[training.rate]]\nfrom_step = 0\nmultiplier = 3\n[[training.rate]]\n"
                     "from_step = 2\nmultiplier = 2\n[reveal]\nloss_every = 2\nweights = "
                     "[\"player0\"]\n";
  for (int i = 0; i < players; ++i) {
    text += "[[data.owner]]\nplayer = " + std::to_string(i) + "\ntrain_images = \"" + kData +
            "t10k-images-idx3-ubyte.gz\"\ntrain_labels = \"" + kData +
            "t10k-labels-idx1-ubyte.gz\"\nrows = [" + std::to_string(i * 100) + ", " +
            std::to_string(i * 100 + 100) + "]\n";
  }
  return text;
}

std::string dense(int units) {
  return "[[layer]]\nkind = \"dense\"\nunits = " + std::to_string(units) + "\n";
}
const std::string kRelu = "[[layer]]\nkind = \"relu\"\n";
const std::string kConv =
    "[[layer]]\nkind = \"conv2d\"\nchannels = 5\nkernel = 5\nstride = 2\npadding = 2\n";

std::string conv(int channels, int kernel) {
  return "[[layer]]\nkind = \"conv2d\"\nchannels = " + std::to_string(channels) +
         "\nkernel = " + std::to_string(kernel) + "\n";
}
std::string pool(const char* kind, const std::string& how) {
  return std::string("[[layer]]\nkind = \"") + kind + "\"\n" + how + "\n";
}
const std::string kPool2 = pool("maxpool", "kernel = 2");

std::string layers_of(const std::string& net) {
  if (net == "A") return dense(128) + kRelu + dense(128) + kRelu + dense(10);
  if (net == "B") {
    return conv(16, 5) + kRelu + kPool2 + conv(16, 5) + kRelu + kPool2 + dense(100) + kRelu +
           dense(10);
  }
  if (net == "C") {
    return conv(20, 5) + kPool2 + kRelu + conv(50, 5) + kPool2 + kRelu + dense(500) + kRelu +
           dense(10);
  }
  if (net == "odd") {  // every layer in an unusual place
    return pool("avgpool", "kernel = 2\nstride = 2") + conv(3, 3) +
           pool("maxpool", "kernel = 3\nstride = 2\npadding = 1") + conv(4, 2) +
           pool("avgpool", "kernel = 3\nstride = 2\npadding = [1, 0]") + kRelu +
           pool("maxpool", "kernel = 2\nstride = 1") + dense(10);
  }
  return kConv + kRelu + dense(100) + kRelu + dense(10);
}

/// One dealt bundle per step, the same for all players.
class DealtBundles final : public BundleSource {
 public:
  DealtBundles(std::vector<std::vector<Bundle>>& bundles, int rank)
      : bundles_(bundles), rank_(static_cast<std::size_t>(rank)) {}
  Result<Bundle> next_blocking(std::uint64_t step, std::uint64_t) override {
    return std::move(bundles_[step][rank_]);
  }
  std::uint64_t left() const override { return 0; }

 private:
  std::vector<std::vector<Bundle>>& bundles_;
  std::size_t rank_;
};

class Training : public ::testing::TestWithParam<Case> {};

TEST_P(Training, WeightsAreBitIdenticalToTheTwins) {
  const Case& c = GetParam();
  const Result<Job> job = parse_job(job_text(layers_of(c.net), c), "test");
  ASSERT_TRUE(job.ok()) << job.error().message;
  const Result<EmulateReport> twin = emulate(*job, {});
  ASSERT_TRUE(twin.ok()) << twin.error().message;
  const Result<TrainingSetup> setup = prepare_training(*job, PrgKind::kAes128Ctr);
  ASSERT_TRUE(setup.ok()) << setup.error().message;
  testing::TestDealer dealer(setup->plan, c.players, 3);
  std::vector<std::vector<Bundle>> bundles;
  for (std::uint64_t step = 0; step < job->training.steps; ++step) {
    bundles.push_back(dealer.deal(100 + step));
  }
  std::vector<std::unique_ptr<Transport>> transports = make_local_transports(c.players);
  std::vector<TrainReport> reports(static_cast<std::size_t>(c.players));
  std::vector<double> losses;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < c.players; ++rank) {
    threads.emplace_back([&, rank] {
      Transport& transport = *transports[static_cast<std::size_t>(rank)];
      const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      const Result<Session> session = Session::create_blocking(transport, deadline);
      ASSERT_TRUE(session.ok()) << session.error().message;
      const std::unique_ptr<Backend> backend = testing::test_backend();
      DealtBundles source(bundles, rank);
      TrainOptions options;
      options.on_progress = [&](const TrainProgress& progress) {
        if (rank == 1 && progress.loss.has_value()) losses.push_back(*progress.loss);
      };
      Result<TrainReport> report =
          train_blocking(*job, *setup, *backend, transport, *session, source, options);
      ASSERT_TRUE(report.ok()) << report.error().message;
      reports[static_cast<std::size_t>(rank)] = std::move(report).value();
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(reports[0].weights.size(), twin->weights.size());
  EXPECT_TRUE(reports[0].weights == twin->weights);
  EXPECT_EQ(weights_sha256(reports[0].weights), twin->sha256);
  EXPECT_TRUE(reports[1].weights.empty());  // named by nobody: learns nothing
  ASSERT_EQ(losses.size(), 2u);
  EXPECT_EQ(losses.back(), twin->last_step_loss);
}

INSTANTIATE_TEST_SUITE_P(
    Nets, Training,
    ::testing::Values(Case{"A", 2, 16}, Case{"A", 3, 20}, Case{"A", 5, 13}, Case{"D", 2, 16},
                      Case{"D", 3, 16}, Case{"D", 5, 20}, Case{"A", 2, 16, true},
                      Case{"A", 3, 8, true, true}, Case{"A", 5, 16, false, true},
                      Case{"D", 2, 20, true, true}, Case{"D", 3, 16, true},
                      Case{"D", 5, 16, true, true}, Case{"B", 2, 16, true, true, 6},
                      Case{"B", 3, 16, false, false, 6}, Case{"B", 5, 13, true, false, 6},
                      Case{"C", 2, 16, true, true, 5}, Case{"C", 3, 16, false, true, 5},
                      Case{"C", 5, 16, true, false, 5}, Case{"odd", 2, 16, true, true},
                      Case{"odd", 3, 20, false},
                      Case{"A", 3, 16, false, false, 33, Protocol::kSecurenn},
                      Case{"B", 3, 16, true, true, 6, Protocol::kSecurenn},
                      Case{"C", 3, 16, false, true, 5, Protocol::kSecurennFused},
                      Case{"D", 3, 13, true, false, 33, Protocol::kSecurennFused}),
    // Names begin with the net's, to choose among them.
    [](const ::testing::TestParamInfo<Case>& info) {
      return info.param.net + std::string("_") + std::to_string(info.index);
    });

}  // namespace
}  // namespace beaverpond
