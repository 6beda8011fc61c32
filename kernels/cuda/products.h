// Ring products on a device: which of the kernels computes a shape, and their launches.
#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/work.h"

namespace beaverpond::cuda {

/// How a product is computed. All are exact.
enum class ProductMethod : std::uint8_t {
  kAuto,      ///< the one that ProductRates says is fastest
  kWords,     ///< 64-bit integer multiplications
  kResidues,  ///< 18 products of bytes on tensor cores
};

/// What a device was measured to do, in units a nanosecond; `beaverpond-gpu-bench tune` prints
/// them. The defaults are those of an H100.
struct ProductRates {
  double words_macs = 3500;        ///< multiplications and additions of words, full tiles
  double residue_macs = 500000;    ///< of bytes, full tiles
  double converted_words = 90;     ///< words to residues, and back
  double launch_ns = 4000;         ///< a kernel's own time
};

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
