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
template <std::size_t rows, std::size_t vectors>
inline void tile_avx2(const TileJob& job) {
  __m256i low[rows][vectors], cross[rows][vectors];
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t v = 0; v < vectors; ++v) low[r][v] = cross[r][v] = _mm256_setzero_si256();
  }
  for (std::size_t s = 0; s < job.segments; ++s) {
    const ASegment& a = job.a[s];
    const std::uint64_t* row[rows];
    for (std::size_t r = 0; r < rows; ++r) row[r] = a.data + a.rows[r];
    const std::uint64_t* b = job.b[s].data;
    for (std::size_t k = 0; k < a.depth; ++k, b += job.b[s].step) {
      const std::size_t at = a.ks[k];
      for (std::size_t v = 0; v < vectors; ++v) {
        const __m256i right = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + 4 * v));
        const __m256i swapped = _mm256_shuffle_epi32(right, 0xb1);
        for (std::size_t r = 0; r < rows; ++r) {
          const __m256i word = _mm256_set1_epi64x(static_cast<long long>(row[r][at]));
          low[r][v] = _mm256_add_epi64(low[r][v], _mm256_mul_epu32(word, right));
          cross[r][v] = _mm256_add_epi32(cross[r][v], _mm256_mullo_epi32(word, swapped));
        }
      }
    }
  }
  for (std::size_t v = 0; v < vectors; ++v) {
    const __m256i mask = first_words(job.columns - 4 * v);
    for (std::size_t r = 0; r < rows; ++r) {
      auto* out = reinterpret_cast<long long*>(job.c + job.c_rows[r] + 4 * v);
      const __m256i both = _mm256_add_epi32(cross[r][v], _mm256_srli_epi64(cross[r][v], 32));
      __m256i sum = _mm256_add_epi64(low[r][v], _mm256_slli_epi64(both, 32));
      if (job.add) sum = _mm256_add_epi64(sum, _mm256_maskload_epi64(out, mask));
      _mm256_maskstore_epi64(out, mask, sum);
    }
  }
}

struct TileAvx2 : WordTile {
  using WordTile::WordTile;
  static constexpr std::size_t kRows = 3;

  static std::size_t unit() { return 4; }
  static std::size_t most_columns() { return 8; }

  template <std::size_t vectors>
  static void multiply_rows(const TileJob& job) {
    switch (job.rows) {
      case 1: return tile_avx2<1, vectors>(job);
      case 2: return tile_avx2<2, vectors>(job);
      default: return tile_avx2<3, vectors>(job);
    }
  }

  static void multiply(const TileJob& job) {
    return job.width > 4 ? multiply_rows<2>(job) : multiply_rows<1>(job);
  }
};

}  // namespace

void gemm_avx2(const GemmTask& task) {
  run_gemm<TileAvx2>(task);
}

}  // namespace beaverpond::internal
