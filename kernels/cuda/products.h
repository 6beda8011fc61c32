// Ring products on a device: which of the kernels computes a shape, and their launches.
#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/work.h"
#include "kernels/product_method.h"

namespace beaverpond::cuda {

/// What a device was measured to do, in units a nanosecond. `beaverpond-gpu-bench --tune` prints a
/// row for the table in rates.cpp.
struct ProductRates {
  double words_macs = 0;       ///< multiplications and additions of words, full tiles
  double residue_macs = 0;     ///< of bytes, full tiles, by our own kernel
  double converted_words = 0;  ///< words to residues, and back
  double launch_ns = 0;        ///< a kernel's own time
};

/// The measured row of the device, or for one that nobody measured the H100's row, by the number of
/// multiprocessors.
ProductRates rates_of(const DeviceProperties& device);

/// Of a product m x n x k: the method that takes the least time by `rates`.
ProductMethod fastest_method(const ProductRates& rates, std::uint64_t m, std::uint64_t n,
                             std::uint64_t k);

struct ProductOptions {
  ProductMethod method = ProductMethod::kAuto;
  ProductRates rates;
};

void multiply_matrices(Work& work, const ProductOptions& options, const MatMulShape& shape,
                       const std::uint64_t* x, const std::uint64_t* y, std::uint64_t* out,
                       bool accumulate, cudaStream_t stream);
/// As Backend::conv2d; patches are gathered as they are used, never stored as words.
void convolve(Work& work, const ProductOptions& options, ConvKind kind, const Conv2dShape& shape,
              const std::uint64_t* x, const std::uint64_t* y, std::uint64_t* out, bool accumulate,
              cudaStream_t stream);

}  // namespace beaverpond::cuda
