#include "beaverpond/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

namespace beaverpond {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return make_error(ErrorCode::kConfig, "odd");
  return number / 2;
}

Result<void> check_even(int number) {
  BP_TRY(half(number));
  return {};
}

Result<int> quarter(int number) {
  BP_ASSIGN(const int once, half(number));
  BP_ASSIGN(const int twice, half(once));
  return twice;
}

TEST(Result, MacrosPassValuesAndErrors) {
  EXPECT_EQ(*quarter(12), 3);
  EXPECT_EQ(quarter(6).error().message, "odd");
  EXPECT_TRUE(check_even(4).ok());
  EXPECT_EQ(check_even(5).error().code, ErrorCode::kConfig);
}

TEST(Result, HoldsMoveOnlyValues) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 7);
}

TEST(ResultDeathTest, ReadingTheWrongOneAborts) {
  const Result<int> failed = half(1);
  const Result<int> worked = half(2);
  EXPECT_DEATH((void)failed.value(), "value\\(\\) of a failed Result");
  EXPECT_DEATH((void)worked.error(), "error\\(\\) of a successful Result");
  EXPECT_DEATH((void)Result<void>().error(), "error\\(\\) of a successful Result");
}

TEST(ErrorCode, ValuesAreExitCodesAndNeverChange) {
  EXPECT_EQ(static_cast<int>(ErrorCode::kConfig), 2);
  EXPECT_EQ(static_cast<int>(ErrorCode::kPeerLost), 3);
  EXPECT_EQ(static_cast<int>(ErrorCode::kPoolDry), 5);
  EXPECT_EQ(static_cast<int>(ErrorCode::kRosterMismatch), 7);
  EXPECT_EQ(static_cast<int>(ErrorCode::kCancelled), 14);
  EXPECT_EQ(static_cast<int>(ErrorCode::kPoolRolledBack), 15);
  EXPECT_EQ(static_cast<int>(ErrorCode::kDeviceFailed), 16);
  std::set<std::string> names;
  for (int code = 2; code <= 16; ++code) names.insert(to_string(static_cast<ErrorCode>(code)));
  EXPECT_EQ(names.size(), 15u);
  EXPECT_EQ(names.count("unknown"), 0u);
}

}  // namespace
}  // namespace beaverpond
