// Series: several runs of one bundle, in which fixed values are shared and masked once.
#include <gtest/gtest.h>

#include "online/nn/twin.h"
#include "tests/kernels/forgetting_backend.h"
#include "tests/online/protocol/player_group.h"

namespace beaverpond {
namespace {

using testing::expect_error;
using testing::expect_ok;
using testing::ForgettingBackend;
using testing::PlayerGroup;
using testing::test_backend;
using testing::TestDealer;
using testing::WordVector;

constexpr std::uint32_t kRows = 9;
constexpr std::uint32_t kInner = 13;
constexpr std::uint32_t kColumns = 7;
constexpr std::uint32_t kMembers = 5;

WordVector words_of_bits(std::size_t count, int bits, std::mt19937_64& random) {
  WordVector words(count);
  for (std::uint64_t& word : words) {
    word = (random() >> (64 - bits)) - (std::uint64_t{1} << (bits - 1));
  }
  return words;
}

/// Fixed weights from player 0 and a fixed state, of which products, truncations, bits and lookups
/// are taken; images of player 1 anew in each member, and a state that every member changes.
Program make_program(std::uint32_t members) {
  ProgramBuilder b;
  b.set_members(members);
  b.set_layer("series");
  const ValueId x = b.input(1, {kRows, kInner}, 16);
  const ValueId w = b.input(0, {kInner, kColumns}, 16, true);
  const ValueId master = b.state({kColumns}, 40, true);
  const ValueId running = b.state({kRows, kColumns}, 16);
  // Of fixed values alone.
  const ValueId bias = b.truncate(master, 24, true);
  const ValueAndBit positive = b.relu(w);
  const ValueId square = b.truncate(b.matmul(w, w, true, false), 16, true);
  const ValueId sign = b.lookup(b.bit_to_word(positive.bit), {100, 7}, 16);
  const ValueId head = b.multiply_bit(b.add(w, sign), positive.bit);
  // Of both: a bit of the head meets a value of the member.
  const ValueId product = b.add_row(b.matmul(x, w), b.shift_left(bias, 16));
  const ValueAndBit y = b.relu_truncate(product, 16, true);
  const ValueId z = b.truncate(b.matmul(y.value, square), 16, true);
  const ValueId spread = b.matmul(x, y.value, true, false);
  const ValueId kept = b.truncate_times_bit(spread, positive.bit, 16, true);
  const ValueId index = b.bit_to_word(y.bit);
  b.reveal(z, 1);
  b.reveal(head, 2);
  b.reveal(b.lookup(index, {5, 6, 7, 8}, 0), 3);
  b.reveal(b.multiply_bit(head, positive.bit), 1);
  b.reveal(kept, 1);
  b.reveal(running, 1);
  b.update(running, z);
  return b.finish().value();
}

struct Data {
  WordVector weights;
  WordVector master;
  WordVector running;
  std::vector<WordVector> images;

  Data() {
    std::mt19937_64 random(77);
    weights = words_of_bits(kInner * kColumns, 18, random);
    master = words_of_bits(kColumns, 42, random);
    running = words_of_bits(kRows * kColumns, 20, random);
    for (std::uint32_t i = 0; i < 2 * kMembers; ++i) {
      images.push_back(words_of_bits(kRows * kInner, 18, random));
    }
  }
};

void set_states(PlayerGroup& group, const Data& data) {
  for (int rank = 0; rank < group.players(); ++rank) {
    EXPECT_TRUE(group.engine(rank).set_public_state(0, data.master).ok());
    EXPECT_TRUE(group.engine(rank).set_public_state(1, data.running).ok());
  }
}

/// What every reveal and the changing state must be after run `i` of the images.
struct Expected {
  std::vector<WordVector> states;
  std::vector<WordVector> reveals;

  explicit Expected(const Data& data) : states{data.master, data.running} {}
  void run(const Program& program, const Data& data, std::uint32_t i) {
    auto twin = run_fixed({program, {data.images[i], data.weights}, states, i + 1});
    ASSERT_TRUE(twin.ok()) << twin.error().message;
    reveals = std::move(twin).value();
  }
};

void check(PlayerGroup& group, const Program& program, const Expected& expected) {
  for (const Op& op : program.ops) {
    if (op.code != OpCode::kReveal) continue;
    for (int rank = 0; rank < group.players(); ++rank) {
      const bool learns = ((op.receivers >> rank) & 1) != 0;
      EXPECT_TRUE(group.revealed(rank, op.slot) ==
                  (learns ? expected.reveals[op.slot] : WordVector()))
          << "reveal " << op.slot << " to player " << rank;
    }
  }
  EXPECT_TRUE(group.state(0) == expected.states[0]);
  EXPECT_TRUE(group.state(1) == expected.states[1]);
}

struct SeriesCase {
  int players;
  PrgKind prg;
};

class Series : public ::testing::TestWithParam<SeriesCase> {};

TEST_P(Series, MembersOverTwoBundlesEqualSeparateRuns) {
  const auto [players, prg] = GetParam();
  const Program series = make_program(kMembers);
  const Program single = make_program(1);
  const Plan plan = make_plan(series, prg).value();
  const Plan single_plan = make_plan(single, prg).value();
  TestDealer dealer(plan, players, 5);
  TestDealer single_dealer(single_plan, players, 6);
  PlayerGroup group(series, plan, players);
  PlayerGroup one_by_one(single, single_plan, players);
  const Data data;
  set_states(group, data);
  set_states(one_by_one, data);
  Expected expected(data);
  for (std::uint32_t i = 0; i < 2 * kMembers; ++i) {
    const std::vector<WordVector> inputs = {data.images[i], data.weights};
    std::vector<Bundle> own = single_dealer.deal(i);
    expect_ok(one_by_one.run(&own, inputs, i + 1));
    if (i % kMembers == 0) {
      std::vector<Bundle> bundles = dealer.deal(i / kMembers);
      expect_ok(group.run(&bundles, inputs, i + 1));
    } else {
      // Fixed inputs are not read again.
      expect_ok(group.run(nullptr, {data.images[i], {}}, i + 1));
    }
    EXPECT_EQ(group.engine(0).members_left(), kMembers - 1 - i % kMembers);
    expected.run(single, data, i);
    check(group, series, expected);
    check(one_by_one, single, expected);
  }
}

TEST_P(Series, FixedValuesAreOpenedInTheFirstMemberOnly) {
  const auto [players, prg] = GetParam();
  ProgramBuilder b;
  b.set_members(3);
  const ValueId x = b.input(1, {kRows, kInner}, 16);
  const ValueId w = b.input(0, {kInner, kColumns}, 16, true);
  b.reveal(b.matmul(x, w), 1);
  const Program program = b.finish().value();
  const Plan plan = make_plan(program, prg).value();
  TestDealer dealer(plan, players, 5);
  PlayerGroup group(program, plan, players);
  const Data data;
  std::vector<Bundle> bundles = dealer.deal(0);
  std::uint64_t before = 0;
  for (std::uint32_t i = 0; i < 3; ++i) {
    expect_ok(group.run(i == 0 ? &bundles : nullptr, {data.images[i], data.weights}));
    const std::uint64_t opened = group.engine(0).stats().opened_words - before;
    EXPECT_EQ(opened, kRows * kInner + (i == 0 ? kInner * kColumns : 0)) << "member " << i;
    before += opened;
  }
}

INSTANTIATE_TEST_SUITE_P(Engine, Series,
                         ::testing::Values(SeriesCase{2, PrgKind::kChaCha20},
                                           SeriesCase{3, PrgKind::kAes128Ctr},
                                           SeriesCase{5, PrgKind::kChaCha20}));

class SeriesMisuse : public ::testing::Test {
 protected:
  SeriesMisuse() { set_states(group_, data_); }
  std::vector<WordVector> inputs(std::uint32_t i) const { return {data_.images[i], data_.weights}; }
  void expect_right(std::uint32_t i) {
    expected_.run(program_, data_, i);
    check(group_, program_, expected_);
  }

  const Data data_;
  const Program program_ = make_program(3);
  const Plan plan_ = make_plan(program_, PrgKind::kAes128Ctr).value();
  TestDealer dealer_{plan_, 2, 9};
  PlayerGroup group_{program_, plan_, 2};
  Expected expected_{data_};
};

TEST_F(SeriesMisuse, NoMemberBeforeTheFirstRunAndNoneAfterTheLast) {
  EXPECT_EQ(group_.engine(0).members_left(), 0u);
  expect_error(group_.run(nullptr, inputs(0)), ErrorCode::kConfig);
  std::vector<Bundle> bundles = dealer_.deal(4);
  expect_ok(group_.run(&bundles, inputs(0), 1));
  expect_right(0);
  for (std::uint32_t i = 1; i < 3; ++i) {
    expect_ok(group_.run(nullptr, inputs(i), i + 1));
    expect_right(i);
  }
  EXPECT_EQ(group_.engine(1).members_left(), 0u);
  expect_error(group_.run(nullptr, inputs(3)), ErrorCode::kConfig);
  // The bundle that is spent is no bundle any more; nor is an older one.
  expect_error(group_.run(&bundles, inputs(3)), ErrorCode::kConfig);
  std::vector<Bundle> same = dealer_.deal(4);
  expect_error(group_.run(&same, inputs(3)), ErrorCode::kConfig);
  std::vector<Bundle> next = dealer_.deal(5);
  expect_ok(group_.run(&next, inputs(3), 4));
  expect_right(3);
}

TEST_F(SeriesMisuse, InputsThatDoNotFitSpendNothing) {
  std::vector<Bundle> bundles = dealer_.deal(4);
  expect_ok(group_.run(&bundles, inputs(0), 1));
  expect_right(0);
  const auto results = group_.on_all([](int, Engine& engine) {
    return engine.run_next(RunInputs());  // no slots at all
  });
  expect_error(results, ErrorCode::kConfig);
  RunInputs few = group_.inputs_of(1, inputs(1));
  few.inputs[0] = few.inputs[0].first(3);
  const Result<void> refused = group_.engine(1).run_next(few);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kConfig);
  EXPECT_NE(refused.error().message.find("input 0"), std::string::npos);
  EXPECT_EQ(group_.engine(1).members_left(), 2u);
  expect_ok(group_.run(nullptr, inputs(1), 2));
  expect_right(1);
}

TEST_F(SeriesMisuse, ANewBundleBurnsTheMembersThatWereLeft) {
  std::vector<Bundle> bundles = dealer_.deal(4);
  expect_ok(group_.run(&bundles, inputs(0), 1));
  expect_right(0);
  std::vector<Bundle> next = dealer_.deal(6);
  expect_ok(group_.run(&next, inputs(1), 2));
  expect_right(1);
  EXPECT_EQ(group_.engine(0).members_left(), 2u);
  expect_ok(group_.run(nullptr, inputs(2), 3));
  expect_right(2);
}

TEST(SeriesFailure, AMemberThatFailedIsTheLast) {
  const Data data;
  const Program program = make_program(3);
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr).value();
  TestDealer dealer(plan, 2, 9);
  PlayerGroup group(program, plan, 2, {}, 2'000);
  set_states(group, data);
  std::vector<Bundle> bundles = dealer.deal(1);
  expect_ok(group.run(&bundles, {data.images[0], data.weights}, 1));
  const WordVector before = group.state(1);
  // Player 0 goes on alone.
  const std::vector<WordVector> words = {data.images[1], data.weights};
  const RunInputs alone = group.inputs_of(0, words, 2);
  const Result<void> failed = group.engine(0).run_next(alone);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(group.engine(0).members_left(), 0u);
  EXPECT_EQ(group.state(1), before);
  const Result<void> again = group.engine(0).run_next(alone);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, ErrorCode::kCancelled);
  std::vector<Bundle> next = dealer.deal(2);
  const Result<void> other = group.engine(0).run(std::move(next[0]), alone);
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code, ErrorCode::kCancelled);
}

TEST(SeriesFailure, KeysAreForgottenWithTheirBundle) {
  const Data data;
  const Program program = make_program(2);
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr).value();
  TestDealer dealer(plan, 2, 9);
  const ForgettingBackend* backend = nullptr;
  PlayerGroup::Seams seams;
  seams.backend = [&](int rank) {
    auto made = std::make_unique<ForgettingBackend>(test_backend());
    if (rank == 0) backend = made.get();
    return made;
  };
  PlayerGroup group(program, plan, 2, seams, 2'000);
  set_states(group, data);
  std::vector<Bundle> bundles = dealer.deal(1);
  expect_ok(group.run(&bundles, {data.images[0], data.weights}, 1));
  EXPECT_EQ(backend->times(), 0);
  expect_ok(group.run(nullptr, {data.images[1], data.weights}, 2));
  EXPECT_EQ(backend->times(), 1) << "spent";
  // Player 0 goes on alone.
  const std::vector<WordVector> words = {data.images[0], data.weights};
  const RunInputs alone = group.inputs_of(0, words, 3);
  EXPECT_FALSE(group.engine(0).run(std::move(dealer.deal(2)[0]), alone).ok());
  EXPECT_EQ(backend->times(), 2) << "burned";
}

TEST(SeriesFailure, AFixedStateCannotBeChanged) {
  for (const bool assign : {false, true}) {
    ProgramBuilder b;
    b.set_members(2);
    const ValueId w = b.state({4}, 16, true);
    if (assign) {
      b.assign(w, w);
    } else {
      b.update(w, w);
    }
    const Result<Program> program = b.finish();
    ASSERT_FALSE(program.ok());
    EXPECT_EQ(program.error().code, ErrorCode::kConfig);
    EXPECT_NE(program.error().message.find("fixed"), std::string::npos);
  }
}

}  // namespace
}  // namespace beaverpond
