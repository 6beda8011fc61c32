// The softmax by tables against the exact one, over random and edge logits: the largest error of a
// probability and of a row's cross-entropy, for every f.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "online/nn/blocks.h"
#include "online/nn/twin.h"

namespace beaverpond {
namespace {

using Words = std::vector<std::uint64_t>;

struct Row {
  std::vector<std::int64_t> logits;
  std::size_t label = 0;
};

// Logits of classes that lie evenly from `spread` below the largest to it, and other places where
// the tables change their mind.
void add_edge_rows(std::uint32_t classes, int f, std::vector<Row>& rows) {
  const std::int64_t one = std::int64_t{1} << f;
  const auto add = [&](auto&& logit_of) {
    Row row;
    for (std::uint32_t c = 0; c < classes; ++c) row.logits.push_back(logit_of(c));
    row.label = rows.size() % classes;
    rows.push_back(std::move(row));
  };
  for (const std::int64_t level : {std::int64_t{0}, one, -one, 300 * one, -300 * one}) {
    add([&](std::uint32_t) { return level; });  // all tie
  }
  for (const std::int64_t gap :
       {std::int64_t{1}, one / 256, one / 256 + 1, one, 15 * one, 16 * one - 1, 16 * one,
        16 * one + one / 256, 40 * one, 4000 * one}) {
    add([&](std::uint32_t c) { return c == 1 ? gap : 0; });             // one wins
    add([&](std::uint32_t c) { return c + 1 == classes ? -gap : 0; });  // one loses
    add([&](std::uint32_t c) { return -static_cast<std::int64_t>(c) * gap; });
  }
  // The steps of 1/256 and their middles.
  for (std::int64_t step = 0; step < 64; ++step) {
    add([&](std::uint32_t c) { return c % 2 == 0 ? 0 : -(step * one / 512); });
    add([&](std::uint32_t c) { return c % 2 == 0 ? 0 : -(step * one / 512) - 1; });
  }
}

void add_random_rows(std::uint32_t classes, int f, int count, std::vector<Row>& rows) {
  std::mt19937_64 random(classes * 100 + static_cast<std::uint32_t>(f));
  for (int i = 0; i < count; ++i) {
    // From logits a 64th apart to logits of +-32.
    const int bits = f - 6 + i % 12;
    Row row;
    for (std::uint32_t c = 0; c < classes; ++c) {
      const auto range = std::uint64_t{2} << bits;
      row.logits.push_back(static_cast<std::int64_t>(random() % range) -
                           static_cast<std::int64_t>(range / 2));
    }
    row.label = random() % classes;
    rows.push_back(std::move(row));
  }
}

struct Errors {
  long double p = 0;     ///< of a probability
  long double loss = 0;  ///< of a row's cross-entropy
};

Program row_program(std::uint32_t rows, std::uint32_t classes, int f) {
  ProgramBuilder b;
  const ValueId logits = b.input(0, {rows, classes}, f);
  const Softmax s = softmax(b, logits, f);
  b.reveal(s.probabilities, 1);
  return b.finish().value();
}

Program loss_program(std::uint32_t classes, int f) {
  ProgramBuilder b;
  const ValueId logits = b.input(0, {1, classes}, f);
  const ValueId onehot = b.input(0, {1, classes}, f);
  b.reveal(cross_entropy(b, softmax(b, logits, f), onehot, f), 1);
  return b.finish().value();
}

long double real(std::uint64_t word, int scale) {
  return std::ldexp(static_cast<long double>(static_cast<std::int64_t>(word)), -scale);
}

void measure(std::uint32_t classes, int f, int random_rows, Errors& worst) {
  std::vector<Row> rows;
  add_edge_rows(classes, f, rows);
  add_random_rows(classes, f, random_rows, rows);
  Words words;
  for (const Row& row : rows) {
    for (const std::int64_t logit : row.logits) words.push_back(static_cast<std::uint64_t>(logit));
  }
  std::vector<Words> states;
  const Program program = row_program(static_cast<std::uint32_t>(rows.size()), classes, f);
  const auto p = run_fixed({program, {words}, states});
  ASSERT_TRUE(p.ok()) << p.error().message;
  const Program loss = loss_program(classes, f);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto& logits = rows[r].logits;
    const std::int64_t max = *std::max_element(logits.begin(), logits.end());
    long double sum = 0;
    for (const std::int64_t u : logits) sum += std::exp(std::ldexp((u - max) * 1.0L, -f));
    for (std::size_t c = 0; c < classes; ++c) {
      const long double exact = std::exp(std::ldexp((logits[c] - max) * 1.0L, -f)) / sum;
      const long double got = real(p.value()[0][r * classes + c], f);
      worst.p = std::max(worst.p, std::fabs(got - exact));
    }
    Words mine(words.begin() + static_cast<std::ptrdiff_t>(r * classes),
               words.begin() + static_cast<std::ptrdiff_t>((r + 1) * classes));
    Words onehot(classes);
    onehot[rows[r].label] = std::uint64_t{1} << f;
    const auto got = run_fixed({loss, {mine, onehot}, states});
    ASSERT_TRUE(got.ok()) << got.error().message;
    const long double exact = std::log(sum) - std::ldexp((logits[rows[r].label] - max) * 1.0L, -f);
    worst.loss = std::max(worst.loss, std::fabs(real(got.value()[0][0], 2 * f) - exact));
  }
}

// Largest errors for up to 15 classes, by f from 8 on (online/nn/README.md). The tables round their
// argument to 1/256, which alone costs a probability up to 2^-10 and a cross-entropy up to 2^-9.
constexpr std::array<Errors, 13> kBounds = {{{8e-3L, 9e-3L},
                                             {4.2e-3L, 4.6e-3L},
                                             {3.6e-3L, 3.4e-3L},
                                             {2.2e-3L, 1.5e-3L},
                                             {1.3e-3L, 1.4e-3L},
                                             {1.2e-3L, 1.4e-3L},
                                             {1.05e-3L, 1.4e-3L},
                                             {1.05e-3L, 1.4e-3L},
                                             {1e-3L, 1.4e-3L},
                                             {1e-3L, 1.4e-3L},
                                             {1e-3L, 1.4e-3L},
                                             {1e-3L, 1.4e-3L},
                                             {1e-3L, 1.4e-3L}}};

TEST(Softmax, ErrorsStayBelowTheStatedOnesForEveryF) {
  for (int f = 8; f <= 20; ++f) {
    Errors worst;
    for (const std::uint32_t classes : {2u, 3u, 10u, 15u}) measure(classes, f, 600, worst);
    const Errors& bound = kBounds[static_cast<std::size_t>(f - 8)];
    EXPECT_LT(worst.p, bound.p) << "f " << f;
    EXPECT_LT(worst.loss, bound.loss) << "f " << f;
    EXPECT_GT(worst.p, bound.p / 2) << "the bound is not tight, f " << f;
  }
}

TEST(Softmax, ErrorsOf255Classes) {
  Errors worst;
  measure(255, 16, 200, worst);
  EXPECT_LT(worst.p, 4e-4L);
  EXPECT_LT(worst.loss, 1.1e-3L);
}

}  // namespace
}  // namespace beaverpond
