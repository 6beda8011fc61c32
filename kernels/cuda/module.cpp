// The one function that libbeaverpond_cuda.so exports.
#include <memory>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/synthetic.h"
#include "kernels/device_module.h"
#include "online/transport/nccl/nccl.h"

namespace {

using namespace beaverpond;

Result<std::unique_ptr<Backend>> make_backend(int device, const ProductTuning& tuning) {
  return make_cuda_backend(device, tuning);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const beaverpond::DeviceModule*
beaverpond_cuda_module(int /*version*/) {
  static const DeviceModule module{
      .version = kDeviceModuleVersion,
      .device_count = &cuda::device_count,
      .make_backend = &make_backend,
      .connect_nccl = &connect_nccl_blocking,
      .fill_synthetic_blocking = &cuda::fill_synthetic_blocking,
  };
  return &module;
}
