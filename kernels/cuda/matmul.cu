#include <algorithm>

#include "kernels/cuda/products.cuh"

namespace beaverpond::cuda {
namespace {

constexpr std::uint64_t kMostIndex = std::uint64_t{1} << 31;

double rounded(std::uint64_t size, std::uint64_t tile) {
  return static_cast<double>((size + tile - 1) / tile * tile);
}

}  // namespace

ProductMethod fastest_method(const ProductRates& rates, std::uint64_t m, std::uint64_t n,
                             std::uint64_t k) {
  const std::uint64_t tile_n = n <= 16 ? 16 : n <= 32 ? 32 : 64;
  const std::uint64_t tile_m = n <= 32 ? 128 : 64;
  const double words = rates.launch_ns + rounded(m, tile_m) * rounded(n, tile_n) *
                                             rounded(k, 16) / rates.words_macs;
  const double macs = kModuli * rounded(m, 128) * rounded(n, 128) * rounded(k, 64);
  const double converted = static_cast<double>(m) * rounded(k, 64) +
                           static_cast<double>(n) * rounded(k, 64) +
                           static_cast<double>(m) * rounded(n, 16);
  const double residues =
      4 * rates.launch_ns + macs / rates.residue_macs + converted / rates.converted_words;
  return residues < words ? ProductMethod::kResidues : ProductMethod::kWords;
}

void multiply_matrices(Work& work, const ProductOptions& options, const MatMulShape& shape,
                       const std::uint64_t* x, const std::uint64_t* y, std::uint64_t* out,
                       bool accumulate, cudaStream_t stream) {
  BP_CHECK(shape.m < kMostIndex && shape.n < kMostIndex && shape.k < kMostIndex,
           "a matrix has fewer than 2^31 rows and columns");
  const ProductSize size{static_cast<std::uint32_t>(shape.m), static_cast<std::uint32_t>(shape.n),
                         static_cast<std::uint32_t>(shape.k)};
  const MatrixOperand a = shape.transpose_x ? MatrixOperand{x, 1, shape.m, false}
                                            : MatrixOperand{x, shape.k, 1, true};
  const MatrixOperand b = shape.transpose_y ? MatrixOperand{y, shape.k, 1, true}
                                            : MatrixOperand{y, 1, shape.n, false};
  multiply_any(work, options, size, a, b, out, accumulate, stream);
}

}  // namespace beaverpond::cuda
