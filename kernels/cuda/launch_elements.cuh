// Starting a kernel of kernels/cuda/elements.cuh.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/work.h"

namespace beaverpond::cuda {

/// f(i) for 0 <= i < count, in any order.
template <class F>
void for_elements(Work& work, const F& f, std::uint64_t count, cudaStream_t stream) {
  if (count == 0) return;
  // Enough to fill the device many times over; threads then take several elements each.
  const unsigned most = 64u * static_cast<unsigned>(work.properties().multiprocessors);
  const unsigned blocks =
      static_cast<unsigned>(std::min<std::uint64_t>((count + 255) / 256, std::max(most, 1u)));
  work.run("work on elements", &for_each_index<F>, {dim3(blocks), dim3(256), 0}, stream, f, count);
}

}  // namespace beaverpond::cuda
