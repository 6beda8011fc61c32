// Lookups in dealt tables of 2^n words.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"

namespace beaverpond::cuda {

/// out = dealt table's word at the opened, public place.
struct LookupElement {
  const std::uint64_t* tables;  ///< of element `first` on
  const std::uint64_t* opened;
  std::uint64_t size, first;
  std::uint64_t* out;
  __device__ void operator()(std::uint64_t i) const {
    out[first + i] = tables[i * size + (opened[first + i] & (size - 1))];
  }
};

/// dealt[element][v] = table[v - r mod size], r the element's clear mask: rotated bit by bit of r,
/// so that no address and no branch depends on it. A block an element; shared memory: two tables.
__global__ void __launch_bounds__(256)
    rotate_tables(const std::uint64_t* table, const std::uint64_t* masks, std::uint32_t size,
                  std::uint64_t* dealt) {
  std::uint64_t* from = dynamic_shared<std::uint64_t>();
  std::uint64_t* to = from + size;
  const std::uint64_t r = masks[blockIdx.x];
  for (std::uint32_t v = threadIdx.x; v < size; v += blockDim.x) from[v] = table[v];
  __syncthreads();
  for (std::uint32_t step = 1; step < size; step <<= 1) {
    const std::uint64_t moved = 0 - std::uint64_t{(r & step) != 0};
    for (std::uint32_t v = threadIdx.x; v < size; v += blockDim.x) {
      to[v] = (from[(v - step) & (size - 1)] & moved) | (from[v] & ~moved);
    }
    __syncthreads();
    std::uint64_t* const swap = from;
    from = to;
    to = swap;
  }
  std::uint64_t* const out = dealt + std::uint64_t{blockIdx.x} * size;
  for (std::uint32_t v = threadIdx.x; v < size; v += blockDim.x) out[v] = from[v];
}

}  // namespace beaverpond::cuda
