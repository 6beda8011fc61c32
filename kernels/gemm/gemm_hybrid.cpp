// The matrix product on AVX-512 IFMA and VNNI. With a = a0 + 2^52 a1 and b likewise:
//   a * b = lo52(a0*b0) + 2^52 (hi52(a0*b0) + a0*b1 + a1*b0)   mod 2^64
// where only the low 12 bits of the bracket count. vpmadd52 ignores operand bits from 52 up, so the
// words serve as a0 and b0 as they are; one vpdpwssd adds both cross products mod 2^12 from pairs
// of 16-bit halves, (a0 mod 2^12, a1) against (b1, b0 mod 2^12). All sums wrap: k has no limit.
#include <immintrin.h>

#include "kernels/gemm/gemm_driver.h"
#include "kernels/gemm/transpose_avx512.h"

namespace beaverpond::internal {
namespace {

inline std::uint32_t pair_of_a(std::uint64_t a) {
  return static_cast<std::uint32_t>((a & 0xfffu) | ((a >> 36) & 0x0fff0000u));
}

inline std::uint32_t pair_of_b(std::uint64_t b) {
  return static_cast<std::uint32_t>((b >> 52) | ((b & 0xfffu) << 16));
}

/// The sums of one row of a tile: 16 columns, or 8 when `wide` is false. Plain members, not arrays:
/// g++ 12 keeps array elements that inline assembly names in memory.
struct RowSums {
  __m512i low0 = _mm512_setzero_si512(), low1 = _mm512_setzero_si512();
  __m512i high0 = _mm512_setzero_si512(), high1 = _mm512_setzero_si512();
  __m512i cross = _mm512_setzero_si512();

  template <bool wide>
  __attribute__((always_inline)) void add(const std::uint64_t* a, const std::uint32_t* a_pair,
                                          __m512i b0, __m512i b1, __m512i b_pairs) {
    const __m512i word = _mm512_set1_epi64(static_cast<long long>(*a));
    low0 = _mm512_madd52lo_epu64(low0, word, b0);
    high0 = _mm512_madd52hi_epu64(high0, word, b0);
    if constexpr (wide) {
      low1 = _mm512_madd52lo_epu64(low1, word, b1);
      high1 = _mm512_madd52hi_epu64(high1, word, b1);
    }
    // Not the intrinsic: around it g++ 12 spills the accumulators.
    asm("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(cross) : "v"(b_pairs), "m"(*a_pair));
  }

  static void store_words(__m512i low, __m512i high, __m256i cross_half, std::size_t columns,
                          std::uint64_t* out, bool add_to) {
    const auto mask = static_cast<__mmask8>(columns >= 8 ? 0xffu : (1u << columns) - 1u);
    const __m512i top = _mm512_add_epi64(high, _mm512_cvtepu32_epi64(cross_half));
    __m512i sum = _mm512_add_epi64(low, _mm512_slli_epi64(top, 52));
    if (add_to) sum = _mm512_add_epi64(sum, _mm512_maskz_loadu_epi64(mask, out));
    _mm512_mask_storeu_epi64(out, mask, sum);
  }

  template <bool wide>
  void store(const TileJob& job, std::size_t row) const {
    std::uint64_t* out = job.c + job.c_rows[row];
    store_words(low0, high0, _mm512_castsi512_si256(cross), job.columns, out, job.add);
    if constexpr (wide) {
      store_words(low1, high1, _mm512_extracti64x4_epi64(cross, 1), job.columns - 8, out + 8,
                  job.add);
    }
  }
};

/// Rows of pairs, laid out like the words of A's rows in a depth block.
using PairRow = const std::uint32_t*;

template <std::size_t rows, bool wide>
inline void tile_hybrid(const TileJob& job, PairRow pairs, const std::uint32_t* b_pairs) {
  RowSums r0, r1, r2, r3, r4;
  for (std::size_t s = 0; s < job.segments; ++s) {
    const ASegment& a = job.a[s];
    const auto row = [&](std::size_t r) { return a.data + a.rows[r < rows ? r : 0]; };
    const std::uint64_t *a0 = row(0), *a1 = row(1), *a2 = row(2), *a3 = row(3), *a4 = row(4);
    const std::uint64_t* b = job.b[s].data;
    for (std::size_t k = 0; k < a.depth; ++k, b += 16, b_pairs += 16, ++pairs) {
      const std::size_t at = a.ks[k];
      const __m512i b0 = _mm512_loadu_si512(b);
      const __m512i b1 = wide ? _mm512_loadu_si512(b + 8) : b0;
      const __m512i both = _mm512_loadu_si512(b_pairs);
      r0.add<wide>(a0 + at, pairs, b0, b1, both);
      if constexpr (rows > 1) r1.add<wide>(a1 + at, pairs + kGemmPitch, b0, b1, both);
      if constexpr (rows > 2) r2.add<wide>(a2 + at, pairs + 2 * kGemmPitch, b0, b1, both);
      if constexpr (rows > 3) r3.add<wide>(a3 + at, pairs + 3 * kGemmPitch, b0, b1, both);
      if constexpr (rows > 4) r4.add<wide>(a4 + at, pairs + 4 * kGemmPitch, b0, b1, both);
    }
  }
  r0.store<wide>(job, 0);
  if constexpr (rows > 1) r1.store<wide>(job, 1);
  if constexpr (rows > 2) r2.store<wide>(job, 2);
  if constexpr (rows > 3) r3.store<wide>(job, 3);
  if constexpr (rows > 4) r4.store<wide>(job, 4);
}

class TileHybrid {
 public:
  static constexpr std::size_t kRows = 5;
  static constexpr bool kReadsBInPlace = false;  // the pairs of B are wanted too

  explicit TileHybrid(const GemmTask& task)
      : b_pairs_(reinterpret_cast<std::uint32_t*>(task.workspace + kGemmBlockWords)),
        a_pairs_(b_pairs_ + kGemmDepth * kGemmWidth) {}

  static std::size_t unit() { return 16; }
  static std::size_t most_columns() { return 16; }

  static void pack_transposed(const Segment& segment, std::size_t j, std::size_t used,
                              std::size_t width, std::uint64_t* out) {
    pack_columns(segment, j, used, width, out);
  }

  /// Pairs of B lie in the order of its packed words.
  void after_packing_b(const DepthBlock& block, const std::uint64_t* packed, std::size_t j,
                       std::size_t width) {
    depth_ = block.depth;
    std::uint32_t* out = b_pairs_ + j * depth_;
    for (std::size_t i = 0; i < width * depth_; ++i) out[i] = pair_of_b(packed[i]);
  }

  void after_placing_a(const ASegment* segments, std::size_t count, std::size_t rows) {
    for (std::size_t i = 0; i < rows; ++i) {
      std::uint32_t* out = a_pairs_ + i * kGemmPitch;
      for (std::size_t s = 0; s < count; ++s) {
        const ASegment& a = segments[s];
        const std::uint64_t* in = a.data + a.rows[i];
        for (std::size_t k = 0; k < a.depth; ++k) *out++ = pair_of_a(in[a.ks[k]]);
      }
    }
  }

  void multiply(const TileJob& job) const { multiply_rows<kRows>(job); }

 private:
  template <std::size_t rows>
  void multiply_rows(const TileJob& job) const {
    if constexpr (rows > 1) {
      if (job.rows < rows) return multiply_rows<rows - 1>(job);
    }
    const PairRow pairs = a_pairs_ + job.first_row * kGemmPitch;
    const std::uint32_t* b_pairs = b_pairs_ + job.first_column * depth_;
    if (job.columns > 8) {
      tile_hybrid<rows, true>(job, pairs, b_pairs);
    } else {
      tile_hybrid<rows, false>(job, pairs, b_pairs);
    }
  }

  std::uint32_t* b_pairs_;
  std::uint32_t* a_pairs_;
  std::size_t depth_ = 0;
};

}  // namespace

void gemm_hybrid(const GemmTask& task) {
  // With so few columns the pairs of A cost more to make than they save.
  if (task.n <= 8) return gemm_avx512(task);
  run_gemm<TileHybrid>(task);
}

}  // namespace beaverpond::internal
