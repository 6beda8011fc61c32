// Whole programs among P0, P1 and the assistant, against the plaintext twin; what they cost,
// against the paper's formulas.
#include <gtest/gtest.h>

#include "online/nn/blocks.h"
#include "online/nn/twin.h"
#include "online/securenn/engine.h"
#include "tests/online/protocol/engine_harness.h"
#include "tests/soak.h"

namespace beaverpond {
namespace {

using testing::run_program;
using testing::RunResult;
using testing::WordVector;

/// How much is tried: less where a device is emulated.
std::uint32_t usual(int on_a_cpu, int soak) {
#ifdef BEAVERPOND_TEST_ON_FAKE_CUDA
  return static_cast<std::uint32_t>(on_a_cpu / 100);
#endif
  return static_cast<std::uint32_t>(testing::campaign_size(on_a_cpu, soak));
}

class Securenn : public ::testing::TestWithParam<Protocol> {
 protected:
  testing::Runner runner() const { return {GetParam(), &create_securenn_engine}; }

  /// Compares all that is revealed, to whomever, and the states.
  void compare(const Program& program, const std::vector<WordVector>& inputs,
               const std::vector<WordVector>& states = {}, std::uint64_t multiplier = 0,
               std::uint64_t bundle = 0, PrgKind prg = PrgKind::kAes128Ctr) {
    std::vector<WordVector> twin_states = states;
    const auto twin = run_fixed({program, inputs, twin_states, multiplier});
    ASSERT_TRUE(twin.ok()) << twin.error().message;
    const RunResult run = run_program(program, 3, inputs, states, multiplier, prg, bundle,
                                      CompareProfile::kLan, runner());
    for (const Op& op : program.ops) {
      if (op.code != OpCode::kReveal) continue;
      for (std::size_t player = 0; player < 3; ++player) {
        const bool learns = ((op.receivers >> player) & 1) != 0;
        EXPECT_TRUE(run.revealed[player][op.slot] ==
                    (learns ? twin.value()[op.slot] : WordVector()))
            << "reveal " << op.slot << ", player " << player;
      }
    }
    EXPECT_TRUE(run.states == twin_states);
  }
};

INSTANTIATE_TEST_SUITE_P(Protocols, Securenn,
                         ::testing::Values(Protocol::kSecurenn, Protocol::kSecurennFused),
                         [](const auto& info) {
                           return info.param == Protocol::kSecurenn ? "faithful" : "fused";
                         });

/// 0, +-1, +-2^61, the ends of the domain, one off each; then every magnitude.
WordVector signs(std::size_t count) {
  std::mt19937_64 random(11);
  constexpr std::uint64_t kEnd = std::uint64_t{1} << 62;
  WordVector words;
  for (const std::uint64_t edge : {std::uint64_t{0}, kEnd / 2, kEnd, kEnd - 2}) {
    for (const std::uint64_t off : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
      const std::uint64_t word = edge + off;
      if (word < kEnd) words.push_back(word);
      words.push_back(0 - word);
    }
  }
  std::erase_if(words, [](std::uint64_t w) { return w + kEnd >= 2 * kEnd; });
  while (words.size() < count) {
    const std::uint64_t size = (random() >> 2) >> (random() % 62);
    words.push_back((random() & 1) != 0 ? 0 - size : size);
  }
  return words;
}

TEST_P(Securenn, ReluAndItsDerivativeAreThePlaintexts) {
  const std::uint32_t count = usual(150'001, 10'000'000);
  for (const std::uint64_t bundle : {0, 1}) {  // the correction is player 0's, then player 1's
    ProgramBuilder b;
    const ValueId x = b.input(0, {count}, 0);
    const ValueAndBit relu = b.relu(x);
    b.reveal(relu.value, 7);
    b.reveal(b.bit_to_word(relu.bit), 4);
    const PrgKind prg = bundle == 0 ? PrgKind::kAes128Ctr : PrgKind::kChaCha20;
    compare(b.finish().value(), {signs(count)}, {}, 0, bundle, prg);
  }
}

TEST_P(Securenn, AllOperationsAndOwners) {
  std::mt19937_64 random(5);
  const auto small = [&random](std::size_t count) {
    WordVector words(count);
    for (std::uint64_t& word : words) word = (random() >> 44) - (std::uint64_t{1} << 19);
    return words;
  };
  const Conv2dShape conv{2, 6, 6, 3, 4, 3, 1, 1, 1};
  const Pool2dShape pool{2, 6, 6, 4, 2, 2, 2, 0, 0, true};
  ProgramBuilder b;
  b.set_layer("everything");
  const ValueId weights = b.state(conv.weight_shape(), 16);
  const ValueId images = b.input(2, conv.image_shape(), 16);
  const ValueId gradient = b.input(1, conv.result_shape(), 16);
  const ValueId factor = b.input(0, conv.result_shape(), 16);
  const auto pixels = static_cast<std::uint32_t>(pool.pixels());
  const ValueId pooled = b.input(2, {1, pixels}, 16);
  const ValueId w = b.truncate(b.shift_left(weights, 4), 4, true);
  const ValueId product = b.conv2d(images, w, conv);
  const ValueAndBit relu = b.relu_truncate(product, 16, true);
  b.reveal(b.multiply(relu.value, factor), 1);
  const ValueId back = b.truncate_times_bit(b.multiply(gradient, factor), relu.bit, 16, true);
  const ValueId dw = b.conv2d_grad_weight(images, back, conv);
  b.update(weights, b.truncate(dw, 16, false));
  b.reveal(b.conv2d_grad_input(back, w, conv), 2);
  const MaxTree tree = max_rows(b, b.window(product, pool));
  b.reveal(tree.max, 4);
  b.reveal(max_rows_grad(b, tree, pooled), 4);
  const Result<Program> program = b.finish();
  ASSERT_TRUE(program.ok()) << program.error().message;
  const std::size_t results = conv.result_shape().count();
  for (const std::uint64_t bundle : {0, 1}) {
    compare(*program,
            {small(conv.image_shape().count()), small(results), small(results), small(pixels)},
            {small(conv.weight_shape().count())}, 3, bundle);
  }
}

TEST_P(Securenn, DivisionAndMaximaAreThePlaintexts) {
  constexpr int kFraction = 12;
  const std::uint32_t count = usual(4'000, 1'000'000);
  std::mt19937_64 random(8);
  WordVector x, y;
  while (y.size() < count) {  // 0 <= x < y < 2^61
    const std::uint64_t divisor = 1 + ((random() >> 3) >> (random() % 61));
    const std::uint64_t edges[] = {0, divisor - 1, divisor / 2, random() % divisor};
    x.push_back(edges[random() % 4]);
    y.push_back(divisor);
  }
  ProgramBuilder b;
  const ValueId top = b.input(0, {count}, kFraction);
  const ValueId bottom = b.input(1, {count}, kFraction);
  b.reveal(divide(b, top, bottom, kFraction), 1);
  const MaxTree tree = max_rows(b, b.reshape(top, {4, count / 4}));
  b.reveal(tree.max, 4);
  b.reveal(max_rows_grad(b, tree, tree.max), 4);
  const Program program = b.finish().value();
  const RunResult run = run_program(program, 3, {x, y}, {}, 0, PrgKind::kAes128Ctr, 0,
                                    CompareProfile::kLan, runner());
  for (std::size_t i = 0; i < count; ++i) {
    const auto quotient =
        static_cast<std::uint64_t>((static_cast<unsigned __int128>(x[i]) << kFraction) / y[i]);
    ASSERT_EQ(run.revealed[0][0][i], quotient) << x[i] << " / " << y[i];
  }
  compare(program, {x, y}, {}, 0, 1);
}

// ---- Costs ----

/// Bits that the paper's table counts for a protocol, all players together, l = 64; a digit mod 67
/// takes 7 bits here and 8 in the public code.
struct Paper {
  int digit_sets = 0;  ///< of 64 digits
  int words = 0;       ///< of 64 bits
  int rounds = 0;
};
constexpr Paper kSelectShare{0, 5, 2};
constexpr Paper kRelu{8, 24, 10};

/// What does not travel: dealt by the factory, or drawn by P0 from a key it shares with P2.
struct Saved {
  int digit_sets = 0;
  int words = 0;
  int rounds = 0;
};
constexpr Saved kSavedBySelect{0, 1, 1};  // C of the triple; its own round
/// ComputeMSB's x, x[0] and bits, and C of two triples come from the pool; P0's halves of x's bits,
/// delta, eta' and beta' from a key. SelectShare's triple came in a round of its own.
constexpr Saved kSavedByRelu{2 + 1, 2 + 2 + 1 + 1 + 3, 1};

struct Cost {
  std::uint64_t bytes = 0;  ///< payload, of all players
  std::uint64_t rounds = 0;
};

Cost expected(const Paper& paper, const Saved& saved) {
  return {static_cast<std::uint64_t>(paper.digit_sets - saved.digit_sets) * 56 +
              static_cast<std::uint64_t>(paper.words - saved.words) * 8,
          static_cast<std::uint64_t>(paper.rounds - saved.rounds)};
}

using MakeProgram = Program (*)(std::uint32_t count);

Program relu_program(std::uint32_t count) {
  ProgramBuilder b;
  const ValueId x = b.input(0, {count}, 0);
  b.reveal(b.rows(b.relu(x).value, 0, 1, 1), 1);
  return b.finish().value();
}
Program select_program(std::uint32_t count) {
  ProgramBuilder b;
  const ValueAndBit relu = b.relu(b.input(0, {count}, 0));
  b.reveal(b.rows(b.multiply_bit(relu.value, relu.bit), 0, 1, 1), 1);
  return b.finish().value();
}

class SecurennCosts : public Securenn {
 protected:
  Cost run(const Program& program) const {
    std::vector<WordVector> inputs;
    for (const Op& op : program.ops) {
      if (op.code == OpCode::kInput) inputs.emplace_back(program.value(op.out).shape.count(), 5);
    }
    const RunResult run = run_program(program, 3, inputs, {}, 0, PrgKind::kAes128Ctr, 0,
                                      CompareProfile::kLan, runner());
    Cost cost;
    for (const std::uint64_t bytes : run.sent_bytes) cost.bytes += bytes;
    cost.rounds = run.stats.rounds - 2;  // the inputs', and the reveal's
    return cost;
  }
  /// Of one element: headers and what does not grow cancel.
  Cost per_element(MakeProgram make) const {
    const Cost one = run(make(640));
    return {(run(make(1280)).bytes - one.bytes) / 640, one.rounds};
  }
};

INSTANTIATE_TEST_SUITE_P(Protocols, SecurennCosts,
                         ::testing::Values(Protocol::kSecurenn, Protocol::kSecurennFused));

TEST_P(SecurennCosts, ReluIsThePapersLessWhatDoesNotTravel) {
  const Cost relu = per_element(&relu_program);
  const Cost both = per_element(&select_program);
  const Cost select = expected(kSelectShare, kSavedBySelect);
  EXPECT_EQ(both.bytes - relu.bytes, select.bytes);
  EXPECT_EQ(both.rounds - relu.rounds, select.rounds);
  if (GetParam() == Protocol::kSecurenn) {
    EXPECT_EQ(relu.bytes, expected(kRelu, kSavedByRelu).bytes);
    EXPECT_EQ(relu.rounds, expected(kRelu, kSavedByRelu).rounds);
  } else {
    EXPECT_EQ(relu.bytes, 2u * 8 + 2 * 56 + 2 * 8);  // c; the terms; t and r t to P1
    EXPECT_LE(relu.bytes, 158u);
    EXPECT_EQ(relu.rounds, 3u);
  }
}

TEST_P(SecurennCosts, AProductOpensItsFactorsOnce) {
  const auto product = [](std::uint32_t m) {
    ProgramBuilder b;
    const ValueId out = b.matmul(b.input(0, {m, 24}, 0), b.input(2, {24, 16}, 0));
    b.reveal(b.rows(out, 0, 1, 1), 1);
    return b.finish().value();
  };
  const Cost small = run(product(8));
  const Cost large = run(product(16));
  // The paper's 2 (2mn + 2nv + mv) l less what is dealt: 2 (mn + nv) l.
  EXPECT_EQ(large.bytes - small.bytes, 2u * 8 * 24 * 8);
  EXPECT_EQ(small.rounds, 1u);
}

// ---- Refusals ----

TEST(SecurennRefuses, AnythingButThreePlayers) {
  const Program program = relu_program(3);
  const Plan plan =
      make_plan(program, PrgKind::kAes128Ctr, CompareProfile::kLan, Protocol::kSecurenn).value();
  const std::unique_ptr<Backend> backend = make_cpu_backend();
  EXPECT_EQ(Dealer::create(plan, 2, *backend).error().code, ErrorCode::kConfig);
  std::vector<std::unique_ptr<Transport>> two = make_local_transports(2);
  EXPECT_EQ(create_securenn_engine(program, plan, *backend, *two[0], {}, {}).error().code,
            ErrorCode::kConfig);
  const Plan additive = make_plan(program, PrgKind::kAes128Ctr).value();
  std::vector<std::unique_ptr<Transport>> three = make_local_transports(3);
  EXPECT_EQ(create_securenn_engine(program, additive, *backend, *three[0], {}, {}).error().code,
            ErrorCode::kRosterMismatch);
}

}  // namespace
}  // namespace beaverpond
