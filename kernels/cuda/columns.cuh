// Kernels that look at a matrix by columns.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"

namespace beaverpond::cuda {

/// Sums of columns: a block adds rows of 32 columns and meets others by atomic additions, which
/// commute mod 2^64. `out` was zeroed. block (32, 8); grid (columns / 32, parts of rows).
__global__ void __launch_bounds__(256)
    sum_columns(const std::uint64_t* x, std::uint64_t rows, std::uint64_t columns,
                std::uint64_t part, std::uint64_t* out) {
  const std::uint64_t column = std::uint64_t{blockIdx.x} * 32 + threadIdx.x;
  if (column >= columns) return;
  const std::uint64_t begin = std::uint64_t{blockIdx.y} * part;
  const std::uint64_t end = begin + part < rows ? begin + part : rows;
  std::uint64_t sum = 0;
  for (std::uint64_t row = begin + threadIdx.y; row < end; row += 8)
    sum += x[row * columns + column];
  atomicAdd(reinterpret_cast<unsigned long long*>(out + column),
            static_cast<unsigned long long>(sum));
}

/// out[n, m] = x[m, n], tiles of 32 x 32 through shared memory. block (32, 8).
__global__ void __launch_bounds__(256)
    transpose_words(const std::uint64_t* x, std::uint64_t m, std::uint64_t n, std::uint64_t* out) {
  constexpr unsigned kTile = 32;
  constexpr unsigned kPitch = kTile + 1;
  std::uint64_t* const tile = dynamic_shared<std::uint64_t>();
  const std::uint64_t tiles_n = (n + kTile - 1) / kTile;
  const std::uint64_t row0 = blockIdx.x / tiles_n * kTile;
  const std::uint64_t column0 = blockIdx.x % tiles_n * kTile;
  for (unsigned i = threadIdx.y; i < kTile; i += 8) {
    if (row0 + i < m && column0 + threadIdx.x < n) {
      tile[i * kPitch + threadIdx.x] = x[(row0 + i) * n + column0 + threadIdx.x];
    }
  }
  __syncthreads();
  for (unsigned i = threadIdx.y; i < kTile; i += 8) {
    if (column0 + i < n && row0 + threadIdx.x < m) {
      out[(column0 + i) * m + row0 + threadIdx.x] = tile[threadIdx.x * kPitch + i];
    }
  }
}

}  // namespace beaverpond::cuda
