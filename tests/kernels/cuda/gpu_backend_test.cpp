// The built module on a real GPU. Skipped where there is none.
#include "kernels/device_module.h"
#include "tests/kernels/backend_conformance.h"

namespace beaverpond {

TestedBackend make_tested_backend() {
  TestedBackend tested;
  const std::string path = BEAVERPOND_CUDA_MODULE;
  const Result<const DeviceModule*> module = load_cuda_module_from({&path, 1});
  if (!module.ok()) {
    tested.why = module.error().message;
    return tested;
  }
  Result<std::unique_ptr<Backend>> backend = module.value()->make_backend(0, {});
  if (backend.ok()) {
    tested.backend = std::move(backend).value();
  } else {
    tested.why = backend.error().message;
  }
  return tested;
}

}  // namespace beaverpond
