// The one function that libbeaverpond_cuda.so exports.
#include <memory>

#include "kernels/cuda/runtime.h"
#include "kernels/device_module.h"
#include "online/transport/nccl/nccl.h"
#if __has_include("kernels/cuda/cuda_backend.h")
#include "kernels/cuda/cuda_backend.h"
#endif

namespace {

using namespace beaverpond;

#if __has_include("kernels/cuda/cuda_backend.h")
Result<std::unique_ptr<Backend>> make_backend(int device) {
  return make_cuda_backend(device);
}
#else
Result<std::unique_ptr<Backend>> make_backend(int device) {
  BP_TRY(cuda::device_properties(device));
  return make_error(ErrorCode::kDeviceFailed, "this module has no backend");
}
#endif

}  // namespace

extern "C" __attribute__((visibility("default"))) const beaverpond::DeviceModule*
beaverpond_cuda_module(int /*version*/) {
  static const DeviceModule module{
      .version = kDeviceModuleVersion,
      .device_count = &cuda::device_count,
      .make_backend = &make_backend,
      .connect_nccl = &connect_nccl_blocking,
  };
  return &module;
}
