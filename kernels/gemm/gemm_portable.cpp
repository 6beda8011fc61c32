#include "kernels/gemm/gemm_driver.h"

namespace beaverpond::internal {
namespace {

struct TilePortable : WordTile {
  using WordTile::WordTile;
  static constexpr std::size_t kRows = 4;
  static constexpr std::size_t kColumns = 4;

  static std::size_t unit() { return kColumns; }
  static std::size_t most_columns() { return kColumns; }

  template <std::size_t rows>
  static void multiply_rows(const TileJob& job) {
    std::uint64_t sums[rows][kColumns] = {};
    for (std::size_t s = 0; s < job.segments; ++s) {
      const ASegment& a = job.a[s];
      const std::uint64_t* b = job.b[s].data;
      for (std::size_t k = 0; k < a.depth; ++k, b += job.b[s].step) {
        for (std::size_t r = 0; r < rows; ++r) {
          const std::uint64_t word = a.data[a.rows[r] + a.ks[k]];
          for (std::size_t j = 0; j < kColumns; ++j) sums[r][j] += word * b[j];
        }
      }
    }
    for (std::size_t r = 0; r < rows; ++r) {
      std::uint64_t* out = job.c + job.c_rows[r];
      for (std::size_t j = 0; j < job.columns; ++j) out[j] = sums[r][j] + (job.add ? out[j] : 0);
    }
  }

  static void multiply(const TileJob& job) {
    switch (job.rows) {
      case 1: return multiply_rows<1>(job);
      case 2: return multiply_rows<2>(job);
      case 3: return multiply_rows<3>(job);
      default: return multiply_rows<4>(job);
    }
  }
};

}  // namespace

void gemm_portable(const GemmTask& task) {
  run_gemm<TilePortable>(task);
}

}  // namespace beaverpond::internal
