// A module for the tests of SyntheticSource: it answers with what it was asked, and fails where
// BEAVERPOND_TEST_NO_GPU is set, or with GPUs but the first.
#include <cstdlib>
#include <cstring>

#include "kernels/device_module.h"
#include "kernels/synthetic/request.h"

namespace {

using namespace beaverpond;

Result<void> fill(const SyntheticRequest& request) {
  if (request.device > 0) return make_error(ErrorCode::kConfig, "no such GPU; there is one");
  if (request.device == 0 && std::getenv("BEAVERPOND_TEST_NO_GPU") != nullptr) {
    return make_error(ErrorCode::kDeviceFailed, "no GPU today; use another day");
  }
  const std::uint32_t answer[4] = {
      static_cast<std::uint32_t>(request.device), static_cast<std::uint32_t>(request.sequence_seed),
      static_cast<std::uint32_t>(request.first_word), static_cast<std::uint32_t>(request.memory)};
  if (request.out.size() >= sizeof answer) std::memcpy(request.out.data(), answer, sizeof answer);
  return {};
}

}  // namespace

extern "C" const beaverpond::DeviceModule* beaverpond_cuda_module(int) {
  static const DeviceModule module{.version = kDeviceModuleVersion,
                                   .fill_synthetic_blocking = &fill};
  return &module;
}
