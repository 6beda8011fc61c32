// The matrix product on AVX-512 IFMA and VNNI. With a = a0 + 2^52 a1 and b likewise:
//   a * b = lo52(a0*b0) + 2^52 (hi52(a0*b0) + a0*b1 + a1*b0)   mod 2^64
// where only the low 12 bits of the bracket count. vpmadd52 ignores operand bits from 52 up, so the
// words serve as a0 and b0 as they are; one vpdpwssd adds both cross products mod 2^12 from pairs
// of 16-bit halves, (a0 mod 2^12, a1) against (b1, b0 mod 2^12). All sums wrap: k has no limit.
#include <immintrin.h>

#include "kernels/gemm/gemm_driver.h"

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
  void store(std::size_t columns, const CTile& c, std::size_t row) const {
    std::uint64_t* out = c.data + row * c.ldc;
    store_words(low0, high0, _mm512_castsi512_si256(cross), columns, out, c.add);
    if constexpr (wide) {
      store_words(low1, high1, _mm512_extracti64x4_epi64(cross, 1), columns - 8, out + 8, c.add);
    }
  }
};

/// The pairs of a panel of A, laid out like its words.
struct APairs {
  const std::uint32_t* data;
  std::size_t row_stride, k_stride;
};

template <std::size_t rows, bool wide>
inline void tile_hybrid(const ABlock& a, const APairs& pairs, const std::uint64_t* b,
                        const std::uint32_t* b_pairs, std::size_t columns, std::size_t depth,
                        const CTile& c) {
  RowSums r0, r1, r2, r3, r4;
  const std::uint64_t *a0 = a.data, *a3 = a.data + (rows > 3 ? 3 * a.row_stride : 0);
  const std::uint32_t *p0 = pairs.data, *p3 = pairs.data + (rows > 3 ? 3 * pairs.row_stride : 0);
  const std::size_t step = a.row_stride, pair_step = pairs.row_stride;
  for (std::size_t k = 0; k < depth; ++k) {
    const __m512i b0 = _mm512_loadu_si512(b);
    const __m512i b1 = wide ? _mm512_loadu_si512(b + 8) : b0;
    const __m512i both = _mm512_loadu_si512(b_pairs);
    r0.add<wide>(a0, p0, b0, b1, both);
    if constexpr (rows > 1) r1.add<wide>(a0 + step, p0 + pair_step, b0, b1, both);
    if constexpr (rows > 2) r2.add<wide>(a0 + 2 * step, p0 + 2 * pair_step, b0, b1, both);
    if constexpr (rows > 3) r3.add<wide>(a3, p3, b0, b1, both);
    if constexpr (rows > 4) r4.add<wide>(a3 + step, p3 + pair_step, b0, b1, both);
    a0 += a.k_stride, a3 += a.k_stride;
    p0 += pairs.k_stride, p3 += pairs.k_stride;
    b += 16, b_pairs += 16;
  }
  r0.store<wide>(columns, c, 0);
  if constexpr (rows > 1) r1.store<wide>(columns, c, 1);
  if constexpr (rows > 2) r2.store<wide>(columns, c, 2);
  if constexpr (rows > 3) r3.store<wide>(columns, c, 3);
  if constexpr (rows > 4) r4.store<wide>(columns, c, 4);
}

class TileHybrid {
 public:
  static constexpr std::size_t kRows = 5;
  static constexpr std::size_t kColumns = 16;

  explicit TileHybrid(const GemmTask& task)
      : b_pairs_(reinterpret_cast<std::uint32_t*>(task.workspace + kGemmBlockWords)),
        a_pairs_(b_pairs_ + kGemmDepth * kGemmWidth) {}

  /// Pairs of B lie in the order of its packed words.
  void after_packing_b(const std::uint64_t* packed, std::size_t words) {
    packed_b_ = packed;
    for (std::size_t i = 0; i < words; ++i) b_pairs_[i] = pair_of_b(packed[i]);
  }

  /// Pairs of A lie by rows where A does, else k-major by panels.
  void after_placing_a(const ABlock& a, std::size_t rows, std::size_t depth) {
    by_rows_ = a.k_stride == 1;
    panel_pairs_ = kRows * (by_rows_ ? kGemmPitch : depth);
    if (by_rows_) {
      for (std::size_t i = 0; i < rows; ++i) {
        const std::uint64_t* in = a.data + i * a.row_stride;
        for (std::size_t k = 0; k < depth; ++k) a_pairs_[i * kGemmPitch + k] = pair_of_a(in[k]);
      }
      return;
    }
    for (std::size_t i = 0; i < rows; i += kRows) {
      const std::size_t used = rows - i < kRows ? rows - i : kRows;
      const ABlock panel = a.panel(i / kRows);
      std::uint32_t* out = a_pairs_ + i / kRows * panel_pairs_;
      for (std::size_t k = 0; k < depth; ++k, out += kRows) {
        const std::uint64_t* in = panel.data + k * panel.k_stride;
        for (std::size_t r = 0; r < used; ++r) out[r] = pair_of_a(in[r * panel.row_stride]);
      }
    }
  }

  void multiply(const ABlock& a, const std::uint64_t* b, std::size_t rows, std::size_t columns,
                std::size_t depth, const CTile& c) const {
    const APairs pairs{a_pairs_ + a.panel_number * panel_pairs_, by_rows_ ? kGemmPitch : 1,
                       by_rows_ ? 1 : kRows};
    multiply_rows<kRows>(a, pairs, b, b_pairs_ + (b - packed_b_), rows, columns, depth, c);
  }

 private:
  template <std::size_t rows>
  static void multiply_rows(const ABlock& a, const APairs& pairs, const std::uint64_t* b,
                            const std::uint32_t* b_pairs, std::size_t tile_rows,
                            std::size_t columns, std::size_t depth, const CTile& c) {
    if constexpr (rows > 1) {
      if (tile_rows < rows) {
        return multiply_rows<rows - 1>(a, pairs, b, b_pairs, tile_rows, columns, depth, c);
      }
    }
    if (columns > 8) {
      tile_hybrid<rows, true>(a, pairs, b, b_pairs, columns, depth, c);
    } else {
      tile_hybrid<rows, false>(a, pairs, b, b_pairs, columns, depth, c);
    }
  }

  std::uint32_t* b_pairs_;
  std::uint32_t* a_pairs_;
  const std::uint64_t* packed_b_ = nullptr;
  bool by_rows_ = true;
  std::size_t panel_pairs_ = 0;
};

}  // namespace

void gemm_hybrid(const GemmTask& task) {
  // With so few columns the pairs of A cost more to make than they save.
  if (task.n <= 8) return gemm_avx512(task);
  run_gemm<TileHybrid>(task);
}

}  // namespace beaverpond::internal
