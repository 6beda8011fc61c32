#include "bench/kernels/eigen_gemm.h"

#include <Eigen/Core>

namespace beaverpond {

void eigen_gemm(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t* c, std::size_t m,
                std::size_t k, std::size_t n) {
  // Unsigned words: the same products as signed ones, and no overflow that is undefined.
  using Matrix = Eigen::Matrix<std::uint64_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto size = [](std::size_t x) { return static_cast<Eigen::Index>(x); };
  const Eigen::Map<const Matrix> left(a, size(m), size(k)), right(b, size(k), size(n));
  Eigen::Map<Matrix>(c, size(m), size(n)).noalias() = left * right;
}

}  // namespace beaverpond
