// The matrix product with vpmullq; see vpmullq.h.
#include <immintrin.h>

#include "kernels/gemm/gemm_driver.h"
#include "kernels/gemm/transpose_avx512.h"
#include "kernels/gemm/vpmullq.h"

namespace beaverpond::internal {
namespace {

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

/// Two rows of 4 * units words, units odd, that follow each other: whole vectors, of which fewer
/// cross cache lines than if each row ended with half of one.
template <std::size_t units>
__attribute__((always_inline)) inline void store_run(const Sums& x, const Sums& y,
                                                     std::uint64_t* out, bool add) {
  constexpr std::size_t kVectors = Width<units>::kVectors;
  const auto put = [&](__m512i words) __attribute__((always_inline)) {
    store_vector(words, 8, out, add);
    out += 8;
  };
  if constexpr (kVectors > 1) put(x.v0);
  if constexpr (kVectors > 2) put(x.v1);
  const __m512i last = kVectors == 1 ? x.v0 : kVectors == 2 ? x.v1 : x.v2;
  put(_mm512_shuffle_i64x2(last, y.v0, 0x44));
  if constexpr (kVectors == 2) put(_mm512_shuffle_i64x2(y.v0, y.v1, 0x4e));
  if constexpr (kVectors == 3) {
    put(_mm512_alignr_epi64(y.v1, y.v0, 4));
    put(_mm512_shuffle_i64x2(y.v1, y.v2, 0x4e));
  }
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
  if constexpr (rows == 8 && units % 2 == 1) {
    const auto follows = [&](std::size_t r) {
      return job.c_rows[r + 1] - job.c_rows[r] == 4 * units;
    };
    if (job.rows == 8 && job.columns == 4 * units && follows(0) && follows(2) && follows(4) &&
        follows(6)) {
      store_run<units>(r0, r1, job.c + job.c_rows[0], job.add);
      store_run<units>(r2, r3, job.c + job.c_rows[2], job.add);
      store_run<units>(r4, r5, job.c + job.c_rows[4], job.add);
      return store_run<units>(r6, r7, job.c + job.c_rows[6], job.add);
    }
  }
  if constexpr (rows == 8) store_rows<W::kVectors>(job, r0, r1, r2, r3, r4, r5, r6, r7);
}

/// sum += (a0 + b1) * (a1 + b0) = a0*b0 + a1*b1 + a0*a1 + b0*b1.
__attribute__((always_inline)) inline void add_pair_product(__m512i& sum, const std::uint64_t* a0,
                                                            const std::uint64_t* a1, __m512i b0,
                                                            __m512i b1) {
  __m512i left, right;
  asm("vpaddq %3%{1to8%}, %6, %1\n\tvpaddq %4%{1to8%}, %5, %2\n\t"
      "vpmullq %1, %2, %1\n\tvpaddq %1, %0, %0"
      : "+v"(sum), "=&v"(left), "=&v"(right)
      : "m"(*a0), "m"(*a1), "v"(b0), "v"(b1));
}

/// Two rows of B in turn, of one or two vectors.
struct BPair {
  __m512i even0, odd0, even1, odd1;
};

/// What Winograd's sums contain besides the products: over pairs of k, a0*a1 by row of A's block
/// and b0*b1 by column of B's.
struct Corrections {
  std::uint64_t* rows;     ///< kGemmHeight
  std::uint64_t* columns;  ///< kGemmWidth
};

/// An inner product after Winograd (1968): half the multiplications, and so many additions instead
/// that all vector units are busy in any order. rows: 4 or 8; vectors: 1 or 2.
template <std::size_t rows, std::size_t vectors>
inline void tile_winograd(const TileJob& job, const Corrections& corrections) {
  Sums r0, r1, r2, r3, r4, r5, r6, r7;
  const auto begin = [&](Sums & sums, std::size_t r) __attribute__((always_inline)) {
    const std::uint64_t* of_columns = corrections.columns + job.first_column;
    const __m512i of_row =
        _mm512_sub_epi64(_mm512_setzero_si512(), broadcast(corrections.rows + job.first_row + r));
    sums.v0 = _mm512_sub_epi64(of_row, _mm512_loadu_si512(of_columns));
    if constexpr (vectors > 1) {
      sums.v1 = _mm512_sub_epi64(of_row, _mm512_loadu_si512(of_columns + 8));
    }
  };
  begin(r0, 0), begin(r1, 1), begin(r2, 2), begin(r3, 3);
  if constexpr (rows > 4) begin(r4, 4), begin(r5, 5), begin(r6, 6), begin(r7, 7);
  for (std::size_t s = 0; s < job.segments; ++s) {
    const ASegment& a = job.a[s];
    const auto row = [&](std::size_t r) { return row_of(a, job.rows, r); };
    const std::uint64_t *a0 = row(0), *a1 = row(1), *a2 = row(2), *a3 = row(3), *a4 = row(4),
                        *a5 = row(5), *a6 = row(6), *a7 = row(7);
    const std::uint64_t* b = job.b[s].data;
    const std::size_t* k = a.ks;
    for (const std::size_t* end = k + a.depth / 2 * 2; k != end; k += 2, b += 16 * vectors) {
      const std::size_t even = k[0], odd = k[1];
      BPair right;
      right.even0 = _mm512_loadu_si512(b);
      right.odd0 = _mm512_loadu_si512(b + 8 * vectors);
      if constexpr (vectors > 1) {
        right.even1 = _mm512_loadu_si512(b + 8);
        right.odd1 = _mm512_loadu_si512(b + 24);
      }
      const auto add = [&](Sums & sums, const std::uint64_t* words) __attribute__((always_inline)) {
        add_pair_product(sums.v0, words + even, words + odd, right.even0, right.odd0);
        if constexpr (vectors > 1) {
          add_pair_product(sums.v1, words + even, words + odd, right.even1, right.odd1);
        }
      };
      add(r0, a0), add(r1, a1), add(r2, a2), add(r3, a3);
      if constexpr (rows > 4) add(r4, a4), add(r5, a5), add(r6, a6), add(r7, a7);
    }
    if (a.depth % 2 == 1) {
      constexpr std::size_t units = 2 * vectors;
      const std::size_t at = *k;
      BRow right;
      right.v0 = _mm512_loadu_si512(b);
      if constexpr (vectors > 1) right.v1 = _mm512_loadu_si512(b + 8);
      add_row_pair<units>(r0, r1, a0 + at, a1 + at, right);
      add_row_pair<units>(r2, r3, a2 + at, a3 + at, right);
      if constexpr (rows > 4) add_row_pair<units>(r4, r5, a4 + at, a5 + at, right);
      if constexpr (rows > 4) add_row_pair<units>(r6, r7, a6 + at, a7 + at, right);
    }
  }
  if constexpr (rows == 4) store_rows<vectors>(job, r0, r1, r2, r3);
  if constexpr (rows == 8) store_rows<vectors>(job, r0, r1, r2, r3, r4, r5, r6, r7);
}

class TileAvx512 : public WordTile {
 public:
  static constexpr std::size_t kRows = 8;

  explicit TileAvx512(const GemmTask& task)
      : WordTile(task),
        winograd_(winograd_pays(task)),
        corrections_{task.workspace + kGemmBlockWords,
                     task.workspace + kGemmBlockWords + kGemmHeight} {}

  std::size_t unit() const { return winograd_ ? 8 : 4; }
  std::size_t most_columns() const { return winograd_ ? 16 : 24; }

  static void pack_transposed(const Segment& segment, std::size_t j, std::size_t used,
                              std::size_t width, std::uint64_t* out) {
    pack_columns(segment, j, used, width, out);
  }

  void after_packing_b(const DepthBlock& block, const std::uint64_t* packed, std::size_t j,
                       std::size_t width) const {
    if (!winograd_) return;
    for (std::size_t v = 0; v < width; v += 8) {
      const std::uint64_t* in = packed + v;
      __m512i sum = _mm512_setzero_si512();
      for (std::size_t s = 0; s < block.count; ++s) {
        const std::size_t depth = block.segments[s].depth;
        for (std::size_t k = 0; k + 1 < depth; k += 2) {
          const __m512i even = _mm512_loadu_si512(in + k * width);
          const __m512i odd = _mm512_loadu_si512(in + (k + 1) * width);
          sum = _mm512_add_epi64(sum, _mm512_mullo_epi64(even, odd));
        }
        in += depth * width;
      }
      _mm512_storeu_si512(corrections_.columns + j + v, sum);
    }
  }

  void after_placing_a(const ASegment* segments, std::size_t count, std::size_t rows) const {
    if (!winograd_) return;
    std::memset(corrections_.rows, 0, round_up_to(rows, kRows) * 8);
    for (std::size_t s = 0; s < count; ++s) {
      const ASegment& a = segments[s];
      if (a.depth < 2) continue;
      if (a.ks[1] - a.ks[0] == 1) {
        for (std::size_t i = 0; i < rows; ++i) {
          corrections_.rows[i] += sum_of_pairs(a.data + a.rows[i] + a.ks[0], a.depth);
        }
      } else {
        for (std::size_t i = 0; i < rows; i += kRows) add_sums_of_panel(a, i);
      }
    }
  }

  void multiply(const TileJob& job) const {
    if (winograd_) {
      const bool wide = job.width > 8;
      if (job.rows > 4) {
        return wide ? tile_winograd<8, 2>(job, corrections_)
                    : tile_winograd<8, 1>(job, corrections_);
      }
      return wide ? tile_winograd<4, 2>(job, corrections_) : tile_winograd<4, 1>(job, corrections_);
    }
    if (job.rows > 6) return multiply_rows<8>(job);
    if (job.rows > 4) return multiply_rows<6>(job);
    if (job.rows > 2) return multiply_rows<4>(job);
    return multiply_rows<2>(job);
  }

 private:
  /// Where the corrections are few beside the products, and A's words lie in vectors.
  static bool winograd_pays(const GemmTask& task) {
    if (task.m <= kFewRows || task.n < 64) return false;
    for (std::size_t t = 0; t < task.term_count; ++t) {
      if (!task.terms[t].a.rows.linear() || !task.terms[t].a.columns.linear()) return false;
    }
    return true;
  }

  /// a0*a1 + a2*a3 + ... of consecutive words.
  static std::uint64_t sum_of_pairs(const std::uint64_t* a, std::size_t depth) {
    __m512i sum = _mm512_setzero_si512();
    for (std::size_t k = 0; k + 1 < depth; k += 8) {
      const std::size_t left = (depth - k) / 2 * 2;
      const auto mask = static_cast<__mmask8>(left >= 8 ? 0xffu : (1u << left) - 1u);
      const __m512i words = _mm512_maskz_loadu_epi64(mask, a + k);
      const __m512i swapped = _mm512_shuffle_epi32(words, _MM_PERM_BADC);
      sum = _mm512_add_epi64(sum, _mm512_maskz_mullo_epi64(0x55, words, swapped));
    }
    // Not _mm512_reduce_add_epi64, which adds signed words: their overflow is undefined.
    std::uint64_t lanes[8], total = 0;
    _mm512_storeu_si512(lanes, sum);
    for (const std::uint64_t lane : lanes) total += lane;
    return total;
  }

  /// The same for eight rows that lie side by side: a panel of the driver's copy.
  void add_sums_of_panel(const ASegment& a, std::size_t first_row) const {
    const std::uint64_t* in = a.data + a.rows[first_row];
    std::uint64_t* out = corrections_.rows + first_row;
    __m512i sum = _mm512_loadu_si512(out);
    for (std::size_t k = 0; k + 1 < a.depth; k += 2) {
      sum = _mm512_add_epi64(sum, _mm512_mullo_epi64(_mm512_loadu_si512(in + a.ks[k]),
                                                     _mm512_loadu_si512(in + a.ks[k + 1])));
    }
    _mm512_storeu_si512(out, sum);
  }

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

  bool winograd_;
  Corrections corrections_;
};

}  // namespace

void gemm_avx512(const GemmTask& task) {
  run_gemm<TileAvx512>(task);
}

}  // namespace beaverpond::internal
