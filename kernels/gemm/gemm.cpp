#include "kernels/gemm/gemm.h"

#include <cstring>

#include "beaverpond/check.h"
#include "kernels/features.h"
#include "kernels/gemm/gemm_driver.h"

namespace beaverpond {
namespace {

constexpr std::size_t kAlignment = 64;

}  // namespace

bool gemm_kernel_supported(GemmKernel kernel) {
  switch (kernel) {
    case GemmKernel::kAuto:
    case GemmKernel::kPortable: return true;
    case GemmKernel::kAvx2: return cpu_has_avx2();
    case GemmKernel::kAvx512: return cpu_has_avx512();
    case GemmKernel::kHybrid: return cpu_has_avx512() && cpu_has_ifma_and_vnni();
  }
  return false;
}

GemmKernel best_gemm_kernel() {
  if (cpu_is_intel() && gemm_kernel_supported(GemmKernel::kHybrid)) return GemmKernel::kHybrid;
  for (GemmKernel kernel : {GemmKernel::kAvx512, GemmKernel::kAvx2}) {
    if (gemm_kernel_supported(kernel)) return kernel;
  }
  return GemmKernel::kPortable;
}

const char* to_string(GemmKernel kernel) {
  switch (kernel) {
    case GemmKernel::kAuto: return "auto";
    case GemmKernel::kHybrid: return "hybrid";
    case GemmKernel::kAvx512: return "avx512";
    case GemmKernel::kAvx2: return "avx2";
    case GemmKernel::kPortable: return "portable";
  }
  return "unknown";
}

std::size_t gemm_workspace_size_bytes() {
  return internal::kGemmWorkspaceWords * 8;
}

void gemm(const MatrixView& a, const MatrixView& b, std::uint64_t* c, std::size_t ldc,
          bool accumulate, std::span<std::byte> workspace, GemmKernel kernel) {
  BP_CHECK(a.columns == b.rows, "the shapes of a matrix product do not fit");
  BP_CHECK(workspace.size() >= gemm_workspace_size_bytes() &&
               reinterpret_cast<std::uintptr_t>(workspace.data()) % kAlignment == 0,
           "the workspace of a matrix product is too small or not aligned");
  BP_CHECK(gemm_kernel_supported(kernel), "this machine lacks the matrix kernel asked for");
  const std::size_t m = a.rows, n = b.columns, k = a.columns;
  if (m == 0 || n == 0) return;
  BP_CHECK(m == 1 || ldc >= n, "the rows of the result overlap");
  if (k == 0) {
    for (std::size_t i = 0; i < m && !accumulate; ++i) std::memset(c + i * ldc, 0, n * 8);
    return;
  }
  const internal::GemmTask task{m,
                                n,
                                k,
                                a.data,
                                a.row_stride,
                                a.column_stride,
                                b.data,
                                b.row_stride,
                                b.column_stride,
                                c,
                                ldc,
                                accumulate,
                                reinterpret_cast<std::uint64_t*>(workspace.data())};
  switch (kernel == GemmKernel::kAuto ? best_gemm_kernel() : kernel) {
    case GemmKernel::kHybrid: return internal::gemm_hybrid(task);
    case GemmKernel::kAvx512: return internal::gemm_avx512(task);
    case GemmKernel::kAvx2: return internal::gemm_avx2(task);
    default: return internal::gemm_portable(task);
  }
}

}  // namespace beaverpond
