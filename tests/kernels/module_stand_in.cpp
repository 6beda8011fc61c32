// A module for the tests of its loader. Compiled with and without faults.
#include "kernels/device_module.h"

#ifdef MISSES_A_SYMBOL
extern "C" int beaverpond_defined_nowhere();
#endif

namespace {

using namespace beaverpond;

Result<int> device_count() {
#ifdef MISSES_A_SYMBOL
  return beaverpond_defined_nowhere();
#else
  return 3;
#endif
}

Result<std::unique_ptr<Backend>> make_backend(int, const ProductTuning&) {
  return make_error(ErrorCode::kDeviceFailed, "made of nothing");
}

}  // namespace

#ifndef HAS_NO_ENTRY
extern "C" const beaverpond::DeviceModule* beaverpond_cuda_module(int) {
  static const DeviceModule module{
      .version = MODULE_VERSION, .device_count = &device_count, .make_backend = &make_backend};
  return &module;
}
#else
extern "C" int beaverpond_something_else() {
  return *device_count() + (make_backend(0, {}) ? 1 : 0);
}
#endif
