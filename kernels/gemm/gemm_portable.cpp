#include "kernels/gemm/gemm_driver.h"

namespace beaverpond::internal {
namespace {

struct TilePortable {
  static constexpr std::size_t kRows = 4;
  static constexpr std::size_t kColumns = 4;

  template <std::size_t rows>
  static void multiply_rows(const ABlock& a, const std::uint64_t* b, std::size_t columns,
                            std::size_t depth, const CTile& c) {
    std::uint64_t sums[rows][kColumns] = {};
    const std::uint64_t* left = a.data;
    for (std::size_t k = 0; k < depth; ++k, b += kColumns, left += a.k_stride) {
      for (std::size_t r = 0; r < rows; ++r) {
        const std::uint64_t word = left[r * a.row_stride];
        for (std::size_t j = 0; j < kColumns; ++j) sums[r][j] += word * b[j];
      }
    }
    for (std::size_t r = 0; r < rows; ++r) {
      std::uint64_t* out = c.data + r * c.ldc;
      for (std::size_t j = 0; j < columns; ++j) out[j] = sums[r][j] + (c.add ? out[j] : 0);
    }
  }

  static void multiply(const ABlock& a, const std::uint64_t* b, std::size_t rows,
                       std::size_t columns, std::size_t depth, const CTile& c) {
    switch (rows) {
      case 1: return multiply_rows<1>(a, b, columns, depth, c);
      case 2: return multiply_rows<2>(a, b, columns, depth, c);
      case 3: return multiply_rows<3>(a, b, columns, depth, c);
      default: return multiply_rows<4>(a, b, columns, depth, c);
    }
  }
};

}  // namespace

void gemm_portable(const GemmTask& task) {
  run_gemm<TilePortable>(task);
}

}  // namespace beaverpond::internal
