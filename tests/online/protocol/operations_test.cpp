// Operations that move elements, work with public words or look tables up, and what is built from
// them: the players' results against the plaintext twin's, on random shapes.
#include <gtest/gtest.h>

#include <algorithm>

#include "online/nn/blocks.h"
#include "online/nn/twin.h"
#include "tests/online/protocol/engine_harness.h"

namespace beaverpond {
namespace {

using testing::run_program;
using testing::RunResult;
using testing::WordVector;

constexpr std::int64_t kLimit = std::int64_t{1} << 62;

std::uint32_t between(std::uint32_t low, std::uint32_t high, std::mt19937_64& random) {
  return low + static_cast<std::uint32_t>(random() % (high - low + 1));
}

WordVector small_words(std::size_t count, std::mt19937_64& random) {
  WordVector words(count);
  for (std::uint64_t& word : words) word = (random() >> 24) - (std::uint64_t{1} << 39);
  return words;
}

/// Signed words below 2^(39 - shift).
WordVector smaller_words(std::size_t count, int shift, std::mt19937_64& random) {
  WordVector words = small_words(count, random);
  for (std::uint64_t& word : words) {
    word = static_cast<std::uint64_t>(static_cast<std::int64_t>(word) >> shift);
  }
  return words;
}

WordVector any_words(std::size_t count, std::mt19937_64& random) {
  WordVector words(count);
  for (std::uint64_t& word : words) word = random();
  return words;
}

struct Given {
  int players = 2;
  PrgKind prg = PrgKind::kAes128Ctr;
};

/// Runs `program`, which reveals to player 0, on both and compares reveals and states.
void compare(const Given& given, const Program& program, const std::vector<WordVector>& inputs,
             const std::vector<WordVector>& states = {}, std::uint64_t multiplier = 0) {
  std::vector<WordVector> twin_states = states;
  const auto twin = run_fixed({program, inputs, twin_states, multiplier});
  ASSERT_TRUE(twin.ok()) << twin.error().message;
  const RunResult run =
      run_program(program, given.players, inputs, states, multiplier, given.prg, 3);
  ASSERT_EQ(run.revealed[0].size(), twin.value().size());
  for (std::size_t slot = 0; slot < twin.value().size(); ++slot) {
    EXPECT_TRUE(run.revealed[0][slot] == twin.value()[slot]) << "reveal " << slot;
  }
  EXPECT_TRUE(run.states == twin_states);
}

class Operations : public ::testing::TestWithParam<int> {
 protected:
  Given given(int turn) const {
    return {GetParam(), turn % 2 == 0 ? PrgKind::kChaCha20 : PrgKind::kAes128Ctr};
  }
};

Pool2dShape random_pool(std::mt19937_64& random) {
  while (true) {
    Pool2dShape p;
    p.batch = between(1, 3, random);
    p.height = between(1, 9, random);
    p.width = between(1, 9, random);
    p.channels = between(1, 3, random);
    p.window_height = between(1, 4, random);
    p.window_width = between(1, 4, random);
    p.stride = between(1, 3, random);
    const std::uint32_t most = std::min(p.window_height, p.window_width) - 1;
    p.pad_before = between(0, most, random);
    p.pad_after = between(0, most, random);
    p.clamp = between(0, 1, random) == 1;
    const std::uint32_t pad = p.pad_before + p.pad_after;
    if (p.height + pad >= p.window_height && p.width + pad >= p.window_width) return p;
  }
}

TEST_P(Operations, WindowsAndTheirTransposes) {
  std::mt19937_64 random(1);
  for (int turn = 0; turn < 12; ++turn) {
    const Pool2dShape p = random_pool(random);
    const auto pixels = static_cast<std::uint32_t>(p.pixels());
    ProgramBuilder b;
    const ValueId x = b.input(0, p.image_shape(), 4);
    const ValueId taps = b.input(1, {p.taps(), pixels}, 4);
    b.reveal(b.window(x, p), 1);
    b.reveal(b.window_grad(taps, p), 1);
    // With a mask of its own, so that masks follow the values.
    b.reveal(b.multiply(b.window(x, p), taps), 1);
    const Program program = b.finish().value();
    compare(given(turn), program,
            {small_words(p.image_shape().count(), random),
             smaller_words(p.taps() * pixels, 20, random)});
    if (HasFailure()) return;
  }
}

// The twin and the engine could share a mistake: the definition once more, pixel by pixel.
TEST_P(Operations, AWindowSeesWhatItsDefinitionSays) {
  std::mt19937_64 random(2);
  for (int turn = 0; turn < 6; ++turn) {
    const Pool2dShape p = random_pool(random);
    ProgramBuilder b;
    b.reveal(b.window(b.input(0, p.image_shape(), 4), p), 1);
    const WordVector x = any_words(p.image_shape().count(), random);
    const RunResult run = run_program(b.finish().value(), GetParam(), {x});
    const auto pixel = [&](std::int64_t n, std::int64_t y, std::int64_t at, std::int64_t c) {
      const std::int64_t cy = std::clamp<std::int64_t>(y, 0, p.height - 1);
      const std::int64_t cx = std::clamp<std::int64_t>(at, 0, p.width - 1);
      if (!p.clamp && (cy != y || cx != at)) return std::uint64_t{0};
      return x[static_cast<std::size_t>(((n * p.height + cy) * p.width + cx) * p.channels + c)];
    };
    WordVector want;
    for (std::int64_t ty = 0; ty < p.window_height; ++ty)
      for (std::int64_t tx = 0; tx < p.window_width; ++tx)
        for (std::int64_t n = 0; n < p.batch; ++n)
          for (std::int64_t oy = 0; oy < p.out_height(); ++oy)
            for (std::int64_t ox = 0; ox < p.out_width(); ++ox)
              for (std::int64_t c = 0; c < p.channels; ++c)
                want.push_back(pixel(n, oy * p.stride - p.pad_before + ty,
                                     ox * p.stride - p.pad_before + tx, c));
    ASSERT_TRUE(run.revealed[0][0] == want);
  }
}

TEST_P(Operations, RowsTransposesAndPublicWords) {
  std::mt19937_64 random(3);
  for (int turn = 0; turn < 12; ++turn) {
    const std::uint32_t m = between(1, 40, random);
    const std::uint32_t n = between(1, 40, random);
    const std::uint32_t step = between(1, 4, random);
    const std::uint32_t begin = between(0, m - 1, random);
    const std::uint32_t count = between(1, (m - 1 - begin) / step + 1, random);
    const std::uint32_t spread = begin + (m - 1) * step + between(1, 5, random);
    ProgramBuilder b;
    const ValueId x = b.input(0, {m, n}, 4);
    b.reveal(b.rows(x, begin, step, count), 1);
    b.reveal(b.spread_rows(x, begin, step, spread), 1);
    b.reveal(b.transpose(x), 1);
    b.reveal(b.add_public(x, small_words(1, random)), 1);
    b.reveal(b.add_public(x, small_words(m * n, random)), 1);
    b.reveal(b.multiply_public(x, {random() >> 44}, 3), 1);
    WordVector factors = small_words(m * n, random);
    for (std::uint64_t& factor : factors) factor >>= 46;
    b.reveal(b.multiply_public(x, factors, 0), 1);
    b.reveal(b.matmul(b.transpose(x), b.add_public(x, {5})), 1);
    const Program program = b.finish().value();
    const WordVector words = smaller_words(m * n, 14, random);
    compare(given(turn), program, {words});
    if (HasFailure()) return;
  }
}

TEST_P(Operations, LookupsInTablesOfEverySize) {
  std::mt19937_64 random(4);
  const std::uint32_t counts[] = {1, 7, 64, 300, 1025, 2049};
  for (std::uint32_t bits = 1; bits <= 12; ++bits) {
    const std::uint32_t size = 1u << bits;
    const std::uint32_t count = bits > 9 ? 300 : counts[bits % 6];
    WordVector index(count);
    for (std::uint32_t i = 0; i < count; ++i) {
      index[i] = i == 0 ? size - 1 : i == 1 ? 0 : random() % size;
    }
    ProgramBuilder b;
    const ValueId x = b.input(0, {count}, 16);
    const WordVector table = any_words(size, random);
    const WordVector other = any_words(size, random);
    b.reveal(b.lookup(x, table, 3), 1);
    b.reveal(b.lookup(x, other, 20), 1);
    b.reveal(b.lookup(x, table, 3), 1);
    // Of a value that was computed, and used further.
    const ValueId sum = b.add_public(b.multiply_public(x, {~std::uint64_t{0}}, 0), {size - 1});
    const ValueId small = b.lookup(sum, small_words(size, random), 16);
    b.reveal(b.relu_truncate(small, 16, true).value, 1);
    const Program program = b.finish().value();
    compare(given(static_cast<int>(bits)), program, {index});
    const RunResult run = run_program(program, GetParam(), {index});
    for (std::uint32_t i = 0; i < count; ++i) {
      ASSERT_EQ(run.revealed[0][0][i], table[index[i]]) << size;
      ASSERT_EQ(run.revealed[0][1][i], other[index[i]]) << size;
    }
    // The lookups go together; then truncation and reveal.
    EXPECT_EQ(run.stats.rounds, 1u + 4u + 1u);
    if (HasFailure()) return;
  }
}

TEST_P(Operations, AssignedStatesAreReadAsTheyWereBeforeTheRun) {
  std::mt19937_64 random(5);
  ProgramBuilder b;
  const ValueId x = b.input(0, {33}, 8);
  const ValueId v = b.state({33}, 8);
  const ValueId w = b.state({33}, 12);
  const ValueId next = b.add(b.subtract(v, b.multiply_public(b.truncate(v, 3, true), {1}, 3)), x);
  b.assign(v, next);
  b.update(w, next);
  b.reveal(v, 1);
  b.reveal(next, 1);
  const Program program = b.finish().value();
  const std::vector<WordVector> states = {small_words(33, random), small_words(33, random)};
  compare(given(0), program, {small_words(33, random)}, states, 7);
}

/// Rows whose columns hold the edges of the domain, ties, and random words.
WordVector contest(std::uint32_t rows, std::uint32_t n, std::mt19937_64& random) {
  const std::int64_t edges[] = {-kLimit, kLimit - 1, -kLimit + 1, 0, -1, 1, kLimit / 2};
  WordVector words(std::size_t{rows} * n);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::uint32_t column = static_cast<std::uint32_t>(i % n);
    const std::int64_t edge = edges[random() % 7];
    const std::int64_t tie = static_cast<std::int64_t>(random() % 2) - 1;
    const auto wide = static_cast<std::int64_t>(random()) >> 2;
    words[i] = static_cast<std::uint64_t>(column % 4 == 0   ? edge
                                          : column % 4 == 1 ? tie
                                          : column % 4 == 2 ? wide
                                                            : 5);
  }
  return words;
}

TEST_P(Operations, ABitOfEitherReluGoesIntoEitherProduct) {
  std::mt19937_64 random(8);
  for (int turn = 0; turn < 6; ++turn) {
    const std::uint32_t n = between(1, 900, random);
    ProgramBuilder b;
    const ValueId x = b.input(0, {n}, 24);
    const ValueId g = b.input(1, {n}, 24);
    for (const ValueId bit : {b.relu(x).bit, b.relu_truncate(x, 9, true).bit}) {
      b.reveal(b.multiply_bit(g, bit), 1);
      b.reveal(b.truncate_times_bit(g, bit, 7 + static_cast<std::uint32_t>(turn), true), 1);
      b.reveal(b.bit_to_word(bit), 1);
    }
    compare(given(turn), b.finish().value(), {small_words(n, random), small_words(n, random)});
    if (HasFailure()) return;
  }
}

TEST_P(Operations, MaximaTheirIndicesAndGradients) {
  std::mt19937_64 random(6);
  for (const std::uint32_t rows : {2u, 3u, 4u, 5u, 7u, 9u, 10u, 17u}) {
    const std::uint32_t n = 67;
    ProgramBuilder b;
    const ValueId x = b.input(0, {rows, n}, 0);
    const ValueId g = b.input(1, {1, n}, 0);
    const MaxTree tree = max_rows(b, x);
    b.reveal(tree.max, 1);
    b.reveal(max_rows_grad(b, tree, g), 1);
    b.reveal(argmax_rows(b, x), 1);
    const Program program = b.finish().value();
    const WordVector words = contest(rows, n, random);
    const WordVector gradient = any_words(n, random);
    const RunResult run = run_program(program, GetParam(), {words, gradient});
    for (std::uint32_t j = 0; j < n; ++j) {
      std::uint32_t best = 0;
      for (std::uint32_t i = 1; i < rows; ++i) {
        if (static_cast<std::int64_t>(words[i * n + j]) >
            static_cast<std::int64_t>(words[best * n + j])) {
          best = i;
        }
      }
      ASSERT_EQ(run.revealed[0][0][j], words[best * n + j]) << rows << " rows, column " << j;
      ASSERT_EQ(run.revealed[0][2][j], best) << rows << " rows, column " << j;
      for (std::uint32_t i = 0; i < rows; ++i) {
        ASSERT_EQ(run.revealed[0][1][i * n + j], i == best ? gradient[j] : 0);
      }
    }
    compare(given(static_cast<int>(rows)), program, {words, gradient});
  }
}

TEST_P(Operations, SoftmaxAndCrossEntropy) {
  std::mt19937_64 random(7);
  for (const int f : {8, 13, 16, 20}) {
    const std::uint32_t classes = f == 13 ? 3 : 10;
    constexpr std::uint32_t kBatch = 37;
    ProgramBuilder b;
    const ValueId logits = b.input(0, {kBatch, classes}, f);
    const ValueId onehot = b.input(1, {kBatch, classes}, f);
    const Softmax s = softmax(b, logits, f);
    b.reveal(s.probabilities, 1);
    b.reveal(cross_entropy(b, s, onehot, f), 1);
    const Program program = b.finish().value();
    WordVector words(kBatch * classes);
    WordVector labels(kBatch * classes);
    for (std::size_t i = 0; i < words.size(); ++i) {
      const int spread = f - 3 + static_cast<int>(i / classes % 9);
      words[i] = (random() >> (64 - spread)) - (std::uint64_t{1} << (spread - 1));
    }
    for (std::uint32_t i = 0; i < kBatch; ++i) labels[i * classes + random() % classes] = 1u << f;
    compare(given(f), program, {words, labels});
  }
}

INSTANTIATE_TEST_SUITE_P(Engine, Operations, ::testing::Values(2, 3, 5));

}  // namespace
}  // namespace beaverpond
