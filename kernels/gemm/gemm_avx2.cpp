#include <immintrin.h>

#include "kernels/gemm/gemm_driver.h"

namespace beaverpond::internal {
namespace {

/// A mask of the first `count` of four words.
inline __m256i first_words(std::size_t count) {
  const __m256i lane = _mm256_set_epi64x(3, 2, 1, 0);
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(static_cast<long long>(count)), lane);
}

/// With a = a0 + 2^32 a1: a * b = a0*b0 + 2^32 (a0*b1 + a1*b0). One vpmuludq sums the first
/// product, one vpmulld both cross products, each mod 2^32 in its own half of a lane.
template <std::size_t rows>
inline void tile_avx2(const ABlock& a, const std::uint64_t* b, std::size_t columns,
                      std::size_t depth, const CTile& c) {
  __m256i low[rows][2], cross[rows][2];
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t v = 0; v < 2; ++v) low[r][v] = cross[r][v] = _mm256_setzero_si256();
  }
  const std::uint64_t* left = a.data;
  for (std::size_t k = 0; k < depth; ++k, b += 8, left += a.k_stride) {
    for (std::size_t v = 0; v < 2; ++v) {
      const __m256i right = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + 4 * v));
      const __m256i swapped = _mm256_shuffle_epi32(right, 0xb1);
      for (std::size_t r = 0; r < rows; ++r) {
        const __m256i word = _mm256_set1_epi64x(static_cast<long long>(left[r * a.row_stride]));
        low[r][v] = _mm256_add_epi64(low[r][v], _mm256_mul_epu32(word, right));
        cross[r][v] = _mm256_add_epi32(cross[r][v], _mm256_mullo_epi32(word, swapped));
      }
    }
  }
  for (std::size_t v = 0; v < 2; ++v) {
    const std::size_t start = 4 * v;
    if (columns <= start) break;
    const __m256i mask = first_words(columns - start);
    for (std::size_t r = 0; r < rows; ++r) {
      auto* out = reinterpret_cast<long long*>(c.data + r * c.ldc + start);
      const __m256i both = _mm256_add_epi32(cross[r][v], _mm256_srli_epi64(cross[r][v], 32));
      __m256i sum = _mm256_add_epi64(low[r][v], _mm256_slli_epi64(both, 32));
      if (c.add) sum = _mm256_add_epi64(sum, _mm256_maskload_epi64(out, mask));
      _mm256_maskstore_epi64(out, mask, sum);
    }
  }
}

struct TileAvx2 {
  static constexpr std::size_t kRows = 3;
  static constexpr std::size_t kColumns = 8;

  static void multiply(const ABlock& a, const std::uint64_t* b, std::size_t rows,
                       std::size_t columns, std::size_t depth, const CTile& c) {
    switch (rows) {
      case 1: return tile_avx2<1>(a, b, columns, depth, c);
      case 2: return tile_avx2<2>(a, b, columns, depth, c);
      default: return tile_avx2<3>(a, b, columns, depth, c);
    }
  }
};

}  // namespace

void gemm_avx2(const GemmTask& task) {
  run_gemm<TileAvx2>(task);
}

}  // namespace beaverpond::internal
