// Every operation on secrets: what the plain program gives, and the same bits from the players.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "beaverpond/run.h"
#include "online/api/values.h"
#include "tests/online/protocol/engine_harness.h"

namespace beaverpond {
namespace {

using Values = std::vector<double>;
constexpr double kStep = 1.0 / 65536;

struct Setting {
  Secret x, y, m, scalar, row;
};

const NamedValues kInputs = {{"x", {1.5, -2.25, 0, 100.125, -3.5, 7}},
                             {"y", {0.5, 4, 0, -100.25, -3.5, 2}},
                             {"m", {1, 2, -3, 4, 0.5, 6}},
                             {"scalar", {-1.75}},
                             {"row", {1, -2, 0.25}}};

/// Records `f` on inputs of two players and reveals its result to player 1.
RecordedProgram record(const std::function<Secret(const Setting&)>& f, int fraction_bits = 16) {
  Recorder recorder({2, fraction_bits});
  const Players all = Players::all(2);
  const Setting s{recorder.input({"x", 0, {6}, all}), recorder.input({"y", 1, {6}, all}),
                  recorder.input({"m", 0, {2, 3}, all}), recorder.input({"scalar", 1, {1}, all}),
                  recorder.input({"row", 1, {3}, all})};
  reveal(f(s), {1}, "out");
  Result<RecordedProgram> program = recorder.finish();
  EXPECT_TRUE(program.ok()) << program.error().message;
  return program.ok() ? std::move(program).value() : RecordedProgram();
}

/// The plaintext run gives `expected`, up to `tolerance`, and the private run the same bits.
void expect_result(const char* what, const std::function<Secret(const Setting&)>& f,
                   const Values& expected, double tolerance = 0) {
  SCOPED_TRACE(what);
  const RecordedProgram program = record(f);
  const Result<NamedValues> plain = run_in_plaintext(program, kInputs);
  ASSERT_TRUE(plain.ok()) << plain.error().message;
  const Values& out = plain->at("out");
  ASSERT_EQ(out.size(), expected.size());
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], expected[i], tolerance) << i;
  const auto words = input_words(program, kInputs, -1);
  ASSERT_TRUE(words.ok());
  const testing::RunResult run = testing::run_program(program.program, 2, *words);
  EXPECT_EQ(numbers(run.revealed[1][0], 16), out);
  EXPECT_TRUE(run.revealed[0][0].empty());
}

Values zip(const std::function<double(double, double)>& f) {
  Values out;
  for (std::size_t i = 0; i < 6; ++i) out.push_back(f(kInputs.at("x")[i], kInputs.at("y")[i]));
  return out;
}
Values map(const std::function<double(double)>& f) {
  return zip([&](double x, double) { return f(x); });
}

TEST(Operations, SumsAndDifferences) {
  expect_result(
      "x + y", [](const Setting& s) { return s.x + s.y; },
      zip([](double x, double y) { return x + y; }));
  expect_result(
      "x - y", [](const Setting& s) { return s.x - s.y; },
      zip([](double x, double y) { return x - y; }));
  expect_result(
      "-x", [](const Setting& s) { return -s.x; }, map([](double x) { return -x; }));
  expect_result(
      "x + 3.5", [](const Setting& s) { return s.x + 3.5; }, map([](double x) { return x + 3.5; }));
  expect_result(
      "3 - x", [](const Setting& s) { return 3 - s.x; }, map([](double x) { return 3 - x; }));
  expect_result("m - Public",
                [](const Setting& s) {
                  return s.m - Public({1, 2, 3});
                },
                {0, 0, -6, 3, -1.5, 3});
  expect_result("m + row", [](const Setting& s) { return s.m + s.row; },
                {2, 0, -2.75, 5, -1.5, 6.25});
  expect_result(
      "scalar - x", [](const Setting& s) { return s.scalar - s.x; },
      map([](double x) { return -1.75 - x; }));
  expect_result(
      "+= and -=",
      [](const Setting& s) {
        Secret z = s.x;
        z += s.y;
        z -= 1;
        return z;
      },
      zip([](double x, double y) { return x + y - 1; }));
}

TEST(Operations, ProductsAreRoundedOnceHoweverTheyAreUsed) {
  expect_result(
      "x * y", [](const Setting& s) { return s.x * s.y; },
      zip([](double x, double y) { return x * y; }), kStep);
  expect_result(
      "2 * x", [](const Setting& s) { return 2 * s.x; }, map([](double x) { return 2 * x; }));
  expect_result(
      "x * 0.3", [](const Setting& s) { return s.x * 0.3; }, map([](double x) { return 0.3 * x; }),
      100 * kStep);
  expect_result(
      "x * 0.001", [](const Setting& s) { return s.x * 0.001; },
      map([](double x) { return 0.001 * x; }), kStep);
  expect_result(
      "scalar * x", [](const Setting& s) { return s.scalar * s.x; },
      map([](double x) { return -1.75 * x; }), kStep);
  expect_result(
      "m * row", [](const Setting& s) { return s.m * s.row; }, {1, -4, -0.75, 4, -1, 1.5}, kStep);
  expect_result(
      "square(x)", [](const Setting& s) { return square(s.x); },
      map([](double x) { return x * x; }), kStep);
  expect_result(
      "x * y + x - 0.5", [](const Setting& s) { return s.x * s.y + s.x - 0.5; },
      zip([](double x, double y) { return x * y + x - 0.5; }), kStep);
  expect_result(
      "x * y * y", [](const Setting& s) { return s.x * s.y * s.y; },
      zip([](double x, double y) { return x * y * y; }), 101 * kStep);
  const RecordedProgram program = record([](const Setting& s) {
    const Secret z = s.x * s.y;
    return z * z + z * s.x;  // z is rounded once, the sum once
  });
  const auto truncations = std::count_if(program.program.ops.begin(), program.program.ops.end(),
                                         [](const Op& op) { return op.code == OpCode::kTruncate; });
  EXPECT_EQ(truncations, 2);
}

TEST(Operations, ComparisonsAndSelections) {
  const auto bit = [](bool b) { return b ? 1.0 : 0.0; };
  expect_result(
      ">=", [](const Setting& s) { return to_number(s.x >= s.y); },
      zip([&](double x, double y) { return bit(x >= y); }));
  expect_result(
      "<=", [](const Setting& s) { return to_number(s.x <= s.y); },
      zip([&](double x, double y) { return bit(x <= y); }));
  expect_result(
      ">", [](const Setting& s) { return to_number(s.x > s.y); },
      zip([&](double x, double y) { return bit(x > y); }));
  expect_result(
      "<", [](const Setting& s) { return to_number(s.x < s.y); },
      zip([&](double x, double y) { return bit(x < y); }));
  expect_result(
      "x > 1.5", [](const Setting& s) { return to_number(s.x > 1.5); },
      map([&](double x) { return bit(x > 1.5); }));
  expect_result(
      "x >= 1.5", [](const Setting& s) { return to_number(s.x >= 1.5); },
      map([&](double x) { return bit(x >= 1.5); }));
  expect_result(
      "0 < x", [](const Setting& s) { return to_number(0 < s.x); },
      map([&](double x) { return bit(x > 0); }));
  expect_result(
      "equal", [](const Setting& s) { return to_number(equal(s.x, s.y)); },
      zip([&](double x, double y) { return bit(x == y); }));
  expect_result(
      "| of two", [](const Setting& s) { return to_number((s.x > 5) | (s.y > 1)); },
      zip([&](double x, double y) { return bit(x > 5 || y > 1); }));
  expect_result(
      "select", [](const Setting& s) { return select(s.x > s.y, s.x, 2 * s.y); },
      zip([](double x, double y) { return x > y ? x : 2 * y; }));
  expect_result(
      "select by &", [](const Setting& s) { return select((s.x > 0) & (s.y > 0), s.x * s.y, s.y); },
      zip([](double x, double y) { return x > 0 && y > 0 ? x * y : y; }), kStep);
  expect_result(
      "select by one bit", [](const Setting& s) { return select(s.scalar < 0, s.x, s.y); },
      kInputs.at("x"));
  expect_result(
      "clip", [](const Setting& s) { return min(max(s.x, -1), 1); },
      map([](double x) { return std::clamp(x, -1.0, 1.0); }));
  expect_result(
      "select public", [](const Setting& s) { return select(s.x > 0, s.x, -7); },
      map([](double x) { return x > 0 ? x : -7; }));
  expect_result(
      "max", [](const Setting& s) { return max(s.x, s.y); },
      zip([](double x, double y) { return std::max(x, y); }));
  expect_result(
      "min", [](const Setting& s) { return min(s.x, s.y); },
      zip([](double x, double y) { return std::min(x, y); }));
  expect_result(
      "relu", [](const Setting& s) { return relu(s.x); },
      map([](double x) { return std::max(x, 0.0); }));
  expect_result(
      "relu of a product", [](const Setting& s) { return relu(s.x * s.y); },
      zip([](double x, double y) { return std::max(x * y, 0.0); }), kStep);
}

TEST(Operations, SumsOverManyElements) {
  expect_result("sum", [](const Setting& s) { return sum(s.x); }, {102.875});
  expect_result(
      "mean", [](const Setting& s) { return mean(s.x); }, {102.875 / 6}, 18 * kStep);
  expect_result("sum_rows", [](const Setting& s) { return sum_rows(s.m); }, {5, 2.5, 3});
  expect_result(
      "dot", [](const Setting& s) { return dot(s.m, s.m); }, {66.25}, kStep);
  expect_result(
      "matmul", [](const Setting& s) { return matmul(s.m, transpose(s.m)); }, {14, -13, -13, 52.25},
      kStep);
  expect_result(
      "matmul by public",
      [](const Setting& s) {
        return matmul(s.m, Public({1, 0, 0.5, 2, 0, -1}, {3, 2}));
      },
      {2, 7, 4.25, -5}, 3 * kStep);
  expect_result(
      "matmul by small public",
      [](const Setting& s) {
        return matmul(s.m, Public({0.001, 0.002, 0.003}, {3, 1}));
      },
      {-0.004, 0.023}, kStep);
}

TEST(Operations, TheLargestAndWhereItIs) {
  expect_result("max of all", [](const Setting& s) { return max(s.x); }, {100.125});
  expect_result("min of all", [](const Setting& s) { return min(s.x); }, {-3.5});
  expect_result("max of columns", [](const Setting& s) { return max(s.m); }, {4, 2, 6});
  expect_result("argmax", [](const Setting& s) { return argmax(s.x); }, {3});
  expect_result("argmin", [](const Setting& s) { return argmin(s.x); }, {4});
  expect_result("argmax of columns", [](const Setting& s) { return argmax(s.m); }, {1, 0, 1});
  expect_result("argmax of one row", [](const Setting& s) { return argmax(rows(s.m, 0, 1)); },
                {0, 0, 0});
  expect_result("argmax of squares", [](const Setting& s) { return argmax(s.y * s.y); }, {3});
  const double e = std::exp(1.0) + std::exp(2.0) + std::exp(-3.0);
  expect_result(
      "softmax", [](const Setting& s) { return softmax(rows(s.m, 0, 1)); },
      {std::exp(1.0) / e, std::exp(2.0) / e, std::exp(-3.0) / e}, 1e-3);
}

TEST(Operations, MovesElements) {
  expect_result("transpose", [](const Setting& s) { return transpose(s.m); },
                {1, 4, 2, 0.5, -3, 6});
  expect_result("reshape", [](const Setting& s) { return reshape(s.m, {6}) + s.x; },
                {2.5, -0.25, -3, 104.125, -3, 13});
  expect_result("rows", [](const Setting& s) { return rows(s.x, 1, 3, 2); }, {-2.25, 100.125, 7});
  expect_result(
      "concat",
      [](const Setting& s) {
        return concat({s.scalar, s.row, rows(s.x, 0, 1) * rows(s.y, 0, 1)});
      },
      {-1.75, 1, -2, 0.25, 0.75}, kStep);
  expect_result("broadcast",
                [](const Setting& s) {
                  return broadcast(s.row, {3, 3});
                },
                {1, -2, 0.25, 1, -2, 0.25, 1, -2, 0.25});
}

// The table in online/api/README.md.
TEST(Operations, RoundsAreAsDocumented) {
  const auto rounds = [](const std::function<Secret(const Setting&)>& f) {
    const RecordedProgram program = record(f);
    const auto words = input_words(program, kInputs, -1);
    return testing::run_program(program.program, 2, *words).stats.rounds;
  };
  // Each with the one round of the reveal.
  EXPECT_EQ(rounds([](const Setting& s) { return sum(s.x + 2 * s.y); }), 1u);
  EXPECT_EQ(rounds([](const Setting& s) { return s.x * 0.75; }), 3u + 1);
  EXPECT_EQ(rounds([](const Setting& s) { return s.x * 0.3; }), 4u + 1);  // 17 bits
  EXPECT_EQ(rounds([](const Setting& s) { return s.x * s.y; }), 1u + 3 + 1);
  EXPECT_EQ(rounds([](const Setting& s) { return to_number(s.x >= s.y); }), 4u + 1);
  EXPECT_EQ(rounds([](const Setting& s) { return max(s.x, s.y); }), 4u + 1);
  EXPECT_EQ(rounds([](const Setting& s) { return relu(s.x); }), 4u + 1);
  EXPECT_EQ(rounds([](const Setting& s) { return select(s.x > s.y, s.x, s.y); }), 4u + 1 + 1);
  EXPECT_EQ(rounds([](const Setting& s) { return to_number(equal(s.x, s.y)); }), 4u + 1 + 1);
  EXPECT_EQ(rounds([](const Setting& s) { return max(s.x); }), 3u * 4 + 1);
  EXPECT_EQ(rounds([](const Setting& s) { return argmax(s.x); }), 3u * 4 + 1 + 1);
  // Independent operations share them.
  EXPECT_EQ(rounds([](const Setting& s) { return to_number(s.x > 1) + relu(s.y); }), 4u + 1);
}

TEST(Operations, OtherFractionBits) {
  for (const int f : {8, 12, 20, 24}) {
    const RecordedProgram program = record([](const Setting& s) { return s.x * s.y * 0.1; }, f);
    const Result<NamedValues> plain = run_in_plaintext(program, kInputs);
    ASSERT_TRUE(plain.ok()) << plain.error().message;
    const Values expected = zip([](double x, double y) { return x * y * 0.1; });
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(plain->at("out")[i], expected[i], std::ldexp(2000, -f)) << f;
    }
  }
}

}  // namespace
}  // namespace beaverpond
