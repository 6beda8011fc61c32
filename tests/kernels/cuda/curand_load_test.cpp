// A library that cannot be cuRAND is refused in words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda/curand_api.h"

namespace beaverpond::cuda::curand {
namespace {

using ::testing::HasSubstr;

TEST(CuRandLoad, ALibraryThatLacksAFunctionIsRefusedByItsName) {
  for (int again = 0; again < 2; ++again) {
    const Result<const Api*> loaded = load();
    ASSERT_FALSE(loaded.ok());
    EXPECT_EQ(loaded.error().code, ErrorCode::kDeviceFailed);
    EXPECT_THAT(loaded.error().message, HasSubstr("libcurand.so.10 has no curandSetStream"));
    EXPECT_THAT(loaded.error().message, HasSubstr("--device cpu"));
  }
}

}  // namespace
}  // namespace beaverpond::cuda::curand
