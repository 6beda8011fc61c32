// A library that cannot be NCCL is refused in words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "online/transport/nccl/abi.h"

namespace beaverpond::nccl {
namespace {

using ::testing::HasSubstr;

TEST(NcclLoad, ALibraryThatLacksAFunctionIsRefusedByItsName) {
  for (int again = 0; again < 2; ++again) {
    const Result<const Api*> loaded = load();
    ASSERT_FALSE(loaded.ok());
    EXPECT_EQ(loaded.error().code, ErrorCode::kConfig);
    EXPECT_THAT(loaded.error().message, HasSubstr("libnccl.so.2 has no ncclGetUniqueId"));
    EXPECT_THAT(loaded.error().message, HasSubstr("--transport tls"));
  }
}

TEST(NcclLoad, VersionsReadAsPeopleWriteThem) {
  EXPECT_EQ(version_text(22809), "2.28.9");
  EXPECT_EQ(version_text(21400), "2.14.0");
  EXPECT_EQ(version_text(2708), "2.7.8");
}

}  // namespace
}  // namespace beaverpond::nccl
