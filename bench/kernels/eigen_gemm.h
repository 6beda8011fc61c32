// The ring matrix product as a user of Eigen would write it: the reference of the benchmark.
#pragma once

#include <cstddef>
#include <cstdint>

namespace beaverpond {

/// C[m,n] = A[m,k] * B[k,n] (mod 2^64), all row-major; A is stored as [k,m] and B as [n,k] where
/// they are transposed. The machine must have AVX2.
void eigen_gemm(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t* c, std::size_t m,
                std::size_t k, std::size_t n, bool transpose_a = false, bool transpose_b = false);

}  // namespace beaverpond
