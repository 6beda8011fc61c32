// The operands of a matrix product as the blocked driver sees them: words at offsets that the row
// and the column add up. Strided matrices are such operands, and so are the patches of a
// convolution, which therefore are never written to memory. Internal to kernels/gemm.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gemm/gemm.h"

namespace beaverpond::internal {

/// Offsets in words along one axis: with index = (outer * middle + mid) * inner + in they are
/// in * stride + mid * middle_stride + outer * outer_stride.
struct Axis {
  static constexpr std::size_t kEndless = ~std::size_t{0};

  std::size_t stride = 0;
  std::size_t inner = kEndless;  ///< kEndless: stride alone
  std::size_t middle_stride = 0;
  std::size_t middle = kEndless;
  std::size_t outer_stride = 0;

  bool linear() const { return inner == kEndless; }
};

struct Operand {
  const std::uint64_t* data = nullptr;
  Axis rows, columns;
};

/// A[m,k] * B[k,n], one of the products that are summed. B is strided.
struct GemmTerm {
  std::size_t k = 0;
  Operand a;
  const std::uint64_t* b = nullptr;
  std::size_t b_row_stride = 0, b_column_stride = 0;
};

inline constexpr std::size_t kMostTerms = 2;

/// C[m,n] = or += the sum of the terms; workspace aligned to 64 bytes. Columns of C are consecutive
/// words. Rows may overlap when they are added to: each is read and written in turn.
struct GemmTask {
  std::size_t m = 0, n = 0;
  GemmTerm terms[kMostTerms];
  std::size_t term_count = 0;
  std::uint64_t* c = nullptr;
  Axis c_rows;
  bool accumulate = false;
  std::uint64_t* workspace = nullptr;
};

/// Runs a task on a kernel, after checks of its workspace; zero sizes included.
void run_gemm_task(GemmTask task, std::span<std::byte> workspace, GemmKernel kernel);

void gemm_portable(const GemmTask& task);
void gemm_avx2(const GemmTask& task);
void gemm_avx512(const GemmTask& task);
void gemm_hybrid(const GemmTask& task);

}  // namespace beaverpond::internal
