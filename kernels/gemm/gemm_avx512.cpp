#include <immintrin.h>

#include "kernels/gemm/gemm_driver.h"

namespace beaverpond::internal {
namespace {

/// rows x (8 * vectors) words of C in registers: 24 accumulators at most, and vpmullq (AVX-512DQ)
/// straight on the broadcast words of A. Row pointers go three to a base register, because x86
/// addresses scale an index by 1 and 2 but not by 3.
template <std::size_t rows, std::size_t vectors>
inline void tile_avx512(const ABlock& a, const std::uint64_t* b, std::size_t columns,
                        std::size_t depth, const CTile& c) {
  __m512i sums[rows][vectors];
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t v = 0; v < vectors; ++v) sums[r][v] = _mm512_setzero_si512();
  }
  const std::uint64_t* base[(rows + 2) / 3];
  for (std::size_t g = 0; g < (rows + 2) / 3; ++g) {
    base[g] = a.data + 3 * g * a.row_stride;
  }
  for (std::size_t k = 0; k < depth; ++k, b += 16) {
    __m512i right[vectors];
    for (std::size_t v = 0; v < vectors; ++v) right[v] = _mm512_loadu_si512(b + 8 * v);
#pragma GCC unroll 12
    for (std::size_t r = 0; r < rows; ++r) {
      const std::uint64_t word = base[r / 3][(r % 3) * a.row_stride];
      const __m512i left = _mm512_set1_epi64(static_cast<long long>(word));
      for (std::size_t v = 0; v < vectors; ++v) {
        sums[r][v] = _mm512_add_epi64(sums[r][v], _mm512_mullo_epi64(left, right[v]));
      }
    }
    for (auto& pointer : base) pointer += a.k_stride;
  }
  for (std::size_t v = 0; v < vectors; ++v) {
    const std::size_t left = columns - 8 * v;
    const auto mask = static_cast<__mmask8>(left >= 8 ? 0xffu : (1u << left) - 1u);
    for (std::size_t r = 0; r < rows; ++r) {
      std::uint64_t* out = c.data + r * c.ldc + 8 * v;
      if (c.add) sums[r][v] = _mm512_add_epi64(sums[r][v], _mm512_maskz_loadu_epi64(mask, out));
      _mm512_mask_storeu_epi64(out, mask, sums[r][v]);
    }
  }
}

struct TileAvx512 {
  static constexpr std::size_t kRows = 12;
  static constexpr std::size_t kColumns = 16;

  template <std::size_t rows>
  static void multiply_rows(const ABlock& a, const std::uint64_t* b, std::size_t tile_rows,
                            std::size_t columns, std::size_t depth, const CTile& c) {
    if constexpr (rows > 1) {
      if (tile_rows < rows) {
        return multiply_rows<rows - 1>(a, b, tile_rows, columns, depth, c);
      }
    }
    if (columns > 8) {
      tile_avx512<rows, 2>(a, b, columns, depth, c);
    } else {
      tile_avx512<rows, 1>(a, b, columns, depth, c);
    }
  }

  static void multiply(const ABlock& a, const std::uint64_t* b, std::size_t rows,
                       std::size_t columns, std::size_t depth, const CTile& c) {
    multiply_rows<kRows>(a, b, rows, columns, depth, c);
  }
};

}  // namespace

void gemm_avx512(const GemmTask& task) {
  run_gemm<TileAvx512>(task);
}

}  // namespace beaverpond::internal
