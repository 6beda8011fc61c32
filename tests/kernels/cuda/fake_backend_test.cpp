// The backend's own sources on emulated kernels and the runtime's stand-in.
#include "kernels/cuda/cuda_backend.h"
#include "tests/kernels/backend_conformance.h"

namespace beaverpond {

namespace {

cuda::WorkLimits limits() {
#ifdef BEAVERPOND_TINY_LIMITS
  return {.chunk_bytes = 9000,
          .plane_bytes = 20000,
          .residue_depth = 128,
          .stream_units = 24,
          .grid_rows = 2};
#else
  return {};
#endif
}

}  // namespace

TestedBackend make_tested_backend() {
  TestedBackend tested;
  tested.scale = 0.01;
  Result<std::unique_ptr<Backend>> backend =
      make_cuda_backend(0, {.method = BEAVERPOND_PRODUCT_METHOD}, limits());
  if (backend.ok()) {
    tested.backend = std::move(backend).value();
  } else {
    tested.why = backend.error().message;
  }
  return tested;
}

}  // namespace beaverpond
