// The blocked matrix product around a tile kernel, compiled once per instruction set. Plain
// pointers only, and everything has internal linkage: see kernels/CMakeLists.txt.
//
// Blocking after Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008:
// B in blocks of kGemmDepth x kGemmWidth, packed into panels of at most Tile::kColumns columns; A
// in blocks of kGemmHeight x kGemmDepth, read in place where its words lie well in memory. A depth
// block may hold the end of one term and the start of the next, so that C is visited once for both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/gemm/operand.h"

namespace beaverpond::internal {

inline constexpr std::size_t kGemmDepth = 512;   // deep: C is visited once for so many products
inline constexpr std::size_t kGemmHeight = 120;  // the block of A is 480 KiB: half of an L2
inline constexpr std::size_t kGemmWidth = 512;   // a panel of B of 96 KiB at most stays in L2
inline constexpr std::size_t kGemmPitch = kGemmDepth + 8;  // rows of A's copy avoid one cache set
inline constexpr std::size_t kGemmBlockWords = kGemmDepth * kGemmWidth + kGemmHeight * kGemmPitch;
inline constexpr std::size_t kGemmTableWords = (kMostTerms + 1) * kGemmHeight + kGemmDepth;
/// Both blocks, half a word beside each word for the kernel that wants it, tables of offsets.
inline constexpr std::size_t kGemmWorkspaceWords =
    kGemmBlockWords + kGemmBlockWords / 2 + kGemmTableWords;

/// Up to so many rows of A, packing B costs more than it saves.
inline constexpr std::size_t kFewRows = 32;

namespace {

/// Part of a term in a depth block.
struct Segment {
  const GemmTerm* term;
  std::size_t k0, depth;
};

/// A depth block: consecutive parts of the terms.
struct DepthBlock {
  Segment segments[kMostTerms];
  std::size_t count = 0;
  std::size_t depth = 0;
};

/// Rows of A times a depth segment, as the tile kernels read them: data[rows[r] + ks[k]].
struct ASegment {
  const std::uint64_t* data;
  const std::size_t* rows;
  const std::size_t* ks;
  std::size_t depth;
};

/// Columns of B: row k at data + k * step.
struct BSegment {
  const std::uint64_t* data;
  std::size_t step;
};

/// One tile of C: at most Tile::kRows x Tile::kColumns words.
struct TileJob {
  ASegment a[kMostTerms];
  BSegment b[kMostTerms];
  std::size_t segments;
  std::size_t rows, columns;
  std::size_t width;         ///< columns that B's rows hold: `columns`, rounded up to Tile::kUnit
  std::size_t first_row;     ///< in the block of A
  std::size_t first_column;  ///< in the block of B
  std::uint64_t* c;
  const std::size_t* c_rows;  ///< row r of the tile starts at c + c_rows[r]
  bool add;                   ///< C += instead of C =
};

inline std::size_t smaller(std::size_t a, std::size_t b) {
  return a < b ? a : b;
}

inline std::size_t round_up_to(std::size_t x, std::size_t unit) {
  return (x + unit - 1) / unit * unit;
}

/// offsets of indices [from, from + count).
inline void fill_offsets(const Axis& axis, std::size_t from, std::size_t count, std::size_t* out) {
  if (axis.linear()) {
    for (std::size_t i = 0; i < count; ++i) out[i] = (from + i) * axis.stride;
    return;
  }
  std::size_t in = from % axis.inner, rest = from / axis.inner;
  for (std::size_t i = 0; i < count;) {
    const std::size_t start =
        rest % axis.middle * axis.middle_stride + rest / axis.middle * axis.outer_stride;
    const std::size_t run = smaller(axis.inner - in, count - i);
    for (std::size_t j = 0; j < run; ++j) out[i + j] = start + (in + j) * axis.stride;
    i += run;
    in = 0;
    ++rest;
  }
}

/// Columns of the next panel where `left` are left: full ones, and the last two about equally wide,
/// because a narrow panel reads as much of A as a wide one.
inline std::size_t panel_width(std::size_t left, std::size_t unit, std::size_t most) {
  const std::size_t padded = round_up_to(left, unit);
  if (padded <= most) return padded;
  if (padded >= 2 * most) return most;
  return smaller(round_up_to((padded + 1) / 2, 8), most);
}

/// Cuts the terms into blocks of about equal depth, at most kGemmDepth.
class DepthBlocks {
 public:
  explicit DepthBlocks(const GemmTask& task) : task_(task) {
    std::size_t total = 0;
    for (std::size_t t = 0; t < task.term_count; ++t) total += task.terms[t].k;
    const std::size_t blocks = (total + kGemmDepth - 1) / kGemmDepth;
    depth_ = blocks == 0 ? 0 : round_up_to((total + blocks - 1) / blocks, 8);
  }

  bool next(DepthBlock& block) {
    block = {};
    while (term_ < task_.term_count && block.depth < depth_) {
      const GemmTerm& term = task_.terms[term_];
      const std::size_t depth = smaller(term.k - k_, depth_ - block.depth);
      if (depth > 0) block.segments[block.count++] = {&term, k_, depth};
      block.depth += depth;
      k_ += depth;
      if (k_ == term.k) ++term_, k_ = 0;
    }
    return block.depth > 0;
  }

 private:
  const GemmTask& task_;
  std::size_t depth_ = 0, term_ = 0, k_ = 0;
};

/// `width` columns from column j of a B whose columns are apart, k-major, zeros beyond `used`:
/// eight rows of the panel at a time, so that what a column reads fills whole cache lines.
inline void pack_strided(const Segment& segment, std::size_t j, std::size_t used, std::size_t width,
                         std::uint64_t* out) {
  const GemmTerm& term = *segment.term;
  const std::size_t step = term.b_column_stride;
  const std::uint64_t* in = term.b + segment.k0 * term.b_row_stride + j * step;
  for (std::size_t k = 0; k < segment.depth; k += 8) {
    const std::size_t rows = smaller(segment.depth - k, 8);
    for (std::size_t i = 0; i < width; ++i) {
      const std::uint64_t* from = in + k * term.b_row_stride + i * step;
      std::uint64_t* to = out + k * width + i;
      for (std::size_t r = 0; r < rows; ++r)
        to[r * width] = i < used ? from[r * term.b_row_stride] : 0;
    }
  }
}

/// A tile kernel that needs no more than the words of its operands.
struct WordTile {
  static constexpr bool kReadsBInPlace = true;

  explicit WordTile(const GemmTask&) {}
  static void pack_transposed(const Segment& segment, std::size_t j, std::size_t used,
                              std::size_t width, std::uint64_t* out) {
    pack_strided(segment, j, used, width, out);
  }
  static void after_packing_b(const DepthBlock&, const std::uint64_t*, std::size_t, std::size_t) {}
  static void after_placing_a(const ASegment*, std::size_t, std::size_t) {}
};

/// `width` columns from column j, k-major, zeros beyond `used`.
template <class Tile>
inline void pack_panel(const Segment& segment, std::size_t j, std::size_t used, std::size_t width,
                       std::uint64_t* out) {
  const GemmTerm& term = *segment.term;
  if (term.b_column_stride != 1) {
    if (term.b_row_stride == 1) return Tile::pack_transposed(segment, j, used, width, out);
    return pack_strided(segment, j, used, width, out);
  }
  const std::uint64_t* in = term.b + segment.k0 * term.b_row_stride + j;
  for (std::size_t k = 0; k < segment.depth; ++k, in += term.b_row_stride, out += width) {
    std::size_t i = 0;
    for (; i + 4 <= used; i += 4) std::memcpy(out + i, in + i, 32);  // a move, no call
    for (; i < width; ++i) out[i] = i < used ? in[i] : 0;
  }
}

/// B's part of a tile: packed, or in place.
template <class Tile>
inline bool b_in_place(const GemmTask& task, const DepthBlock& block, std::size_t used,
                       std::size_t width) {
  if (!Tile::kReadsBInPlace || used != width || task.m > kFewRows) return false;
  for (std::size_t s = 0; s < block.count; ++s) {
    if (block.segments[s].term->b_column_stride != 1) return false;
  }
  return true;
}

/// Rows of A that start a multiple of 4 KiB apart share a cache set and evict each other.
inline bool rows_collide(std::size_t row_stride) {
  return row_stride % 512 == 0;
}

/// Where A's words of a block lie.
struct APlace {
  std::uint64_t* copy;     ///< kGemmHeight x kGemmPitch words
  std::size_t* row_table;  ///< kGemmHeight entries
  std::size_t* k_table;    ///< as many as the segment is deep
};

/// The block of A at row i0: in place, or copied. `at` is where the segment starts in the block.
template <std::size_t panel_rows>
inline ASegment place_a(const GemmTask& task, const Segment& segment, std::size_t i0,
                        std::size_t rows, std::size_t at, std::size_t panel_columns,
                        const APlace& place) {
  const Operand& a = segment.term->a;
  const ASegment result{a.data, place.row_table, place.k_table, segment.depth};
  const bool few_uses = task.n <= 2 * panel_columns;  // too few to pay for a copy
  const bool strided = a.rows.linear() && a.columns.linear();
  const bool by_rows = a.columns.stride == 1;
  if (!strided || (few_uses && (by_rows || a.rows.stride == 1)) ||
      (by_rows && !rows_collide(a.rows.stride))) {
    fill_offsets(a.rows, i0, rows, place.row_table);
    fill_offsets(a.columns, segment.k0, segment.depth, place.k_table);
    return result;
  }
  const std::uint64_t* in = a.data + i0 * a.rows.stride + segment.k0 * a.columns.stride;
  if (by_rows) {
    for (std::size_t i = 0; i < rows; ++i) {
      std::memcpy(place.copy + i * kGemmPitch + at, in + i * a.rows.stride, segment.depth * 8);
    }
    fill_offsets({.stride = kGemmPitch}, 0, rows, place.row_table);
    fill_offsets({.stride = 1}, at, segment.depth, place.k_table);
  } else {
    // A transposed or otherwise strided matrix: panels of `panel_rows` rows, k-major.
    for (std::size_t i = 0; i < rows; i += panel_rows) {
      const std::size_t used = smaller(rows - i, panel_rows);
      std::uint64_t* panel = place.copy + i * kGemmPitch + at * panel_rows;
      for (std::size_t k = 0; k < segment.depth; ++k, panel += panel_rows) {
        const std::uint64_t* column = in + i * a.rows.stride + k * a.columns.stride;
        if (used == panel_rows && a.rows.stride == 1) {
          std::memcpy(panel, column, panel_rows * 8);
        } else {
          for (std::size_t r = 0; r < used; ++r) panel[r] = column[r * a.rows.stride];
        }
      }
    }
    fill_offsets({.stride = 1, .inner = panel_rows, .middle_stride = panel_rows * kGemmPitch}, 0,
                 rows, place.row_table);
    fill_offsets({.stride = panel_rows}, at, segment.depth, place.k_table);
  }
  return {place.copy, place.row_table, place.k_table, segment.depth};
}

/// The words of C are wanted when the tile is done, and no pattern tells the hardware.
inline void prefetch_c(const TileJob& job) {
  for (std::size_t r = 0; r < job.rows; ++r) {
    const std::uint64_t* row = job.c + job.c_rows[r];
    for (std::size_t j = 0; j < job.columns; j += 8) __builtin_prefetch(row + j, 1);
    __builtin_prefetch(row + job.columns - 1, 1);
  }
}

/// All tiles of one block of A times one block of B.
template <class Tile>
inline void multiply_blocks(const Tile& tile, const GemmTask& task, const DepthBlock& block,
                            const ASegment* a, const std::size_t* c_rows, std::size_t rows,
                            std::size_t j0, std::size_t columns, const std::uint64_t* packed_b,
                            bool add) {
  TileJob job;
  job.segments = block.count;
  job.add = add;
  for (std::size_t j = 0; j < columns; j += job.width) {
    job.width = panel_width(columns - j, tile.unit(), tile.most_columns());
    job.columns = smaller(columns - j, job.width);
    job.first_column = j;
    const bool in_place = b_in_place<Tile>(task, block, job.columns, job.width);
    const std::uint64_t* packed = packed_b + j * block.depth;
    for (std::size_t s = 0; s < block.count; ++s) {
      const Segment& segment = block.segments[s];
      const GemmTerm& term = *segment.term;
      job.b[s] = in_place
                     ? BSegment{term.b + segment.k0 * term.b_row_stride + j0 + j, term.b_row_stride}
                     : BSegment{packed, job.width};
      packed += segment.depth * job.width;
    }
    for (std::size_t i = 0; i < rows; i += Tile::kRows) {
      job.rows = smaller(rows - i, Tile::kRows);
      job.first_row = i;
      for (std::size_t s = 0; s < block.count; ++s) {
        job.a[s] = a[s];
        job.a[s].rows += i;
      }
      job.c = task.c + j0 + j;
      job.c_rows = c_rows + i;
      prefetch_c(job);
      tile.multiply(job);
    }
  }
}

/// tile.multiply(job) computes one tile. It reads and writes nothing outside the rows and columns
/// of the job. after_packing_b and after_placing_a see each block before its first use; unit() and
/// most_columns() say how wide panels of B are. pack_transposed packs a panel
/// where the words of a column of B are consecutive.
template <class Tile>
inline void run_gemm(const GemmTask& task) {
  static_assert(kGemmHeight % Tile::kRows == 0);
  Tile tile(task);
  std::uint64_t* packed_b = task.workspace;
  std::uint64_t* copy_a = task.workspace + kGemmDepth * kGemmWidth;
  auto* tables =
      reinterpret_cast<std::size_t*>(task.workspace + kGemmWorkspaceWords) - kGemmTableWords;
  for (std::size_t j0 = 0; j0 < task.n; j0 += kGemmWidth) {
    const std::size_t columns = smaller(task.n - j0, kGemmWidth);
    bool add = task.accumulate;
    DepthBlocks blocks(task);
    for (DepthBlock block; blocks.next(block); add = true) {
      std::size_t width = 0;
      for (std::size_t j = 0; j < columns; j += width) {
        width = panel_width(columns - j, tile.unit(), tile.most_columns());
        const std::size_t used = smaller(columns - j, width);
        std::uint64_t* out = packed_b + j * block.depth;
        if (!b_in_place<Tile>(task, block, used, width)) {
          for (std::size_t s = 0; s < block.count; ++s) {
            pack_panel<Tile>(block.segments[s], j0 + j, used, width, out);
            out += block.segments[s].depth * width;
          }
          tile.after_packing_b(block, packed_b + j * block.depth, j, width);
        }
      }
      for (std::size_t i0 = 0; i0 < task.m; i0 += kGemmHeight) {
        const std::size_t rows = smaller(task.m - i0, kGemmHeight);
        ASegment a[kMostTerms];
        std::size_t at = 0;
        for (std::size_t s = 0; s < block.count; ++s) {
          a[s] = place_a<Tile::kRows>(
              task, block.segments[s], i0, rows, at, tile.most_columns(),
              {copy_a, tables + s * kGemmHeight, tables + kMostTerms * kGemmHeight + at});
          at += block.segments[s].depth;
        }
        tile.after_placing_a(a, block.count, rows);
        std::size_t* c_rows = tables + kMostTerms * kGemmHeight + kGemmDepth;
        fill_offsets(task.c_rows, i0, rows, c_rows);
        multiply_blocks(tile, task, block, a, c_rows, rows, j0, columns, packed_b, add);
      }
    }
  }
}

}  // namespace

}  // namespace beaverpond::internal
