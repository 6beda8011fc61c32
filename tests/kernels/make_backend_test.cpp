#include "kernels/make_backend.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace beaverpond {
namespace {

TEST(MakeBackend, KnowsItsNames) {
  for (const char* device : {"auto", "cpu", "cuda", "cuda:0", "cuda:17"}) {
    EXPECT_TRUE(check_device(device).ok()) << device;
  }
  for (const char* device :
       {"", "gpu", "CPU", "cpu ", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "cuda:1x", "cuda:1234"}) {
    const Result<void> checked = check_device(device);
    ASSERT_FALSE(checked.ok()) << device;
    EXPECT_EQ(checked.error().code, ErrorCode::kConfig);
    EXPECT_NE(checked.error().message.find("'" + std::string(device) + "'"), std::string::npos);
    EXPECT_EQ(make_backend(device).error().code, ErrorCode::kConfig);
  }
}

TEST(MakeBackend, SeveralGpusShareTheWork) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(split_devices("auto").value(), Names{"auto"});
  EXPECT_EQ(split_devices("cuda:all").value(), Names{"cuda:all"});
  EXPECT_EQ(split_devices("cuda:3,cuda:0,cuda:1").value(), (Names{"cuda:3", "cuda:0", "cuda:1"}));
  for (const char* devices : {"", ",", "cuda:0,", ",cuda:0", "cuda:0,cuda:0", "cuda,cuda:0",
                              "cpu,cuda:0", "cuda:0,auto", "cuda:all,cuda:0", "cuda:0 cuda:1"}) {
    const auto split = split_devices(devices);
    ASSERT_FALSE(split.ok()) << devices;
    EXPECT_EQ(split.error().code, ErrorCode::kConfig);
  }
  std::string line;
  EXPECT_EQ(choose_devices("cpu", line).value(), Names{"cpu"});
  EXPECT_NE(line.find("computing on cpu"), std::string::npos) << line;
  EXPECT_FALSE(choose_devices("cuda:998,cuda:999", line).ok());
}

TEST(MakeBackend, TheCpuIsAlwaysThereAndSaysSo) {
  const Result<MadeBackend> made = make_backend("cpu");
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made->backend->memory(), MemoryKind::kHost);
  EXPECT_EQ(made->line, "computing on " + made->backend->name());
}

TEST(MakeBackend, OnlyAutoFallsBackAndSaysWhy) {
  const Result<MadeBackend> any = make_backend("auto");
  ASSERT_TRUE(any.ok()) << any.error().message;
  if (any->backend->memory() == MemoryKind::kHost) {
    EXPECT_GT(any->line.size(), ("computing on " + any->backend->name() + ": ").size());
    EXPECT_EQ(any->line.find('\n'), std::string::npos);
    const Result<MadeBackend> gpu = make_backend("cuda");
    ASSERT_FALSE(gpu.ok());
    EXPECT_EQ(gpu.error().code, ErrorCode::kDeviceFailed);
    EXPECT_NE(gpu.error().message.find("--device cpu"), std::string::npos) << gpu.error().message;
  }
  EXPECT_FALSE(make_backend("cuda:999").ok());
}

TEST(MakeBackend, CoresAreDividedAmongProcesses) {
  const int all = threads_of_one(1);
  EXPECT_GE(all, 1);
  EXPECT_EQ(threads_of_one(2), std::max(1, all / 2));
  EXPECT_EQ(threads_of_one(1000000), 1);
}

}  // namespace
}  // namespace beaverpond
