// The blocked matrix product around a tile kernel, compiled once per instruction set. Plain
// pointers only, and everything has internal linkage: see kernels/CMakeLists.txt.
//
// Blocking after Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008:
// B in blocks of kDepth x kWidth, packed into panels of Tile::kColumns columns; A in blocks of
// kHeight x kDepth, read in place where its rows lie well in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace beaverpond::internal {

/// gemm() with its views taken apart; strides in words, workspace aligned to 64 bytes.
struct GemmTask {
  std::size_t m, n, k;
  const std::uint64_t* a;
  std::size_t a_row_stride, a_column_stride;
  const std::uint64_t* b;
  std::size_t b_row_stride, b_column_stride;
  std::uint64_t* c;
  std::size_t ldc;
  bool accumulate;
  std::uint64_t* workspace;
};

void gemm_portable(const GemmTask& task);
void gemm_avx2(const GemmTask& task);
void gemm_avx512(const GemmTask& task);
void gemm_hybrid(const GemmTask& task);

inline constexpr std::size_t kGemmDepth = 256;   // a panel of B is 32 KiB: about one L1
inline constexpr std::size_t kGemmHeight = 240;  // the block of A is 480 KiB: half of an L2
inline constexpr std::size_t kGemmWidth = 512;   // the block of B is 1 MiB: in L2 or L3
inline constexpr std::size_t kGemmPitch = kGemmDepth + 8;  // rows of A's copy avoid one cache set
inline constexpr std::size_t kGemmBlockWords = kGemmDepth * kGemmWidth + kGemmHeight * kGemmPitch;
/// Both blocks, and half a word beside each word for the kernel that wants it.
inline constexpr std::size_t kGemmWorkspaceWords = kGemmBlockWords + kGemmBlockWords / 2;

namespace {

/// A block of A as the tile kernels read it.
struct ABlock {
  const std::uint64_t* data;
  std::size_t row_stride, k_stride;
  std::size_t panel_stride;  ///< from one panel of Tile::kRows rows to the next

  std::size_t panel_number = 0;

  ABlock panel(std::size_t number) const {
    return {data + number * panel_stride, row_stride, k_stride, panel_stride, number};
  }
};

/// A tile kernel that needs no more than the words of its operands.
struct WordTile {
  explicit WordTile(const GemmTask&) {}
  static void after_packing_b(const std::uint64_t*, std::size_t) {}
  static void after_placing_a(const ABlock&, std::size_t, std::size_t) {}
};

/// Where a tile of C goes.
struct CTile {
  std::uint64_t* data;
  std::size_t ldc;
  bool add;  ///< C += instead of C =
};

/// Panels of `width` columns, k-major, zeros beyond the last column.
template <std::size_t width>
inline void pack_b(const GemmTask& task, std::size_t k0, std::size_t depth, std::size_t j0,
                   std::size_t columns, std::uint64_t* out) {
  for (std::size_t j = 0; j < columns; j += width) {
    const std::size_t used = columns - j < width ? columns - j : width;
    const std::uint64_t* in = task.b + k0 * task.b_row_stride + (j0 + j) * task.b_column_stride;
    for (std::size_t k = 0; k < depth; ++k, in += task.b_row_stride, out += width) {
      if (used == width && task.b_column_stride == 1) {
        std::memcpy(out, in, width * 8);
      } else {
        for (std::size_t i = 0; i < used; ++i) out[i] = in[i * task.b_column_stride];
        for (std::size_t i = used; i < width; ++i) out[i] = 0;
      }
    }
  }
}

/// Rows of A that start a multiple of 4 KiB apart share a cache set and evict each other.
inline bool rows_collide(std::size_t row_stride) {
  return row_stride % 512 == 0;
}

/// The block of A at (i0, k0): in place, or copied to `out`.
template <std::size_t panel_rows, std::size_t panel_columns>
inline ABlock place_a(const GemmTask& task, std::size_t i0, std::size_t rows, std::size_t k0,
                      std::size_t depth, std::uint64_t* out) {
  const std::uint64_t* in = task.a + i0 * task.a_row_stride + k0 * task.a_column_stride;
  const bool few_uses = task.n <= 2 * panel_columns;  // too few to pay for a copy
  if (task.a_column_stride == 1) {
    if (few_uses || !rows_collide(task.a_row_stride)) {
      return {in, task.a_row_stride, 1, panel_rows * task.a_row_stride};
    }
    for (std::size_t i = 0; i < rows; ++i) {
      std::memcpy(out + i * kGemmPitch, in + i * task.a_row_stride, depth * 8);
    }
    return {out, kGemmPitch, 1, panel_rows * kGemmPitch};
  }
  if (few_uses && task.a_row_stride == 1) return {in, 1, task.a_column_stride, panel_rows};
  // A transposed or otherwise strided matrix: panels of `panel_rows` rows, k-major.
  for (std::size_t i = 0; i < rows; i += panel_rows) {
    const std::size_t used = rows - i < panel_rows ? rows - i : panel_rows;
    std::uint64_t* panel = out + i * kGemmDepth;
    for (std::size_t k = 0; k < depth; ++k, panel += panel_rows) {
      const std::uint64_t* column = in + i * task.a_row_stride + k * task.a_column_stride;
      if (used == panel_rows && task.a_row_stride == 1) {
        std::memcpy(panel, column, panel_rows * 8);
      } else {
        for (std::size_t r = 0; r < used; ++r) panel[r] = column[r * task.a_row_stride];
      }
    }
  }
  return {out, 1, panel_rows, panel_rows * kGemmDepth};
}

/// All tiles of one block of A times one block of B.
template <class Tile>
inline void multiply_blocks(const Tile& tile, const ABlock& a, const std::uint64_t* b,
                            std::size_t rows, std::size_t columns, std::size_t depth,
                            const CTile& c) {
  for (std::size_t j = 0; j < columns; j += Tile::kColumns) {
    const std::size_t tile_columns = columns - j < Tile::kColumns ? columns - j : Tile::kColumns;
    for (std::size_t i = 0; i < rows; i += Tile::kRows) {
      const std::size_t tile_rows = rows - i < Tile::kRows ? rows - i : Tile::kRows;
      tile.multiply(a.panel(i / Tile::kRows), b + j * depth, tile_rows, tile_columns, depth,
                    {c.data + i * c.ldc + j, c.ldc, c.add});
    }
  }
}

/// tile.multiply(a, b, rows, columns, depth, c): one tile of at most kRows x kColumns, with a one
/// panel of a block and b a panel of pack_b. It reads and writes nothing outside the rows and
/// columns given. after_packing_b and after_placing_a see each block before its first use.
template <class Tile>
inline void run_gemm(const GemmTask& task) {
  static_assert(kGemmHeight % Tile::kRows == 0 && kGemmWidth % Tile::kColumns == 0);
  Tile tile(task);
  std::uint64_t* packed_b = task.workspace;
  std::uint64_t* packed_a = task.workspace + kGemmDepth * kGemmWidth;
  for (std::size_t j0 = 0; j0 < task.n; j0 += kGemmWidth) {
    const std::size_t columns = task.n - j0 < kGemmWidth ? task.n - j0 : kGemmWidth;
    for (std::size_t k0 = 0; k0 < task.k; k0 += kGemmDepth) {
      const std::size_t depth = task.k - k0 < kGemmDepth ? task.k - k0 : kGemmDepth;
      pack_b<Tile::kColumns>(task, k0, depth, j0, columns, packed_b);
      const std::size_t panels = (columns + Tile::kColumns - 1) / Tile::kColumns;
      tile.after_packing_b(packed_b, panels * Tile::kColumns * depth);
      for (std::size_t i0 = 0; i0 < task.m; i0 += kGemmHeight) {
        const std::size_t rows = task.m - i0 < kGemmHeight ? task.m - i0 : kGemmHeight;
        const ABlock a = place_a<Tile::kRows, Tile::kColumns>(task, i0, rows, k0, depth, packed_a);
        tile.after_placing_a(a, rows, depth);
        multiply_blocks<Tile>(tile, a, packed_b, rows, columns, depth,
                              {task.c + i0 * task.ldc + j0, task.ldc, task.accumulate || k0 > 0});
      }
    }
  }
}

}  // namespace

}  // namespace beaverpond::internal
