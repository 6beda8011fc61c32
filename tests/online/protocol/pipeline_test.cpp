// Comparisons and masks that are cut into pieces: exact, as many rounds as uncut ones, and one
// piece computes while another's words travel; what fails in between ends all of them.
#include <gtest/gtest.h>

#include <optional>
#include <set>

#include "online/protocol/compare_stage.h"
#include "online/protocol/cost.h"
#include "tests/online/protocol/opening_tap.h"
#include "tests/online/protocol/player_group.h"
#include "tests/online/transport/recording_transport.h"

namespace beaverpond::testing {
namespace {

constexpr std::uint32_t kCount = 2 * kPieceElements + 777;  // no multiple of 64 or of a block
constexpr std::uint32_t kShift = 16;

/// Every use of a comparison, on tensors of `count` elements; player 0 learns the results.
Program every_use(std::uint32_t count) {
  ProgramBuilder b;
  const ValueId x = b.input(0, Shape{count}, 62);
  const ValueId g = b.input(1, Shape{count}, 62);
  b.reveal(b.truncate(x, kShift, true), 1);
  const ValueAndBit both = b.relu_truncate(x, kShift, true);
  b.reveal(both.value, 1);
  b.reveal(b.truncate_times_bit(g, both.bit, kShift, true), 1);
  const ValueAndBit relu = b.relu(x);
  b.reveal(b.bit_to_word(relu.bit), 1);
  b.reveal(b.multiply_bit(g, relu.bit), 1);
  return b.finish().value();
}

/// One ReLU, of which nothing is revealed.
Program one_relu(std::uint32_t count) {
  ProgramBuilder b;
  b.set_layer("cut");
  const ValueId sum = b.state(Shape{count}, 16);
  b.update(sum, b.relu_truncate(b.input(0, Shape{count}, 62), kShift, true).value);
  return b.finish().value();
}

class Pipeline : public ::testing::TestWithParam<CompareProfile> {};

TEST_P(Pipeline, EveryUseIsExactInAsManyRoundsAsUncut) {
  constexpr std::uint64_t kHalf = std::uint64_t{1} << (kShift - 1);
  constexpr int kPlayers = 3;
  std::mt19937_64 random(3);
  const Program program = every_use(kCount);
  const WordVector x = domain_words(kCount, kHalf, random);
  const WordVector g = domain_words(kCount, kHalf, random);
  const RunResult result =
      run_program(program, kPlayers, {x, g}, {}, 0, PrgKind::kAes128Ctr, 1, GetParam());
  const auto truncated = [](std::uint64_t word) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(word + kHalf) >> kShift);
  };
  const std::vector<WordVector>& got = result.revealed[0];
  ASSERT_EQ(got.size(), 5u);
  for (std::size_t i = 0; i < kCount; ++i) {
    const std::uint64_t rounded_bit = (x[i] + kHalf) >> 63 == 0 ? 1 : 0;
    const std::uint64_t bit = x[i] >> 63 == 0 ? 1 : 0;
    ASSERT_EQ(got[0][i], truncated(x[i])) << i;
    ASSERT_EQ(got[1][i], rounded_bit * truncated(x[i])) << i;
    ASSERT_EQ(got[2][i], rounded_bit * truncated(g[i])) << i;
    ASSERT_EQ(got[3][i], bit) << i;
    ASSERT_EQ(got[4][i], bit * g[i]) << i;
  }
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr, GetParam()).value();
  const RunCost cost = run_cost(program, plan, {});
  for (int rank = 0; rank < kPlayers; ++rank) {
    EXPECT_EQ(result.sent_bytes[static_cast<std::size_t>(rank)],
              sent_bytes(program, cost, kPlayers, rank));
  }
  EXPECT_EQ(result.stats.rounds, cost.rounds.size());
  const Program small = every_use(1000);
  const RunResult uncut = run_program(small, kPlayers, {WordVector(1000, 5), WordVector(1000, 7)},
                                      {}, 0, PrgKind::kAes128Ctr, 1, GetParam());
  EXPECT_EQ(result.stats.rounds, uncut.stats.rounds);
}
INSTANTIATE_TEST_SUITE_P(Profiles, Pipeline,
                         ::testing::Values(CompareProfile::kLan, CompareProfile::kWan),
                         [](const auto& profile) { return std::string(to_string(profile.param)); });

// The mask of a large factor opens in pieces, that of a small one beside them.
TEST(Pipeline, AProductOfALargeFactorIsExact) {
  constexpr std::uint32_t kRows = 1024;
  constexpr std::uint32_t kInner = 3 * kPieceElements / kRows - 3;
  constexpr std::uint32_t kColumns = 3;
  static_assert(piece_cut(kRows * kInner).pieces > 1);
  ProgramBuilder b;
  const ValueId x = b.input(0, Shape{kRows, kInner}, 16);
  const ValueId y = b.input(1, Shape{kInner, kColumns}, 16);
  b.reveal(b.matmul(x, y), 1);
  b.reveal(b.matmul(y, x, true, true), 1);
  const Program program = b.finish().value();
  std::mt19937_64 random(8);
  WordVector left(kRows * kInner), right(kInner * kColumns);
  for (std::uint64_t& word : left) word = random();
  for (std::uint64_t& word : right) word = random();
  for (const std::uint64_t bundle : {0u, 1u}) {  // either player is the designated one
    const RunResult result =
        run_program(program, 2, {left, right}, {}, 0, PrgKind::kChaCha20, bundle);
    for (std::size_t i = 0; i < kRows; ++i) {
      for (std::size_t j = 0; j < kColumns; ++j) {
        std::uint64_t sum = 0;
        for (std::size_t k = 0; k < kInner; ++k) {
          sum += left[i * kInner + k] * right[k * kColumns + j];
        }
        ASSERT_EQ(result.revealed[0][0][i * kColumns + j], sum) << i << ' ' << j;
        ASSERT_EQ(result.revealed[0][1][j * kRows + i], sum) << i << ' ' << j;
      }
    }
    const Plan plan = make_plan(program, PrgKind::kChaCha20).value();
    const RunCost cost = run_cost(program, plan, {});
    EXPECT_EQ(cost.rounds[0].openings.size(), piece_cut(kRows * kInner).pieces + 1);
    for (int rank = 0; rank < 2; ++rank) {
      EXPECT_EQ(result.sent_bytes[static_cast<std::size_t>(rank)],
                sent_bytes(program, cost, 2, rank));
    }
  }
}

TEST(Pipeline, ACutIsWholeBlocksAndMissesNothing) {
  for (std::uint64_t count = 1; count < std::uint64_t{1} << 32; count += 1 + count / 7) {
    const PieceCut cut = piece_cut(count);
    EXPECT_LE(cut.pieces, kMaxPieces);
    EXPECT_GE(cut.pieces * cut.piece_elements, count);
    EXPECT_LT((cut.pieces - 1) * cut.piece_elements, count);
    if (cut.pieces == 1) continue;
    EXPECT_GE(cut.piece_elements, kPieceElements);
    EXPECT_EQ(cut.piece_elements % 512, 0u);
  }
  EXPECT_EQ(piece_cut(2 * kPieceElements - 1).pieces, 1u);
  EXPECT_EQ(piece_cut(2 * kPieceElements).pieces, 2u);
}

/// Notes when operations start and when they have been waited for; the n-th wait may fail.
class EventTransport final : public ForwardingTransport {
 public:
  struct Event {
    bool start;
    std::uint32_t operation;
    friend bool operator==(const Event&, const Event&) = default;
  };
  EventTransport(Transport& inner, std::vector<Event>& events, int failing_wait = -1)
      : ForwardingTransport(inner), events_(events), waits_left_(failing_wait) {}

  Operation start_all_reduce(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                             StreamRef stream) override {
    class Noting final : public Operation::Pending {
     public:
      Noting(EventTransport& by, std::uint32_t operation, Operation inner)
          : by_(by), operation_(operation), inner_(std::move(inner)) {}
      Result<void> wait(Deadline deadline) override {
        by_.events_.push_back({false, operation_});
        Result<void> result = inner_.wait(deadline);
        if (by_.waits_left_-- == 0) return make_error(ErrorCode::kPeerLost, "as the test wants it");
        return result;
      }

     private:
      EventTransport& by_;
      std::uint32_t operation_;
      Operation inner_;
    };
    events_.push_back({true, tag.operation});
    return Operation(std::make_unique<Noting>(
        *this, tag.operation, ForwardingTransport::start_all_reduce(words, op, tag, stream)));
  }

 private:
  std::vector<Event>& events_;
  int waits_left_;
};

TEST(Pipeline, OnePieceComputesWhileAnothersWordsTravel) {
  const std::uint32_t count = 3 * kPieceElements;
  const Program program = one_relu(count);
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr).value();
  TestDealer dealer(plan, 2, 1);
  std::vector<EventTransport::Event> events[2];
  PlayerGroup::Seams seams;
  seams.transport = [&](int rank, Transport& inner) {
    return std::make_unique<EventTransport>(inner, events[rank]);
  };
  PlayerGroup group(program, plan, 2, seams);
  std::vector<Bundle> bundles = dealer.deal(0);
  expect_ok(group.run(&bundles, {WordVector(count, 1 << 20)}, ~std::uint64_t{0}));
  EXPECT_EQ(group.state(0), WordVector(count, 1 << 4));
  // Of three pieces in four rounds: each next round starts before the later pieces' last is over.
  std::vector<EventTransport::Event> expected = {{true, 0}, {true, 1}, {true, 2}};
  for (std::uint32_t i = 0; i < 12; ++i) {
    expected.push_back({false, i});
    if (i < 9) expected.push_back({true, i + 3});
  }
  EXPECT_TRUE(events[0] == expected);
  EXPECT_TRUE(events[1] == expected);
  EXPECT_EQ(group.engine(0).stats().rounds, 4u);
}

TEST(Pipeline, WhicheverPieceIsLostTheRunEndsAndNothingIsLeftInFlight) {
  const Program program = one_relu(kCount);
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr).value();
  TestDealer dealer(plan, 2, 1);
  for (const int at : {0, 1, 2, 5, 7}) {  // of two pieces in four rounds
    std::vector<EventTransport::Event> events;
    PlayerGroup::Seams seams;
    seams.transport = [&](int rank, Transport& inner) -> std::unique_ptr<Transport> {
      if (rank == 0) return std::make_unique<EventTransport>(inner, events, at);
      return std::make_unique<ForwardingTransport>(inner);
    };
    PlayerGroup group(program, plan, 2, seams);
    std::vector<Bundle> bundles = dealer.deal(static_cast<std::uint64_t>(at));
    const auto start = std::chrono::steady_clock::now();
    const std::vector<Result<void>> results =
        group.run_until_lost(bundles, {WordVector(kCount, 9)}, 1);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
    ASSERT_FALSE(results[0].ok()) << at;
    EXPECT_EQ(results[0].error().code, ErrorCode::kPeerLost);
    EXPECT_NE(results[0].error().operation.find("cut"), std::string::npos);
    std::multiset<std::uint32_t> open;
    for (const EventTransport::Event& event : events) {
      if (event.start) {
        open.insert(event.operation);
      } else {
        EXPECT_EQ(open.erase(event.operation), 1u);
      }
    }
    EXPECT_TRUE(open.empty()) << at;
    EXPECT_EQ(group.engine(0).run(Bundle(), group.inputs_of(0, {WordVector(kCount)})).error().code,
              ErrorCode::kCancelled);
    EXPECT_EQ(group.engine(0).state_share(0).value(), WordVector(kCount));  // unchanged
  }
}

TEST(Pipeline, ADeviceThatFailsBetweenPiecesIsTheRunsError) {
  const Program program = one_relu(kCount);
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr).value();
  TestDealer dealer(plan, 2, 1, make_cpu_backend());
  FarBackend* far = nullptr;
  const auto spend = [&](std::optional<std::uint64_t> failing, std::uint64_t number) {
    PlayerGroup::Seams seams;
    seams.backend = [&](int rank) -> std::unique_ptr<Backend> {
      if (rank != 0) return make_cpu_backend();
      auto made = std::make_unique<FarBackend>();
      far = made.get();
      return made;
    };
    PlayerGroup group(program, plan, 2, seams);
    std::vector<Bundle> bundles = dealer.deal(number);
    if (failing.has_value()) far->fail_after(*failing, ErrorCode::kDeviceFailed);
    const Result<void> result = group.run_until_lost(bundles, {WordVector(kCount, 9)}, 1)[0];
    std::optional<ErrorCode> failure;
    if (!result.ok()) failure = result.error().code;
    return std::pair(failure, far->operations());
  };
  const auto [failure, operations] = spend(std::nullopt, 0);
  ASSERT_FALSE(failure.has_value());
  for (std::uint64_t at = 1; at < operations; at += 9) {
    EXPECT_EQ(spend(at, at).first, std::optional(ErrorCode::kDeviceFailed)) << at;
  }
}

// A constant secret under one mask twice would open the same word twice.
TEST(Pipeline, NoTwoPiecesShareAMaskAndNoTagIsUsedTwice) {
  const Program program = one_relu(kCount);
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr).value();
  TestDealer dealer(plan, 2, 1);
  OpeningTap* tap = nullptr;
  SentLog log;
  PlayerGroup::Seams seams;
  seams.transport = [&](int rank, Transport& inner) -> std::unique_ptr<Transport> {
    auto made = std::make_unique<OpeningTap>(inner);
    if (rank != 0) return made;
    tap = made.get();
    return std::make_unique<RecordingTransport>(std::move(made), log);
  };
  PlayerGroup group(program, plan, 2, seams);
  std::vector<Bundle> bundles = dealer.deal(0);
  expect_ok(group.run(&bundles, {WordVector(kCount, 0)}, 1));
  EXPECT_EQ(tap->words.size(), kCount);
  EXPECT_EQ(std::set<std::uint64_t>(tap->words.begin(), tap->words.end()).size(), kCount);
  EXPECT_TRUE(uniform(tap->words)) << chi_square(tap->words);
  EXPECT_TRUE(uniform(tap->planes)) << chi_square(tap->planes);
  EXPECT_TRUE(opened_twice(log.records()).empty());
  std::set<std::uint32_t> tags;
  for (const SentRecord& record : log.records()) tags.insert(record.tag.operation);
  EXPECT_EQ(tags.size(), log.records().size());
}

}  // namespace
}  // namespace beaverpond::testing
