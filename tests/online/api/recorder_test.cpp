// Mistakes: each is an error that names the operation, and none ends the process.
#include "beaverpond/recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <optional>

#include "beaverpond/run.h"
#include "offline/plan/plan.h"

namespace beaverpond {
namespace {

using ::testing::HasSubstr;

const Players kAll = Players::all(3);

/// The error of a program on x [2,3] of player 0 and y [4] of player 1.
Error error_of(const std::function<void(Recorder&, const Secret&, const Secret&)>& f) {
  Recorder recorder({3, 16});
  const Secret x = recorder.input({"x", 0, {2, 3}, kAll});
  const Secret y = recorder.input({"y", 1, {4}, kAll});
  reveal(x, {0}, "x");
  f(recorder, x, y);
  const Result<RecordedProgram> program = recorder.finish();
  EXPECT_FALSE(program.ok());
  return program.ok() ? Error() : program.error();
}

void expect_error(const Error& error, const std::string& operation, const std::string& text) {
  EXPECT_EQ(error.code, ErrorCode::kConfig);
  EXPECT_EQ(error.operation, operation) << error.message;
  EXPECT_THAT(error.message, HasSubstr(text));
}

TEST(Recorder, ShapesThatDoNotFitAreNamed) {
  using R = Recorder;
  using S = Secret;
  expect_error(error_of([](R&, const S& x, const S& y) { x + y; }), "operator+",
               "shapes [2,3] and [4] do not fit");
  expect_error(error_of([](R&, const S& x, const S& y) { y* x; }), "operator*", "do not fit");
  expect_error(error_of([](R&, const S& x, const S& y) { (void)(x >= y); }),
               "operator>=", "do not fit");
  expect_error(error_of([](R&, const S& x, const S&) {
                 x - Public({1, 2});
               }),
               "operator-", "shapes [2,3] and [2] do not fit");
  expect_error(error_of([](R&, const S& x, const S&) {
                 x + Public({1, 2}, {7});
               }),
               "operator+", "shape [7] was given 2 values");
  expect_error(error_of([](R&, const S& x, const S&) { x + Public({}, {0}); }), "operator+",
               "was given 0 values");
  expect_error(error_of([](R&, const S& x, const S&) { matmul(x, x); }), "matmul",
               "shapes [2,3] and [2,3] do not fit; it takes [m,k] and [k,n]");
  expect_error(error_of([](R&, const S& x, const S& y) { dot(x, y); }), "dot", "counts");
  expect_error(error_of([](R&, const S&, const S& y) { transpose(y); }), "transpose",
               "is not a matrix");
  expect_error(error_of([](R&, const S& x, const S&) { reshape(x, {7}); }), "reshape",
               "another count");
  expect_error(error_of([](R&, const S&, const S& y) { rows(y, 3, 2); }), "rows", "do not lie in");
  expect_error(error_of([](R&, const S& x, const S& y) {
                 concat({x, y});
               }),
               "concat", "cannot join");
  expect_error(error_of([](R&, const S& x, const S& y) { select(y > 0, x, x); }), "select",
               "do not fit");
  expect_error(error_of([](R&, const S&, const S& y) { softmax(y); }), "softmax", "[n, classes]");
  expect_error(error_of([](R&, const S& x, const S&) {
                 max(reshape(x, {1, 2, 3}));
               }),
               "max", "more than two dimensions");
  expect_error(error_of([](R&, const S& x, const S&) {
                 broadcast(x, {2, 3, 4});
               }),
               "broadcast", "do not fit");
  expect_error(error_of([](R&, const S& x, const S&) { x + concat({}); }), "concat", "nothing");
}

TEST(Recorder, TheFirstMistakeIsReportedWithItsSection) {
  const Error error = error_of([](Recorder& recorder, const Secret& x, const Secret& y) {
    recorder.set_section("gradient step 3");
    const Secret wrong = x + y;
    EXPECT_EQ(wrong.shape(), Shape());
    recorder.set_section("later");
    reveal(matmul(wrong, wrong) * 2 + mean(wrong) - max(wrong), {2}, "more");
    reveal(argmax(wrong) > 3, {2}, "still more");
  });
  expect_error(error, "operator+", "gradient step 3: operator+: shapes");
}

TEST(Recorder, PublicValuesMustBeNumbersThatFit) {
  const double nan = std::nan("");
  expect_error(error_of([&](Recorder&, const Secret& x, const Secret&) { x* nan; }), "operator*",
               "no number or too large");
  expect_error(error_of([](Recorder&, const Secret& x, const Secret&) { x + 1e18; }), "operator+",
               "too large");
  expect_error(error_of([](Recorder&, const Secret& x, const Secret&) {
                 (void)(x < std::numeric_limits<double>::infinity());
               }),
               "operator<", "too large");
}

TEST(Recorder, WhatAnInputDoesNotAllowIsNotRevealed) {
  Recorder recorder({3, 16});
  const Secret pay = recorder.input({"pay", 0, {1}, {1}});
  const Secret bonus = recorder.input({"bonus", 1, {1}, {1, 2}});
  const auto finish_with = [&](const Secret& x, const Players& players) {
    reveal(x, players, "x");
    return recorder.finish();
  };
  // Through whatever operation: the consent of all inputs is needed.
  const Secret mixed = select(bonus > 3, 2 * (pay + bonus), bonus);
  const Result<RecordedProgram> program = finish_with(mixed, {1, 2});
  ASSERT_FALSE(program.ok());
  expect_error(program.error(), "reveal 'x'", "does not allow player 2 to learn it");
}

TEST(Recorder, WhatAllInputsAllowIsRevealed) {
  Recorder recorder({3, 16});
  const Secret pay = recorder.input({"pay", 0, {1}, {1}});
  const Secret bonus = recorder.input({"bonus", 1, {1}, {1, 2}});
  reveal(pay + bonus, {1}, "total");
  reveal(bonus * 3, {2}, "bonuses");
  const Result<RecordedProgram> program = recorder.finish();
  ASSERT_TRUE(program.ok()) << program.error().message;
  ASSERT_EQ(program->reveals.size(), 2u);
  EXPECT_EQ(program->reveals[0].players, 2u);
  EXPECT_EQ(program->reveals[1].players, 4u);
}

TEST(Recorder, AnInputThatAllowsNobodyStaysSecret) {
  Recorder recorder({2, 16});
  const Secret x = recorder.input({.name = "x", .owner = 0, .shape = {3}});
  reveal(sum(x) >= 10, {0}, "big");
  const Result<RecordedProgram> program = recorder.finish();
  ASSERT_FALSE(program.ok());
  expect_error(program.error(), "reveal 'big'", "does not allow player 0");
}

TEST(Recorder, SecretsOfTwoRecordersDoNotMix) {
  Recorder one({2, 16});
  Recorder two({2, 16});
  const Secret x = one.input({"x", 0, {1}, {0, 1}});
  const Secret y = two.input({"y", 1, {1}, {0, 1}});
  reveal(x * y, {0}, "product");
  for (Recorder* recorder : {&one, &two}) {
    const Result<RecordedProgram> program = recorder->finish();
    ASSERT_FALSE(program.ok());
    expect_error(program.error(), "operator*", "two recorders");
  }
}

TEST(Recorder, PlayersAndNamesAreChecked) {
  const auto input_error = [](const InputSpec& spec) {
    return error_of(
        [&](Recorder& recorder, const Secret&, const Secret&) { recorder.input(spec); });
  };
  expect_error(input_error({"x", 0, {1}, {0}}), "input 'x'", "given twice");
  expect_error(input_error({"", 0, {1}, {0}}), "input ''", "needs a name");
  expect_error(input_error({"z", 3, {1}, {0}}), "input 'z'", "owner 3 is not one of 3 players");
  expect_error(input_error({"z", 0, {1}, {0, 3}}), "input 'z'", "may_learn");
  expect_error(input_error({"z", 0, {1}, {900}}), "input 'z'", "may_learn");
  expect_error(input_error({"z", 0, {0}, {0}}), "input 'z'", "empty or too large");
  expect_error(input_error({"z", 0, {4000000000, 4000000000}, {0}}), "input 'z'", "too large");
  const auto reveal_error = [](const Players& players, const std::string& name) {
    return error_of([&](Recorder&, const Secret& x, const Secret&) { reveal(x, players, name); });
  };
  expect_error(reveal_error({}, "z"), "reveal 'z'", "names no player");
  expect_error(reveal_error({3}, "z"), "reveal 'z'", "not one of 3");
  expect_error(reveal_error({64}, "z"), "reveal 'z'", "not one of 3");
  expect_error(reveal_error({0}, "x"), "reveal 'x'", "given twice");
}

TEST(Recorder, OptionsAreChecked) {
  for (const auto& [options, text] : {std::pair{RecorderOptions{1, 16}, "1 players"},
                                      {RecorderOptions{65, 16}, "65 players"},
                                      {RecorderOptions{2, 7}, "fraction_bits 7"},
                                      {RecorderOptions{2, 25}, "fraction_bits 25"}}) {
    Recorder recorder(options);
    reveal(recorder.input({"x", 0, {1}, {0}}), {0}, "x");
    const Result<RecordedProgram> program = recorder.finish();
    ASSERT_FALSE(program.ok());
    expect_error(program.error(), "recorder", text);
  }
}

TEST(Recorder, FinishIsTheEnd) {
  std::optional<Secret> kept;
  {
    Recorder recorder({2, 16});
    EXPECT_FALSE(recorder.finish().ok());  // nothing is revealed
    EXPECT_FALSE(recorder.finish().ok());
  }
  Recorder recorder({2, 16});
  kept = recorder.input({"x", 0, {1}, {0}});
  reveal(*kept, {0}, "x");
  ASSERT_TRUE(recorder.finish().ok());
  EXPECT_EQ(kept->shape(), Shape());
  const Secret after = *kept + *kept;
  const Result<RecordedProgram> again = recorder.finish();
  ASSERT_FALSE(again.ok());
  expect_error(again.error(), "operator+", "after finish()");
}

TEST(Recorder, SecretsOutliveTheirRecorder) {
  std::optional<Secret> kept;
  {
    Recorder recorder({2, 16});
    kept = recorder.input({"x", 0, {2}, {0}});
  }
  EXPECT_EQ((*kept * *kept).shape(), Shape({2}));
}

/// x [2] of player 0 and y [2] of player 1; the product goes to both.
RecordedProgram product() {
  Recorder recorder({2, 16});
  const Secret x = recorder.input({"x", 0, {2}, {0, 1}});
  const Secret y = recorder.input({"y", 1, {2}, {0, 1}});
  recorder.set_section("product");
  reveal(x * y, {0, 1}, "product");
  return recorder.finish().value();
}

TEST(RunInPlaintext, InputsAreChecked) {
  const RecordedProgram program = product();
  const auto error = [&](const NamedValues& inputs) {
    const Result<NamedValues> out = run_in_plaintext(program, inputs);
    EXPECT_FALSE(out.ok());
    return out.ok() ? Error() : out.error();
  };
  const double nan = std::nan("");
  EXPECT_THAT(error({{"x", {1, 2}}}).message, HasSubstr("input 'y': it was not given"));
  EXPECT_THAT(error({{"x", {1, 2}}, {"y", {1}}}).message,
              HasSubstr("shape [2], which takes 2 numbers; it was given 1"));
  EXPECT_THAT(error({{"x", {1, 2}}, {"y", {1, 2}}, {"z", {}}}).message, HasSubstr("no input 'z'"));
  EXPECT_THAT(error({{"x", {1, nan}}, {"y", {1, 2}}}).message,
              HasSubstr("input 'x': element 1 is nan"));
  const Error large = error({{"x", {1, 2}}, {"y", {1e15, 2}}});
  EXPECT_EQ(large.code, ErrorCode::kDomain);
  EXPECT_THAT(large.message, HasSubstr("input 'y': element 0"));
}

TEST(RunInPlaintext, AValueThatLeavesTheFixedPointIsNamed) {
  const Result<NamedValues> out =
      run_in_plaintext(product(), {{"x", {1, 40000}}, {"y", {1, 40000}}});
  ASSERT_FALSE(out.ok());
  EXPECT_EQ(out.error().code, ErrorCode::kDomain);
  EXPECT_THAT(out.error().message, HasSubstr("product: operator*"));
}

TEST(SavePlan, WritesWhatTheFactoryReads) {
  const std::string path = ::testing::TempDir() + "recorder_test.plan";
  ASSERT_TRUE(save_plan(product(), path).ok());
  const Result<Plan> plan = read_plan_file(path);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan_hash(*plan), plan_hash(make_plan(product().program, PrgKind::kAes128Ctr).value()));
  RecordedProgram by_gpus = product();
  EXPECT_EQ(by_gpus.prg, PrgKind::kAes128Ctr);
  by_gpus.prg = PrgKind::kChaCha20;
  ASSERT_TRUE(save_plan(by_gpus, path).ok());
  EXPECT_EQ(read_plan_file(path)->prg, PrgKind::kChaCha20);
  const Result<void> nowhere = save_plan(product(), ::testing::TempDir() + "no/such/folder/x.plan");
  ASSERT_FALSE(nowhere.ok());
  EXPECT_THAT(nowhere.error().message, HasSubstr("no/such/folder"));
}

}  // namespace
}  // namespace beaverpond
