// The ring matrix product C = A * B (mod 2^64) on the CPU, with kernels chosen at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace beaverpond {

/// A matrix of ring words seen through two strides (in words); a transposed view swaps them.
struct MatrixView {
  const std::uint64_t* data = nullptr;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t row_stride = 0;
  std::size_t column_stride = 1;

  MatrixView transposed() const { return {data, columns, rows, column_stride, row_stride}; }
};

/// Row-major view, optionally transposed: `rows` x `columns` are the sizes as stored.
inline MatrixView row_major(const std::uint64_t* data, std::size_t rows, std::size_t columns,
                            bool transpose = false) {
  const MatrixView view{data, rows, columns, columns, 1};
  return transpose ? view.transposed() : view;
}

/// kHybrid: AVX-512 IFMA and VNNI. kAvx512: AVX-512DQ, whose 64-bit multiplication is one operation
/// on AMD and three on Intel.
enum class GemmKernel { kAuto, kHybrid, kAvx512, kAvx2, kPortable };

bool gemm_kernel_supported(GemmKernel kernel);
/// The fastest kernel this machine can run; kAuto resolves to it.
GemmKernel best_gemm_kernel();
const char* to_string(GemmKernel kernel);

/// Bytes of scratch memory gemm() wants (64-byte aligned), for any shape.
std::size_t gemm_workspace_size_bytes();

/// C[m,n] (row-major, row stride `ldc` words) = A[m,k] * B[k,n], or += when `accumulate`.
/// C overlaps neither A nor B. Any shape, zero sizes included; never allocates; one thread.
/// Asking for a kernel this machine cannot run is a broken invariant.
void gemm(const MatrixView& a, const MatrixView& b, std::uint64_t* c, std::size_t ldc,
          bool accumulate, std::span<std::byte> workspace, GemmKernel kernel = GemmKernel::kAuto);

/// Two operands of a product.
struct Factors {
  MatrixView a, b;
};

/// C = or += the sum of one or two products of equal m and n, whatever their k: [A | A2] [B; B2]
/// without writing either down. Else as gemm().
void gemm_sum(std::span<const Factors> factors, std::uint64_t* c, std::size_t ldc, bool accumulate,
              std::span<std::byte> workspace, GemmKernel kernel = GemmKernel::kAuto);

}  // namespace beaverpond
