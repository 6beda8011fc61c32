// Private training on tables equals the plaintext twin, word for word.
#include <gtest/gtest.h>

#include <thread>

#include "online/nn/chacha20_draws.h"
#include "online/nn/emulate.h"
#include "online/nn/trainer.h"
#include "online/transport/local.h"
#include "tests/online/nn/data_job.h"
#include "tests/online/protocol/engine_harness.h"

namespace beaverpond {
namespace {

// Points of a plane, their class by the larger of three linear functions.
std::string points(std::uint64_t seed, int count) {
  ChaCha20Draws draws(ChaCha20Draws::key_of_seed(seed), {4, 4, 4});
  std::string text = "y,kind,x\n";
  for (int i = 0; i < count; ++i) {
    const auto x = static_cast<int>(draws.below(2001)) - 1000;
    const auto y = static_cast<int>(draws.below(2001)) - 1000;
    const int kind = x > y && x > 0 ? 0 : y > 0 ? 1 : 2;
    text += std::to_string(y / 1000.0) + "," + "abc"[kind] + "," + std::to_string(x / 7) + "\n";
  }
  return text;
}

class DealtBundles final : public BundleSource {
 public:
  DealtBundles(std::vector<std::vector<Bundle>>& bundles, std::size_t rank)
      : bundles_(bundles), rank_(rank) {}
  Result<Bundle> next_blocking(std::uint64_t step, std::uint64_t) override {
    return std::move(bundles_[step][rank_]);
  }
  std::uint64_t left() const override { return 0; }

 private:
  std::vector<std::vector<Bundle>>& bundles_;
  std::size_t rank_;
};

TEST(TableTraining, WeightsAreBitIdenticalToTheTwins) {
  write_test_file("a.csv", points(1, 60));
  write_test_file("b.csv", points(2, 80));
  write_test_file("t.csv", points(3, 300));
  Job job = table_job(
      "label = \"kind\"\nlabel_names = [\"a\", \"b\", \"c\"]\nfeatures = [\"x\", \"y\"]\n"
      "subtract = [0.5, 0]\ndivide_by = [143, 1]\ntest_data = \"t.csv\"");
  const Result<EmulateReport> twin = emulate(job, {});
  ASSERT_TRUE(twin.ok()) << twin.error().message;
  EXPECT_EQ(twin->test_images, 300u);
  const Result<TrainingSetup> setup = prepare_training(job, PrgKind::kAes128Ctr);
  ASSERT_TRUE(setup.ok()) << setup.error().message;
  testing::TestDealer dealer(setup->plan, 2, 3);
  std::vector<std::vector<Bundle>> bundles;
  for (std::uint64_t step = 0; step < job.training.steps; ++step) {
    bundles.push_back(dealer.deal(100 + step));
  }
  const Result<OwnData> own = OwnData::read(job, 1);
  ASSERT_TRUE(own.ok()) << own.error().message;
  EXPECT_NE(own->hash(), Hash256{});
  EXPECT_EQ(OwnData::read(job, 2)->hash(), Hash256{});  // owns nothing
  write_test_file("b.csv", "no table");
  std::vector<std::unique_ptr<Transport>> transports = make_local_transports(2);
  std::vector<TrainReport> reports(2);
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      const Result<Session> session = Session::create_blocking(*transports[rank], deadline);
      ASSERT_TRUE(session.ok()) << session.error().message;
      const std::unique_ptr<Backend> backend = testing::test_backend();
      DealtBundles source(bundles, rank);
      TrainOptions options;
      if (rank == 1) options.own = *own;  // read before; its file is no more
      Result<TrainReport> report =
          train_blocking(job, *setup, *backend, *transports[rank], *session, source, options);
      ASSERT_TRUE(report.ok()) << report.error().message;
      reports[rank] = std::move(report).value();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(reports[0].weights == twin->weights);
  EXPECT_EQ(weights_sha256(reports[0].weights), twin->sha256);
  write_test_file("b.csv", points(2, 80));
  EXPECT_TRUE(check_own_data(job, 1).ok());
  write_test_file("b.csv", "x,y,kind\n1,2,d\n");
  EXPECT_TRUE(check_own_data(job, 0).ok());  // the other's file is not its business
  EXPECT_FALSE(check_own_data(job, 1).ok());
  write_test_file("b.csv", points(2, 80));
  job.training.steps = 150;  // long enough to learn the plane
  const Result<EmulateReport> learned = emulate(job, {});
  ASSERT_TRUE(learned.ok()) << learned.error().message;
  EXPECT_GT(learned->test_accuracy, 0.9);
}

}  // namespace
}  // namespace beaverpond
