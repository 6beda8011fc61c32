// The CUDA module on the stand-ins, with a trap in the place of everything that could lead to
// cuRAND: who steps on it ends the process.
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/curand_api.h"
#include "kernels/cuda/runtime.h"
#include "kernels/device_module.h"
#include "online/transport/nccl/nccl.h"

namespace beaverpond {
namespace {

[[noreturn]] void trap() {
  std::fprintf(stderr, "cuRAND was asked\n");
  std::abort();
}

Result<void> fill(const SyntheticRequest& /*request*/) {
  trap();
}
Result<std::unique_ptr<Backend>> make_backend(int device, const ProductTuning& tuning) {
  return make_cuda_backend(device, tuning);
}

}  // namespace

Result<const cuda::curand::Api*> cuda::curand::load() {
  trap();
}

}  // namespace beaverpond

extern "C" const beaverpond::DeviceModule* beaverpond_cuda_module(int) {
  using namespace beaverpond;
  static const DeviceModule module{.version = kDeviceModuleVersion,
                                   .device_count = &cuda::device_count,
                                   .make_backend = &make_backend,
                                   .connect_nccl = &connect_nccl_blocking,
                                   .fill_synthetic_blocking = &fill};
  return &module;
}
