#include "tests/fake_cuda/jobs/loaded_module.h"

#include <span>
#include <string>
#include <utility>

#include "kernels/device_module.h"
#include "online/transport/nccl_options.h"

extern "C" const beaverpond::DeviceModule* beaverpond_cuda_module(int version);

namespace beaverpond {
namespace {

testing::DecorateGpus& decoration() {
  static testing::DecorateGpus instance;
  return instance;
}

Result<std::unique_ptr<Transport>> connect_decorated(Transport& control, const NcclOptions& options,
                                                     Deadline deadline) {
  auto made =
      beaverpond_cuda_module(kDeviceModuleVersion)->connect_nccl(control, options, deadline);
  if (!made.ok() || !decoration()) return made;
  return decoration()(std::move(made).value());
}

}  // namespace

void testing::decorate_gpu_transports(DecorateGpus decorate) {
  decoration() = std::move(decorate);
}

Result<const DeviceModule*> load_cuda_module() {
  static const DeviceModule module = [] {
    DeviceModule decorated = *beaverpond_cuda_module(kDeviceModuleVersion);
    decorated.connect_nccl = &connect_decorated;
    return decorated;
  }();
  return &module;
}

Result<const DeviceModule*> load_cuda_module_from(std::span<const std::string> /*paths*/) {
  return load_cuda_module();
}

}  // namespace beaverpond
