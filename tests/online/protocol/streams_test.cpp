// No pseudorandom word of a bundle serves twice: what the dealer and every player take of each
// seed's streams is recorded at the backend, over whole training steps and series.
#include <gtest/gtest.h>

#include "online/protocol/compare_stage.h"
#include "tests/online/protocol/network_programs.h"
#include "tests/online/protocol/player_group.h"
#include "tests/online/protocol/stream_backend.h"

namespace beaverpond {
namespace {

using testing::ClaimBook;
using testing::expect_ok;
using testing::layer;
using testing::PlayerGroup;
using testing::RecordingBackend;
using testing::seed_name;
using testing::series_program;
using testing::StreamMapBackend;
using testing::TestDealer;
using testing::WordVector;

constexpr int kPlayers = 3;
const FixedPoint kFixed{16, 16};

/// Net B (MiniONN).
ModelConfig minionn() {
  const LayerConfig conv = layer(LayerKind::kConv2d, 0, 16, 5);
  const LayerConfig relu = layer(LayerKind::kRelu, 0, 0, 0);
  const LayerConfig pool = layer(LayerKind::kMaxPool, 0, 0, 2, 2);
  ModelConfig model{28, 28, 1, {conv, relu, pool, conv, relu, pool}};
  model.layers.push_back(layer(LayerKind::kDense, 100, 0, 0));
  model.layers.push_back(relu);
  model.layers.push_back(layer(LayerKind::kDense, 10, 0, 0));
  model.loss = Loss::kSoftmax;
  return model;
}

Program training_program() {
  TrainingProgramOptions options;
  options.parts = {{0, 1}, {1, 1}};
  options.loss_receivers = 1;
  return build_training_program(minionn(), kFixed, {3, 5}, options)->program;
}

struct Books {
  ClaimBook dealer;
  std::vector<ClaimBook> players{kPlayers};
};

/// Spends two bundles among three players. `map`: a mutant of all streams.
void spend(const Program& program, PrgKind prg, const StreamMapBackend::Map& map, Books& books) {
  const Plan plan = make_plan(program, prg).value();
  std::set<std::string>& seeds = books.dealer.seeds;
  const auto watched = [&](ClaimBook& book) -> std::unique_ptr<Backend> {
    auto recording = std::make_unique<RecordingBackend>(make_cpu_backend(), book);
    if (!map) return recording;
    return std::make_unique<StreamMapBackend>(std::move(recording), seeds, map);
  };
  // The dealer draws seeds itself, so a first dealer of the same draws tells their names.
  std::vector<std::vector<Bundle>> bundles;
  TestDealer names(plan, kPlayers, 3);
  for (std::uint64_t number = 0; number < 2; ++number) {
    for (const Bundle& bundle : names.deal(number)) seeds.insert(seed_name(bundle.seed()));
  }
  TestDealer dealer(plan, kPlayers, 3, watched(books.dealer));
  for (std::uint64_t number = 0; number < 2; ++number) bundles.push_back(dealer.deal(number));
  for (ClaimBook& book : books.players) book.seeds = seeds;
  PlayerGroup::Seams seams;
  seams.backend = [&](int rank) { return watched(books.players[static_cast<std::size_t>(rank)]); };
  PlayerGroup group(program, plan, kPlayers, seams);
  std::vector<WordVector> inputs(program.inputs);
  for (const Op& op : program.ops) {
    if (op.code == OpCode::kInput) inputs[op.slot].resize(program.value(op.out).shape.count(), 99);
  }
  for (std::vector<Bundle>& bundle : bundles) {
    for (std::uint32_t member = 0; member < plan.members; ++member) {
      expect_ok(group.run(member == 0 ? &bundle : nullptr, inputs, 1));
    }
  }
}

void expect_no_word_twice(const Program& program, PrgKind prg) {
  Books books;
  spend(program, prg, nullptr, books);
  EXPECT_EQ(books.dealer.complaints, std::vector<std::string>());
  std::set<testing::Claim> of_players;
  std::size_t count = 0;
  for (const ClaimBook& book : books.players) {
    EXPECT_EQ(book.complaints, std::vector<std::string>());
    count += book.claims.size();
    of_players.insert(book.claims.begin(), book.claims.end());
  }
  // Nobody touches another's seed, and what players take is what the dealer dealt.
  EXPECT_EQ(of_players.size(), count);
  EXPECT_TRUE(of_players == books.dealer.claims);
  const Plan plan = make_plan(program, prg).value();
  EXPECT_GT(count, plan.entries.size() * kPlayers * 2);
}

TEST(Streams, NoWordServesTwiceInATrainingStep) {
  expect_no_word_twice(training_program(), PrgKind::kChaCha20);
}

TEST(Streams, NoWordServesTwiceInASeries) {
  expect_no_word_twice(series_program(minionn(), kFixed, 1), PrgKind::kAes128Ctr);
}

TEST(Streams, NoWordServesTwiceInAComparisonThatIsCut) {
  const auto count = static_cast<std::uint32_t>(2 * kPieceElements + 777);
  ProgramBuilder b;
  const ValueId x = b.input(0, Shape{count}, 40);
  const ValueAndBit y = b.relu_truncate(x, 16, true);
  b.reveal(b.truncate_times_bit(y.value, y.bit, 16, true), 1);
  const Program program = b.finish().value();
  Books books;
  spend(program, PrgKind::kAes128Ctr, nullptr, books);
  EXPECT_EQ(books.dealer.complaints, std::vector<std::string>());
  std::set<testing::Claim> of_players;
  for (const ClaimBook& book : books.players) {
    EXPECT_EQ(book.complaints, std::vector<std::string>());
    of_players.insert(book.claims.begin(), book.claims.end());
  }
  EXPECT_TRUE(of_players == books.dealer.claims);
}

TEST(StreamsMutant, MembersThatShareStreamsAreCaught) {
  const Program program = series_program(minionn(), kFixed, 1);
  const std::uint64_t streams = make_plan(program, PrgKind::kAes128Ctr)->entries.size() * 2;
  Books books;
  spend(
      program, PrgKind::kAes128Ctr, [streams](std::uint64_t i) { return i % streams; }, books);
  EXPECT_FALSE(books.dealer.complaints.empty());
  for (const ClaimBook& book : books.players) EXPECT_FALSE(book.complaints.empty());
}

TEST(StreamsMutant, TwoEntriesThatShareAStreamAreCaught) {
  Books books;
  spend(
      training_program(), PrgKind::kAes128Ctr, [](std::uint64_t i) { return i == 20 ? 22 : i; },
      books);
  EXPECT_FALSE(books.dealer.complaints.empty());
  for (const ClaimBook& book : books.players) EXPECT_FALSE(book.complaints.empty());
}

}  // namespace
}  // namespace beaverpond
