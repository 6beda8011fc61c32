#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/xor_parts.h"
#include "kernels/cuda/xor_reduce.cuh"

namespace beaverpond::cuda {

Result<void> xor_parts(std::span<const std::uint64_t> parts, int players,
                       std::span<std::uint64_t> out, cudaStream_t stream) {
  constexpr unsigned kThreads = 256;
  // Bounded by the memory: a few blocks on each multiprocessor of any device keep it busy.
  constexpr std::uint64_t kMostBlocks = 2048;
  const std::uint64_t blocks = (out.size() + kThreads - 1) / kThreads;
  const LaunchShape shape{dim3(static_cast<unsigned>(std::min(blocks, kMostBlocks))),
                          dim3(kThreads), 0};
  return check(launch(xor_reduce<std::uint64_t>, shape, stream, parts.data(), out.data(),
                      std::uint64_t{out.size()}, players),
               "cannot start the opening of bits");
}

}  // namespace beaverpond::cuda
