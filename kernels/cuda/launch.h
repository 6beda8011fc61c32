// How a kernel is started: the one place that knows. No kernel is started any other way, so that
// the same sources also compile where kernels are emulated.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

namespace beaverpond::cuda {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;  ///< dynamic shared memory of a block
};

/// What a kernel may use without asking.
inline constexpr std::size_t kSharedBytesUnasked = 48 * 1024;

/// Queues `kernel` on `stream`; arguments are copied, converted to the kernel's own types. Never
/// waits. An empty grid is no launch. Errors: CUDA's, of the launch itself; what goes wrong while
/// the kernel runs shows at a later synchronize.
template <class... Params, class... Args>
cudaError_t launch(void (*kernel)(Params...), const LaunchShape& shape, cudaStream_t stream,
                   Args&&... args) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return cudaSuccess;
  if (shape.shared_bytes > kSharedBytesUnasked) {
    const cudaError_t status = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared_bytes));
    if (status != cudaSuccess) return status;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Params>(std::forward<Args>(args))...);
}

}  // namespace beaverpond::cuda
