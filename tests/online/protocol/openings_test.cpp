// What a player sees on the wire is uniform: chi-square over every opened word and plane of a
// program with all kinds of operations, for two fixed secrets, fixed seeds, alpha = 1e-6. Each has
// a mutant (dealt material altered so that a mask is reused or missing) that must fail.
#include <gtest/gtest.h>

#include "tests/online/protocol/engine_harness.h"
#include "tests/online/protocol/opening_tap.h"

namespace beaverpond {
namespace {

using testing::chi_square;
using testing::OpeningTap;
using testing::uniform;
using testing::WordVector;
using testing::worst_bit;

constexpr std::uint32_t kRows = 64;
constexpr std::uint32_t kInner = 64;
constexpr std::uint32_t kColumns = 64;
constexpr int kRuns = 30;

/// A product, a ReLU on it, a backward pass: every kind of opening.
Program make_program() {
  ProgramBuilder b;
  const ValueId x = b.input(0, Shape{kRows, kInner}, 16);
  const ValueId w = b.input(1, Shape{kInner, kColumns}, 16);
  const ValueAndBit y = b.relu_truncate(b.matmul(x, w), 16, true);
  const ValueId g = b.matmul(y.value, w, false, true);
  b.reveal(b.truncate_times_bit(b.reshape(g, Shape{kRows, kColumns}), y.bit, 16, true), 1);
  b.reveal(b.relu(y.value).value, 1);
  return b.finish().value();
}

struct Openings {
  WordVector words;
  WordVector planes;
};

/// Everything player 1 saw opened in kRuns runs on the constant secret.
Openings record(std::uint64_t secret, const std::function<void(std::span<Seed>)>& alter_seeds) {
  static const Program program = make_program();
  static const Plan plan = make_plan(program, PrgKind::kAes128Ctr).value();
  Openings openings;
  std::mt19937_64 random(secret + 99);
  const std::unique_ptr<Backend> dealing = make_cpu_backend();
  Dealer dealer = std::move(Dealer::create(plan, 2, *dealing)).value();
  const Buffer correction = std::move(dealing->allocate(plan.correction_size)).value();
  for (int run = 0; run < kRuns; ++run) {
    std::vector<Seed> seeds = {testing::test_seed(random), testing::test_seed(random)};
    const int designated = run % 2;
    EXPECT_TRUE(dealer.deal(seeds, designated, correction.bytes(), kHostStream).ok());
    if (alter_seeds) alter_seeds(seeds);
    std::vector<std::unique_ptr<Transport>> transports = make_local_transports(2);
    OpeningTap tap(*transports[1]);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < 2; ++rank) {
      threads.emplace_back([&, rank] {
        Transport& transport = rank == 1 ? static_cast<Transport&>(tap) : *transports[0];
        const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
        PairKeys keys;
        std::mt19937_64 key_random(static_cast<std::uint64_t>(run));
        const Seed to_one = testing::test_seed(key_random);
        const Seed to_zero = testing::test_seed(key_random);
        keys.sent =
            rank == 0 ? std::vector<Seed>{Seed(), to_one} : std::vector<Seed>{to_zero, Seed()};
        keys.received =
            rank == 0 ? std::vector<Seed>{Seed(), to_zero} : std::vector<Seed>{to_one, Seed()};
        const std::unique_ptr<Backend> backend = make_cpu_backend();
        std::unique_ptr<Engine> engine =
            Engine::create(program, plan, *backend, transport, std::move(keys), {}).value();
        RunInputs inputs;
        const WordVector mine(std::size_t{kRows} * kInner, secret);
        inputs.inputs.resize(2);
        inputs.inputs[static_cast<std::size_t>(rank)] = mine;
        Bundle bundle(static_cast<std::uint64_t>(run), designated,
                      seeds[static_cast<std::size_t>(rank)],
                      rank == designated ? correction.bytes() : std::span<std::uint8_t>(), nullptr);
        const Result<void> done = engine->run(std::move(bundle), inputs);
        ASSERT_TRUE(done.ok()) << done.error().message;
        ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      });
    }
    for (std::thread& thread : threads) thread.join();
    openings.words.insert(openings.words.end(), tap.words.begin(), tap.words.end());
    openings.planes.insert(openings.planes.end(), tap.planes.begin(), tap.planes.end());
  }
  return openings;
}

class Openings2 : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(Openings2, OpenedWordsAndBitsAreUniformWhateverTheSecret) {
  const Openings seen = record(GetParam(), nullptr);
  ASSERT_GT(seen.words.size(), 100000u);
  ASSERT_GT(seen.planes.size(), 100000u);
  EXPECT_TRUE(uniform(seen.words)) << chi_square(seen.words);
  EXPECT_TRUE(uniform(seen.planes)) << chi_square(seen.planes);
  EXPECT_LT(worst_bit(seen.words), 5.5);  // 64 positions, 1e-6 together
  EXPECT_LT(worst_bit(seen.planes), 5.5);
}
INSTANTIATE_TEST_SUITE_P(Secrets, Openings2, ::testing::Values(0, 0x3039));

/// The mutant: both players expand the same seed, so that masks lie in the even words, and XOR
/// masks vanish.
TEST(OpeningsMutant, EqualSeedsOnTwoPlayersAreCaught) {
  const Openings seen =
      record(0x3039, [](std::span<Seed> seeds) { seeds[1] = Seed(seeds[0].bytes()); });
  EXPECT_FALSE(uniform(seen.planes) && worst_bit(seen.planes) < 5.5);
  EXPECT_FALSE(uniform(seen.words) && worst_bit(seen.words) < 5.5);
}

}  // namespace
}  // namespace beaverpond
