#include <string>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/probe.cuh"
#include "kernels/cuda/probe.h"
#include "kernels/cuda/runtime.h"

namespace beaverpond::cuda {
namespace {

constexpr unsigned kCount = 100;  // not a multiple of a warp

}  // namespace

Result<void> probe_blocking(MemoryPool& pool) {
  const std::string what = "cuda:" + std::to_string(pool.device()) + " does not run this module";
  BP_TRY(use_device(pool.device()));
  BP_ASSIGN(const Buffer words, pool.allocate(ByteCount{kCount * 8}));
  BP_ASSIGN(const Buffer seen, allocate_pinned(ByteCount{kCount * 8}));
  auto* const out = reinterpret_cast<unsigned long long*>(words.words().data());
  BP_TRY(
      check(launch(probe_kernel, LaunchShape{dim3(4), dim3(32)}, pool.home(), out, kCount), what));
  const Result<void> copied = check(
      cudaMemcpyAsync(seen.bytes().data(), out, kCount * 8, cudaMemcpyDeviceToHost, pool.home()),
      what);
  // Also after a failure: no copy may be under way when `seen` ends.
  BP_TRY(pool.await_blocking(pool.home()));
  BP_TRY(copied);
  for (unsigned i = 0; i < kCount; ++i) {
    if (seen.words()[i] != (i + 1ULL) * kProbeFactor) {
      return make_error(ErrorCode::kDeviceFailed,
                        what + ": a kernel wrote wrong words; see nvidia-smi, or use --device cpu");
    }
  }
  return {};
}

}  // namespace beaverpond::cuda
