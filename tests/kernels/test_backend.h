// The backend that tests of other layers run on, so that the same tests serve every device.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "kernels/make_backend.h"
#include "tests/kernels/far_backend.h"
#include "tests/kernels/gpu_here.h"

#ifdef BEAVERPOND_TEST_ON_FAKE_CUDA
#include "kernels/cuda/cuda_backend.h"
#endif

namespace beaverpond::testing {

/// BEAVERPOND_TEST_BACKEND: "far", or a device as make_backend() takes it; without it the CPU.
/// Where the device is not there the whole test ends as skipped.
inline std::unique_ptr<Backend> test_backend() {
#ifdef BEAVERPOND_TEST_ON_FAKE_CUDA
  return std::move(make_cuda_backend(0)).value();
#endif
  const char* const wanted = std::getenv("BEAVERPOND_TEST_BACKEND");
  const std::string device = wanted == nullptr ? "cpu" : wanted;
  if (device == "far") return std::make_unique<FarBackend>();
  Result<MadeBackend> made = make_backend(device);
  if (!made.ok()) {
    const bool failed = gpu_here();
    std::fprintf(stderr, "%s: %s\n", failed ? "failed" : "skipped", made.error().message.c_str());
    std::_Exit(failed ? 1 : 77);
  }
  return std::move(made->backend);
}

}  // namespace beaverpond::testing
