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
WordVector signs(std::size_t count, std::uint64_t seed = 11) {
  std::mt19937_64 random(seed);
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

/// A campaign goes in parts that fit into memory.
const int kParts = testing::campaign_size(1, 10);

TEST_P(Securenn, ReluAndItsDerivativeAreThePlaintexts) {
  const std::uint32_t count = usual(150'001, 1'000'003);
  for (std::uint64_t bundle = 0; bundle < static_cast<std::uint64_t>(kParts) + 1; ++bundle) {
    ProgramBuilder b;  // the correction is player 0's and player 1's in turn
    const ValueId x = b.input(0, {count}, 0);
    const ValueAndBit relu = b.relu(x);
    b.reveal(relu.value, 7);
    b.reveal(b.bit_to_word(relu.bit), 4);
    const PrgKind prg = bundle % 2 == 0 ? PrgKind::kAes128Ctr : PrgKind::kChaCha20;
    compare(b.finish().value(), {signs(count, 11 + bundle)}, {}, 0, bundle, prg);
    if (HasFailure()) return;
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

// ---- Division and maxima ----

constexpr int kFraction = 12;
Program division_program(std::uint32_t count, bool of_states) {
  ProgramBuilder b;
  const ValueId top = of_states ? b.state({count}, kFraction) : b.input(0, {count}, kFraction);
  const ValueId bottom = of_states ? b.state({count}, kFraction) : b.input(1, {count}, kFraction);
  b.reveal(divide(b, top, bottom, kFraction), 1);
  return b.finish().value();
}

void expect_quotients(const WordVector& got, const WordVector& x, const WordVector& y) {
  ASSERT_EQ(got.size(), x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto quotient =
        static_cast<std::uint64_t>((static_cast<unsigned __int128>(x[i]) << kFraction) / y[i]);
    ASSERT_EQ(got[i], quotient) << x[i] << " / " << y[i];
  }
}

TEST_P(Securenn, DivisionIsThePlaintexts) {
  const std::uint32_t count = usual(4'000, 1'000'000);
  std::mt19937_64 random(8);
  const Program program = division_program(count, false);
  for (int part = 0; part < kParts; ++part) {
    WordVector x, y;
    while (y.size() < count) {  // 0 <= x < y < 2^61
      const std::uint64_t divisor = 1 + ((random() >> 3) >> (random() % 61));
      const std::uint64_t edges[] = {0, divisor - 1, divisor / 2, random() % divisor};
      x.push_back(edges[random() % 4]);
      y.push_back(divisor);
    }
    const RunResult run =
        run_program(program, 3, {x, y}, {}, 0, PrgKind::kAes128Ctr,
                    static_cast<std::uint64_t>(part), CompareProfile::kLan, runner());
    expect_quotients(run.revealed[0][0], x, y);
    if (HasFatalFailure()) return;
    if (part == 0) compare(program, {x, y}, {}, 0, 1);
  }
}

TEST_P(Securenn, MaximaOfFourAndTheirGradientsAreThePlaintexts) {
  const std::uint32_t count = usual(4'000, 1'000'000);
  ProgramBuilder b;
  const ValueId x = b.input(0, {4, count}, 0);
  const MaxTree tree = max_rows(b, x);
  b.reveal(tree.max, 4);
  b.reveal(max_rows_grad(b, tree, b.input(1, {1, count}, 0)), 2);
  const Program program = b.finish().value();
  std::mt19937_64 random(18);
  constexpr std::uint64_t kEnd = std::uint64_t{1} << 61;
  const std::uint64_t edges[] = {0, 1, ~std::uint64_t{0}, kEnd - 1, 0 - kEnd, 1 - kEnd};
  for (int part = 0; part < kParts; ++part) {
    WordVector words;  // -2^61 <= x < 2^61, many edges and ties
    while (words.size() < 4 * std::size_t{count}) {
      const std::uint64_t size = (random() >> 3) >> (random() % 61);
      words.push_back(random() % 4 == 0 ? edges[random() % 6]
                                        : ((random() & 1) != 0 ? 0 - size : size));
    }
    WordVector gradient(count);
    for (std::uint64_t& word : gradient) word = random() >> 3;
    compare(program, {words, gradient}, {}, 0, static_cast<std::uint64_t>(part));
    if (HasFailure()) return;
  }
}

// ---- Shares that wrap at every boundary ----

constexpr std::uint64_t kTop = std::uint64_t{1} << 63;

/// Shares of x, of one player, that together with the other's lie on either side of every wrap:
/// of the word, of twice the word, of its sign.
WordVector shares_about(std::uint64_t x) {
  WordVector shares;
  for (const std::uint64_t at :
       {std::uint64_t{0}, kTop, kTop / 2, 0 - kTop / 2, kTop / 4, 0 - kTop / 4}) {
    for (const std::uint64_t off : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
      shares.push_back(at + off);
      shares.push_back(x - (at + off));
    }
  }
  return shares;
}

/// Each word with each of its shares.
void spread(const WordVector& words, WordVector& all, WordVector& first) {
  for (const std::uint64_t x : words) {
    for (const std::uint64_t share : shares_about(x)) {
      all.push_back(x);
      first.push_back(share);
    }
  }
}

TEST_P(Securenn, ReluOfSharesThatWrapAtEveryBoundary) {
  WordVector x, first;
  spread(signs(0), x, first);
  const auto count = static_cast<std::uint32_t>(x.size());
  ASSERT_GT(count, 500u);
  ProgramBuilder b;
  const ValueAndBit relu = b.relu(b.state({count}, 0));
  b.reveal(relu.value, 1);
  b.reveal(b.bit_to_word(relu.bit), 1);
  const Program program = b.finish().value();
  testing::Runner with = runner();
  with.first_shares = {first};
  for (const std::uint64_t bundle : {0, 1}) {
    const RunResult run = run_program(program, 3, {}, {x}, 0, PrgKind::kAes128Ctr, bundle,
                                      CompareProfile::kLan, with);
    for (std::size_t i = 0; i < count; ++i) {
      const bool negative = x[i] >> 63 != 0;
      ASSERT_EQ(run.revealed[0][0][i], negative ? 0 : x[i]) << x[i] << ' ' << first[i];
      ASSERT_EQ(run.revealed[0][1][i], negative ? 0 : 1) << x[i] << ' ' << first[i];
    }
  }
}

TEST_P(Securenn, MaximaAndQuotientsOfSharesThatWrapAtEveryBoundary) {
  const std::uint64_t end = kTop / 4;
  const WordVector words = {0, 1, ~std::uint64_t{0}, end - 1, 1 - end, 0 - end, end / 2};
  WordVector all[2], first[2], top[2], top_first[2];
  for (const std::uint64_t left : words) {
    for (const std::uint64_t right : words) {
      // Shares of the two in turn, shifted against each other so that all meet over the pairs.
      const WordVector of_left = shares_about(left), of_right = shares_about(right);
      for (std::size_t i = 0; i < of_left.size(); ++i) {
        const std::size_t j = (i + all[0].size() / of_left.size()) % of_right.size();
        const auto add = [&](WordVector* to, WordVector* shares) {
          to[0].push_back(left);
          to[1].push_back(right);
          shares[0].push_back(of_left[i]);
          shares[1].push_back(of_right[j]);
        };
        add(all, first);
        if (left < right && right < end) add(top, top_first);  // 0 <= x < y < 2^61
      }
    }
  }
  const auto join = [](const WordVector* two) {
    WordVector joined = two[0];
    joined.insert(joined.end(), two[1].begin(), two[1].end());
    return joined;
  };
  const auto count = static_cast<std::uint32_t>(all[0].size());
  ProgramBuilder b;
  b.reveal(max_rows(b, b.state({2, count}, 0)).max, 1);
  testing::Runner with = runner();
  with.first_shares = {join(first)};
  const RunResult run = run_program(b.finish().value(), 3, {}, {join(all)}, 0, PrgKind::kAes128Ctr,
                                    0, CompareProfile::kLan, with);
  for (std::size_t i = 0; i < count; ++i) {
    const auto largest =
        std::max(static_cast<std::int64_t>(all[0][i]), static_cast<std::int64_t>(all[1][i]));
    ASSERT_EQ(run.revealed[0][0][i], static_cast<std::uint64_t>(largest)) << i;
  }
  with.first_shares = {top_first[0], top_first[1]};
  const auto quotients = static_cast<std::uint32_t>(top[0].size());
  ASSERT_GT(quotients, 100u);
  const RunResult divided = run_program(division_program(quotients, true), 3, {}, {top[0], top[1]},
                                        0, PrgKind::kAes128Ctr, 0, CompareProfile::kLan, with);
  expect_quotients(divided.revealed[0][0], top[0], top[1]);
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
