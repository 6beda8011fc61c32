// The module as nvcc built it: it loads, exports one function, and answers without a driver too.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <string>

#include "kernels/device_module.h"

namespace beaverpond {
namespace {

using ::testing::HasSubstr;

const DeviceModule* module() {
  const std::array<std::string, 1> paths{BEAVERPOND_CUDA_MODULE};
  const Result<const DeviceModule*> loaded = load_cuda_module_from(paths);
  EXPECT_TRUE(loaded.ok()) << loaded.error().message;
  return loaded.ok() ? *loaded : nullptr;
}

TEST(CudaModule, AnswersWithAndWithoutADriver) {
  ASSERT_NE(module(), nullptr);
  const Result<int> count = module()->device_count();
  if (count.ok()) {
    const Result<std::unique_ptr<Backend>> backend = module()->make_backend(0, {});
    EXPECT_TRUE(backend.ok()) << backend.error().message;
    EXPECT_EQ(module()->make_backend(*count, {}).error().code, ErrorCode::kConfig);
    return;
  }
  EXPECT_EQ(count.error().code, ErrorCode::kDeviceFailed);
  EXPECT_THAT(count.error().message, HasSubstr("--device cpu"));
  EXPECT_THAT(count.error().message, ::testing::Not(HasSubstr("\n")));
  const Result<std::unique_ptr<Backend>> backend = module()->make_backend(0, {});
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.error().code, ErrorCode::kDeviceFailed);
  EXPECT_EQ(backend.error().message, count.error().message);
}

TEST(CudaModule, ExportsOneFunction) {
  // Symbols that others could see are those the dynamic table defines.
  std::string symbols;
  std::FILE* const nm = popen("nm --dynamic --defined-only " BEAVERPOND_CUDA_MODULE, "r");
  ASSERT_NE(nm, nullptr);
  std::array<char, 256> part{};
  while (std::fgets(part.data(), part.size(), nm) != nullptr) symbols += part.data();
  ASSERT_EQ(pclose(nm), 0);
  EXPECT_THAT(symbols, ::testing::MatchesRegex("[0-9a-f]+ T beaverpond_cuda_module\n"));
}

}  // namespace
}  // namespace beaverpond
