// The matrix product with vpmullq (AVX-512DQ), which AMD's cores compute as one operation: on Zen 4
// eight products a cycle, with every vector unit at work, multiplications in one half of the units
// and additions in all. The order of the instructions matters there: two multiplications followed
// by their two additions run at 0.90 of that, one after the other at 0.74, because additions then
// take the units of the multiplications that follow. Hence inline assembly for the groups. Plain
// members and no arrays: g++ 12 keeps array elements that inline assembly names in memory.
#include <immintrin.h>

#include "kernels/gemm/gemm_driver.h"

namespace beaverpond::internal {
namespace {

/// A vector of eight words, or of four in its lower half.
enum class Lanes { kFour, kEight };

/// sum0 += a0 * b0 and sum1 += a1 * b1.
template <Lanes lanes0, Lanes lanes1>
__attribute__((always_inline)) inline void add_products(__m512i& sum0, __m512i a0, __m512i b0,
                                                        __m512i& sum1, __m512i a1, __m512i b1) {
  __m512i product0, product1;
  if constexpr (lanes0 == Lanes::kEight && lanes1 == Lanes::kEight) {
    asm("vpmullq %4, %5, %2\n\tvpmullq %6, %7, %3\n\tvpaddq %2, %0, %0\n\tvpaddq %3, %1, %1"
        : "+v"(sum0), "+v"(sum1), "=&v"(product0), "=&v"(product1)
        : "v"(a0), "v"(b0), "v"(a1), "v"(b1));
  } else if constexpr (lanes0 == Lanes::kEight) {
    asm("vpmullq %4, %5, %2\n\tvpmullq %t6, %t7, %t3\n\tvpaddq %2, %0, %0\n\tvpaddq %t3, %t1, %t1"
        : "+v"(sum0), "+v"(sum1), "=&v"(product0), "=&v"(product1)
        : "v"(a0), "v"(b0), "v"(a1), "v"(b1));
  } else {
    static_assert(lanes1 == Lanes::kFour);
    asm("vpmullq %t4, %t5, %t2\n\tvpmullq %t6, %t7, %t3\n\t"
        "vpaddq %t2, %t0, %t0\n\tvpaddq %t3, %t1, %t1"
        : "+v"(sum0), "+v"(sum1), "=&v"(product0), "=&v"(product1)
        : "v"(a0), "v"(b0), "v"(a1), "v"(b1));
  }
}

inline __m512i broadcast(const std::uint64_t* word) {
  return _mm512_set1_epi64(static_cast<long long>(*word));
}

template <Lanes lanes>
inline __m512i load(const std::uint64_t* words) {
  if constexpr (lanes == Lanes::kEight) return _mm512_loadu_si512(words);
  return _mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)));
}

/// Up to 24 columns: `units` times four.
template <std::size_t units>
struct Width {
  static constexpr std::size_t kVectors = (units + 1) / 2;
  static constexpr Lanes kLast = units % 2 == 1 ? Lanes::kFour : Lanes::kEight;
};

/// A row of B.
struct BRow {
  __m512i v0, v1, v2;
};

/// The sums of a row of C.
struct Sums {
  __m512i v0 = _mm512_setzero_si512(), v1 = v0, v2 = v0;
};

/// Two rows of C += their words of A times a row of B.
template <std::size_t units>
__attribute__((always_inline)) inline void add_row_pair(Sums& x, Sums& y, const std::uint64_t* ax,
                                                        const std::uint64_t* ay, const BRow& b) {
  using W = Width<units>;
  constexpr Lanes kAll = Lanes::kEight;
  const __m512i word_x = broadcast(ax);
  if constexpr (W::kVectors == 1) {
    add_products<W::kLast, W::kLast>(x.v0, word_x, b.v0, y.v0, broadcast(ay), b.v0);
  } else if constexpr (W::kVectors == 2) {
    add_products<kAll, W::kLast>(x.v0, word_x, b.v0, x.v1, word_x, b.v1);
    const __m512i word_y = broadcast(ay);
    add_products<kAll, W::kLast>(y.v0, word_y, b.v0, y.v1, word_y, b.v1);
  } else {
    add_products<kAll, kAll>(x.v0, word_x, b.v0, x.v1, word_x, b.v1);
    const __m512i word_y = broadcast(ay);
    add_products<W::kLast, W::kLast>(x.v2, word_x, b.v2, y.v2, word_y, b.v2);
    add_products<kAll, kAll>(y.v0, word_y, b.v0, y.v1, word_y, b.v1);
  }
}

__attribute__((always_inline)) inline void store_vector(__m512i sum, std::size_t columns,
                                                        std::uint64_t* out, bool add) {
  if (columns >= 8) {
    if (add) sum = _mm512_add_epi64(sum, _mm512_loadu_si512(out));
    _mm512_storeu_si512(out, sum);
    return;
  }
  const auto mask = static_cast<__mmask8>((1u << columns) - 1u);
  if (add) sum = _mm512_add_epi64(sum, _mm512_maskz_loadu_epi64(mask, out));
  _mm512_mask_storeu_epi64(out, mask, sum);
}

/// The first `job.rows` of the rows that a tile computed.
template <std::size_t vectors, class... Rows>
__attribute__((always_inline)) inline void store_rows(const TileJob& job, const Rows&... rows) {
  std::size_t r = 0;
  const auto store = [&](const Sums& sums) __attribute__((always_inline)) {
    if (r >= job.rows) return;
    std::uint64_t* out = job.c + job.c_rows[r++];
    store_vector(sums.v0, job.columns, out, job.add);
    if constexpr (vectors > 1) store_vector(sums.v1, job.columns - 8, out + 8, job.add);
    if constexpr (vectors > 2) store_vector(sums.v2, job.columns - 16, out + 16, job.add);
  };
  (store(rows), ...);
}

/// Row r of a segment; beyond the last, the last again, whose sums nobody stores.
inline const std::uint64_t* row_of(const ASegment& a, std::size_t rows, std::size_t r) {
  return a.data + a.rows[r < rows ? r : rows - 1];
}

/// rows: 2, 4, 6 or 8, at least the job's.
template <std::size_t rows, std::size_t units>
inline void tile_plain(const TileJob& job) {
  using W = Width<units>;
  Sums r0, r1, r2, r3, r4, r5, r6, r7;
  for (std::size_t s = 0; s < job.segments; ++s) {
    const ASegment& a = job.a[s];
    const auto row = [&](std::size_t r) { return row_of(a, job.rows, r); };
    const std::uint64_t *a0 = row(0), *a1 = row(1), *a2 = row(2), *a3 = row(3), *a4 = row(4),
                        *a5 = row(5), *a6 = row(6), *a7 = row(7);
    const std::uint64_t* b = job.b[s].data;
    const std::size_t step = job.b[s].step;
    for (const std::size_t *k = a.ks, *end = k + a.depth; k != end; ++k, b += step) {
      const std::size_t at = *k;
      BRow right;
      right.v0 = load < W::kVectors == 1 ? W::kLast : Lanes::kEight > (b);
      if constexpr (W::kVectors > 1) {
        right.v1 = load < W::kVectors == 2 ? W::kLast : Lanes::kEight > (b + 8);
      }
      if constexpr (W::kVectors > 2) right.v2 = load<W::kLast>(b + 16);
      add_row_pair<units>(r0, r1, a0 + at, a1 + at, right);
      if constexpr (rows > 2) add_row_pair<units>(r2, r3, a2 + at, a3 + at, right);
      if constexpr (rows > 4) add_row_pair<units>(r4, r5, a4 + at, a5 + at, right);
      if constexpr (rows > 6) add_row_pair<units>(r6, r7, a6 + at, a7 + at, right);
    }
  }
  if constexpr (rows == 2) store_rows<W::kVectors>(job, r0, r1);
  if constexpr (rows == 4) store_rows<W::kVectors>(job, r0, r1, r2, r3);
  if constexpr (rows == 6) store_rows<W::kVectors>(job, r0, r1, r2, r3, r4, r5);
  if constexpr (rows == 8) store_rows<W::kVectors>(job, r0, r1, r2, r3, r4, r5, r6, r7);
}

struct TileAvx512 : WordTile {
  using WordTile::WordTile;
  static constexpr std::size_t kRows = 8;

  static std::size_t unit() { return 4; }
  static std::size_t most_columns() { return 24; }

  template <std::size_t rows>
  static void multiply_rows(const TileJob& job) {
    switch (job.width / 4) {
      case 1: return tile_plain<rows, 1>(job);
      case 2: return tile_plain<rows, 2>(job);
      case 3: return tile_plain<rows, 3>(job);
      case 4: return tile_plain<rows, 4>(job);
      case 5: return tile_plain<rows, 5>(job);
      default: return tile_plain<rows, 6>(job);
    }
  }

  static void multiply(const TileJob& job) {
    if (job.rows > 6) return multiply_rows<8>(job);
    if (job.rows > 4) return multiply_rows<6>(job);
    if (job.rows > 2) return multiply_rows<4>(job);
    return multiply_rows<2>(job);
  }
};

}  // namespace

void gemm_avx512(const GemmTask& task) {
  run_gemm<TileAvx512>(task);
}

}  // namespace beaverpond::internal
