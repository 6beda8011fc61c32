// The ways to a ring product, for any pair of operands (kernels/cuda/operand.cuh).
#pragma once

#include <algorithm>
#include <cstdint>

#include "beaverpond/check.h"
#include "kernels/cuda/digit_product.cuh"
#include "kernels/cuda/operand.cuh"
#include "kernels/cuda/products.h"
#include "kernels/cuda/residue_stages.h"
#include "kernels/cuda/residues.cuh"
#include "kernels/cuda/simt_product.cuh"

namespace beaverpond::cuda {

struct ProductSize {
  std::uint32_t m = 0;
  std::uint32_t n = 0;
  std::uint32_t k = 0;
};

/// The rows of `source` from `first` on.
template <class Source>
struct RowsFrom {
  Source source;
  std::uint32_t first = 0;
  bool contiguous_depth = source.contiguous_depth;
  __device__ __forceinline__ std::uint64_t at(std::uint32_t row, std::uint32_t k) const {
    return source.at(first + row, k);
  }
};

/// By `kernel`, multiply_words or multiply_digits, at most `most_depth` of k a block.
template <class Tile, class A, class B, class Kernel>
void multiply_in_tiles(Work& work, Kernel* kernel, std::uint32_t most_depth,
                       const ProductSize& size, const A& a, const B& b, std::uint64_t* out,
                       bool accumulate, cudaStream_t stream) {
  const unsigned columns = blocks_for(size.n, Tile::kN);
  const unsigned rows = blocks_for(size.m, Tile::kM);
  // Where there are fewer blocks than the device takes at once, k is cut; at least 32 a part.
  const std::uint64_t wanted = 2 * static_cast<std::uint64_t>(work.properties().multiprocessors);
  const std::uint64_t blocks = std::uint64_t{columns} * rows;
  std::uint64_t parts = std::min<std::uint64_t>((wanted + blocks - 1) / blocks, (size.k + 31) / 32);
  parts = std::max<std::uint64_t>(parts, 1);
  const std::uint32_t part_k =
      std::min(static_cast<std::uint32_t>((size.k + parts - 1) / parts + (Tile::kDepth - 1)) /
                   Tile::kDepth * Tile::kDepth,
               most_depth);
  const unsigned layers = std::max(1u, blocks_for(size.k, std::max<std::uint32_t>(part_k, 1)));
  if (layers > 1 && !accumulate) work.zero(out, std::uint64_t{size.m} * size.n * 8, stream);
  const unsigned most_rows = work.limits().grid_rows;
  for (unsigned first = 0; first < rows; first += most_rows) {
    const unsigned some = std::min(most_rows, rows - first);
    const std::uint32_t skip = first * Tile::kM;
    work.run("multiply matrices", kernel,
             {dim3(columns, some, layers), dim3(Tile::kThreads), Tile::kSharedBytes}, stream,
             RowsFrom<A>{a, skip}, b, out + std::uint64_t{skip} * size.n, size.m - skip, size.n,
             size.k, part_k, accumulate);
  }
}

template <class Tile, class A, class B>
void multiply_by_words(Work& work, const ProductSize& size, const A& a, const B& b,
                       std::uint64_t* out, bool accumulate, cudaStream_t stream) {
  constexpr std::uint32_t kAnyDepth = std::uint32_t{1} << 31;
  multiply_in_tiles<Tile>(work, &multiply_words<Tile, RowsFrom<A>, B>, kAnyDepth, size, a, b, out,
                          accumulate, stream);
}
template <class Tile, class A, class B>
void multiply_by_digits(Work& work, const ProductSize& size, const A& a, const B& b,
                        std::uint64_t* out, bool accumulate, cudaStream_t stream) {
  multiply_in_tiles<Tile>(work, &multiply_digits<Tile, RowsFrom<A>, B>, work.limits().digit_depth,
                          size, a, b, out, accumulate, stream);
}

template <class Source>
void convert(Work& work, const Source& source, const ResidueWeights& weights, std::uint8_t* planes,
             std::uint32_t rows, std::uint32_t first_k, std::uint32_t depth, std::uint32_t pitch,
             cudaStream_t stream) {
  work.run("take residues", &make_residues<Source>,
           {dim3(blocks_for(rows, ResidueTile::kRows), blocks_for(pitch, ResidueTile::kDepth)),
            dim3(ResidueTile::kThreads), ResidueTile::kSharedBytes},
           stream, source, weights, planes, rows, first_k, depth, pitch,
           std::uint64_t{rows} * pitch);
}

/// Rows of an operand at a time, so that their planes stay below the limit.
inline std::uint32_t residue_rows(const Work& work, std::uint32_t rows, std::uint64_t row_bytes) {
  const std::uint64_t fit = work.limits().plane_bytes / (kModuli * row_bytes) / 128 * 128;
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(std::max<std::uint64_t>(fit, 128), rows));
}

/// `library` null: by our own kernel.
template <class A, class B>
void multiply_by_residues(Work& work, LibraryProducts* library, const ProductSize& size, const A& a,
                          const B& b, std::uint64_t* out, bool accumulate, cudaStream_t stream) {
  const std::uint32_t most_depth = work.limits().residue_depth;
  for (std::uint32_t k0 = 0; k0 < size.k; k0 += most_depth) {
    const std::uint32_t depth = std::min(most_depth, size.k - k0);
    const std::uint32_t pitch = (depth + 63) / 64 * 64;
    const std::uint32_t most_n = residue_rows(work, size.n, pitch);
    const std::uint32_t c_pitch = (most_n + 15) / 16 * 16;
    // The library leaves four bytes a result and reads rows behind the last one.
    const std::uint32_t result_bytes = library == nullptr ? 1 : 4;
    const std::uint32_t more_rows = library == nullptr ? 0 : kLibraryColumns;
    const std::uint32_t most_m =
        residue_rows(work, size.m, std::uint64_t{pitch} + std::uint64_t{c_pitch} * result_bytes);
    Carving parts;
    const std::uint64_t at_a = parts.add(std::uint64_t{kModuli} * most_m * pitch);
    const std::uint64_t at_b = parts.add((std::uint64_t{kModuli} * most_n + more_rows) * pitch);
    const std::uint64_t at_c = parts.add(std::uint64_t{kModuli} * most_m * c_pitch * result_bytes);
    std::uint8_t* const memory = work.scratch(parts.size_bytes(), stream);
    if (memory == nullptr) return;
    ProductPlanes planes{memory + at_a, memory + at_b, memory + at_c, 0, 0, pitch, c_pitch};
    for (std::uint32_t column = 0; column < size.n; column += most_n) {
      planes.n = std::min(most_n, size.n - column);
      convert(work, RowsFrom<B>{b, column}, kRightWeights, memory + at_b, planes.n, k0, depth,
              pitch, stream);
      for (std::uint32_t row = 0; row < size.m; row += most_m) {
        planes.m = std::min(most_m, size.m - row);
        convert(work, RowsFrom<A>{a, row}, kLeftWeights, memory + at_a, planes.m, k0, depth, pitch,
                stream);
        std::uint64_t* const to = out + std::uint64_t{row} * size.n + column;
        const bool adds = accumulate || k0 > 0;
        if (library == nullptr) {
          multiply_planes(work, planes, stream);
          recover_product(work, planes, to, size.n, adds, stream);
        } else {
          auto* const sums = reinterpret_cast<std::int32_t*>(planes.c);
          if (work.ok()) work.note(library->multiply(planes, sums, stream));
          recover_library_product(work, planes, sums, to, size.n, adds, stream);
        }
      }
    }
  }
}

/// out[m, n] (+)= the sum over k of a.at(row, k) b.at(column, k).
template <class A, class B>
void multiply_any(Work& work, const ProductOptions& options, const ProductSize& size, const A& a,
                  const B& b, std::uint64_t* out, bool accumulate, cudaStream_t stream) {
  if (size.m == 0 || size.n == 0) return;
  if (size.k == 0) {
    if (!accumulate) work.zero(out, std::uint64_t{size.m} * size.n * 8, stream);
    return;
  }
  ProductMethod method = options.method;
  if (method == ProductMethod::kAuto) {
    method = fastest_method(options.rates, size.m, size.n, size.k);
  }
  if (method == ProductMethod::kResidues) {
    multiply_by_residues(work, nullptr, size, a, b, out, accumulate, stream);
  } else if (method == ProductMethod::kLibrary) {
    BP_CHECK(options.library != nullptr, "a product by cuBLASLt, which is not there");
    multiply_by_residues(work, options.library, size, a, b, out, accumulate, stream);
  } else if (method == ProductMethod::kDigits) {
    switch (columns_of_tile(size.n)) {
      case 16: multiply_by_digits<DigitNarrow>(work, size, a, b, out, accumulate, stream); break;
      case 32: multiply_by_digits<DigitMiddle>(work, size, a, b, out, accumulate, stream); break;
      default: multiply_by_digits<DigitWide>(work, size, a, b, out, accumulate, stream); break;
    }
  } else {
    switch (columns_of_tile(size.n)) {
      case 16: multiply_by_words<SimtNarrow>(work, size, a, b, out, accumulate, stream); break;
      case 32: multiply_by_words<SimtMiddle>(work, size, a, b, out, accumulate, stream); break;
      default: multiply_by_words<SimtWide>(work, size, a, b, out, accumulate, stream); break;
    }
  }
}

}  // namespace beaverpond::cuda
