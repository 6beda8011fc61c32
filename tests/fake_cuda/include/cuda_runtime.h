// Stand-in for CUDA's header of the same name: the runtime's calls, and kernels, which run on the
// SIMT emulator (tests/simt) when their turn in the stream comes.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <tuple>
#include <utility>

#include "simt/device.h"
#include "simt/run.h"

struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

namespace fake_cuda {

/// Queues a kernel whose whole grid `run` carries out.
cudaError_t queue_kernel(const void* kernel, const cudaLaunchConfig_t& config,
                         std::function<void(const simt::Options&)> run);
cudaError_t allow_shared(const void* kernel, cudaFuncAttribute attribute, int value);

}  // namespace fake_cuda

template <class... Params>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Params...), cudaFuncAttribute attribute,
                                 int value) {
  return fake_cuda::allow_shared(reinterpret_cast<const void*>(kernel), attribute, value);
}

template <class... Params, class... Args>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Params...),
                               Args&&... args) {
  using Arguments = std::tuple<std::decay_t<Params>...>;
  static_assert((0 + ... + sizeof(Params)) <= 4096, "CUDA passes 4 KiB of arguments");
  return fake_cuda::queue_kernel(
      reinterpret_cast<const void*>(kernel), *config,
      [kernel, config = *config,
       arguments = Arguments(std::forward<Args>(args)...)](const simt::Options& options) {
        std::apply(
            [&](const auto&... each) {
              simt::run(options, kernel, config.gridDim, config.blockDim, config.dynamicSmemBytes,
                        each...);
            },
            arguments);
      });
}
