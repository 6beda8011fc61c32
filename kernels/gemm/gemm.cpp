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

namespace {

internal::Operand operand(const MatrixView& view) {
  return {view.data, {.stride = view.row_stride}, {.stride = view.column_stride}};
}

}  // namespace

namespace internal {

void run_gemm_task(GemmTask task, std::span<std::byte> workspace, GemmKernel kernel) {
  BP_CHECK(workspace.size() >= gemm_workspace_size_bytes() &&
               reinterpret_cast<std::uintptr_t>(workspace.data()) % kAlignment == 0,
           "the workspace of a matrix product is too small or not aligned");
  BP_CHECK(gemm_kernel_supported(kernel), "this machine lacks the matrix kernel asked for");
  task.workspace = reinterpret_cast<std::uint64_t*>(workspace.data());
  if (task.m == 0 || task.n == 0) return;
  std::size_t k = 0;
  for (std::size_t t = 0; t < task.term_count; ++t) k += task.terms[t].k;
  if (k == 0) {
    BP_CHECK(task.accumulate || task.c_rows.linear(), "only rows of a matrix can be zeroed");
    for (std::size_t i = 0; i < task.m && !task.accumulate; ++i) {
      std::memset(task.c + i * task.c_rows.stride, 0, task.n * 8);
    }
    return;
  }
  switch (kernel == GemmKernel::kAuto ? best_gemm_kernel() : kernel) {
    case GemmKernel::kHybrid: return gemm_hybrid(task);
    case GemmKernel::kAvx512: return gemm_avx512(task);
    case GemmKernel::kAvx2: return gemm_avx2(task);
    default: return gemm_portable(task);
  }
}

}  // namespace internal

void gemm_sum(std::span<const Factors> factors, std::uint64_t* c, std::size_t ldc, bool accumulate,
              std::span<std::byte> workspace, GemmKernel kernel) {
  BP_CHECK(!factors.empty() && factors.size() <= internal::kMostTerms,
           "a sum of matrix products has one or two terms");
  internal::GemmTask task;
  task.m = factors[0].a.rows;
  task.n = factors[0].b.columns;
  for (const auto& [a, b] : factors) {
    BP_CHECK(a.columns == b.rows && a.rows == task.m && b.columns == task.n,
             "the shapes of a matrix product do not fit");
    task.terms[task.term_count++] = {a.columns, operand(a), b.data, b.row_stride, b.column_stride};
  }
  BP_CHECK(task.m <= 1 || ldc >= task.n, "the rows of the result overlap");
  task.c = c;
  task.c_rows.stride = ldc;
  task.accumulate = accumulate;
  internal::run_gemm_task(task, workspace, kernel);
}

void gemm(const MatrixView& a, const MatrixView& b, std::uint64_t* c, std::size_t ldc,
          bool accumulate, std::span<std::byte> workspace, GemmKernel kernel) {
  const Factors factors[] = {{a, b}};
  gemm_sum(factors, c, ldc, accumulate, workspace, kernel);
}

}  // namespace beaverpond
