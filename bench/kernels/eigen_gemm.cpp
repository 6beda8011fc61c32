#include "bench/kernels/eigen_gemm.h"

#include <Eigen/Core>

namespace beaverpond {

void eigen_gemm(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t* c, std::size_t m,
                std::size_t k, std::size_t n, bool transpose_a, bool transpose_b) {
  // Unsigned words: the same products as signed ones, and no overflow that is undefined.
  using Matrix = Eigen::Matrix<std::uint64_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto size = [](std::size_t x) { return static_cast<Eigen::Index>(x); };
  const auto view = [&](const std::uint64_t* data, std::size_t rows, std::size_t columns) {
    return Eigen::Map<const Matrix>(data, size(rows), size(columns));
  };
  Eigen::Map<Matrix> out(c, size(m), size(n));
  if (transpose_a) {
    out.noalias() = view(a, k, m).transpose() * view(b, k, n);
  } else if (transpose_b) {
    out.noalias() = view(a, m, k) * view(b, n, k).transpose();
  } else {
    out.noalias() = view(a, m, k) * view(b, k, n);
  }
}

}  // namespace beaverpond
