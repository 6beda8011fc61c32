#include "kernels/device_module.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace beaverpond {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string failure(const std::vector<std::string>& paths) {
  const Result<const DeviceModule*> loaded = load_cuda_module_from(paths);
  if (loaded.ok()) return "loaded";
  EXPECT_EQ(loaded.error().code, ErrorCode::kDeviceFailed);
  EXPECT_THAT(loaded.error().message, Not(HasSubstr("\n")));
  EXPECT_THAT(loaded.error().message, HasSubstr("--device cpu"));
  return loaded.error().message;
}

TEST(DeviceModule, AbsentIsOneClearLine) {
  EXPECT_THAT(failure({"/nonexistent/libbeaverpond_cuda.so", "libbeaverpond_no_such.so"}),
              HasSubstr("no CUDA module (libbeaverpond_cuda.so) is installed"));
}

TEST(DeviceModule, LoadsAndAnswers) {
  const std::vector<std::string> paths{"/nonexistent/module.so", BEAVERPOND_MODULE_GOOD};
  const Result<const DeviceModule*> loaded = load_cuda_module_from(paths);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_EQ((*loaded)->version, kDeviceModuleVersion);
  EXPECT_EQ(*(*loaded)->device_count(), 3);
  EXPECT_EQ((*loaded)->make_backend(0, {}).error().message, "made of nothing");
}

TEST(DeviceModule, AnotherVersionIsRefusedAndNamed) {
  const std::string text = failure({BEAVERPOND_MODULE_OTHER});
  EXPECT_THAT(text, HasSubstr(BEAVERPOND_MODULE_OTHER));
  EXPECT_THAT(text,
              HasSubstr("another version's module (" + std::to_string(kDeviceModuleVersion + 1) +
                        ", this program needs " + std::to_string(kDeviceModuleVersion) + ")"));
}

TEST(DeviceModule, ALibraryWithoutTheEntryIsNoModule) {
  EXPECT_THAT(failure({BEAVERPOND_MODULE_NONE}), HasSubstr("is not a module of Beaverpond"));
}

std::string file_in_temp(const std::string& name) {
  return std::filesystem::path(::testing::TempDir()) / name;
}

TEST(DeviceModule, ADamagedFileIsReportedAndHidesWhatComesAfter) {
  const std::string file = file_in_temp("beaverpond_not_elf.so");
  std::ofstream(file) << std::string(1000, '!');
  EXPECT_THAT(failure({file, BEAVERPOND_MODULE_GOOD}), HasSubstr(file + " is damaged"));
  std::filesystem::remove(file);
}

TEST(DeviceModule, ACutOffFileIsReported) {
  const std::string file = file_in_temp("beaverpond_cut_off.so");
  const std::uintmax_t size = std::filesystem::file_size(BEAVERPOND_MODULE_GOOD);
  // The loader of the system would map the parts that are gone, and die of it.
  for (const std::uintmax_t kept : {std::uintmax_t{0}, std::uintmax_t{64}, size / 2, size - 1}) {
    std::filesystem::copy_file(BEAVERPOND_MODULE_GOOD, file,
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(file, kept);
    EXPECT_THAT(failure({file}), HasSubstr(file + " is damaged")) << kept;
  }
  std::filesystem::remove(file);
}

TEST(DeviceModule, AModuleThatMissesALibrarySaysWhich) {
  EXPECT_THAT(failure({BEAVERPOND_MODULE_NEEDY}), HasSubstr("cannot load the CUDA module"));
}

}  // namespace
}  // namespace beaverpond
