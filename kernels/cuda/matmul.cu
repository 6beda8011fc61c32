#include <algorithm>

#include "kernels/cuda/products.cuh"

namespace beaverpond::cuda {
namespace {

constexpr std::uint64_t kMostIndex = std::uint64_t{1} << 31;

}  // namespace

void multiply_matrices(Work& work, const ProductOptions& options, const MatMulShape& shape,
                       const std::uint64_t* x, const std::uint64_t* y, std::uint64_t* out,
                       bool accumulate, cudaStream_t stream) {
  BP_CHECK(shape.m < kMostIndex && shape.n < kMostIndex && shape.k < kMostIndex,
           "a matrix has fewer than 2^31 rows and columns");
  const ProductSize size{static_cast<std::uint32_t>(shape.m), static_cast<std::uint32_t>(shape.n),
                         static_cast<std::uint32_t>(shape.k)};
  const MatrixOperand a =
      shape.transpose_x ? MatrixOperand{x, 1, shape.m, false} : MatrixOperand{x, shape.k, 1, true};
  const MatrixOperand b =
      shape.transpose_y ? MatrixOperand{y, shape.k, 1, true} : MatrixOperand{y, 1, shape.n, false};
  multiply_any(work, options, size, a, b, out, accumulate, stream);
}

}  // namespace beaverpond::cuda
