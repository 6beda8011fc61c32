// Ring products on a device: which of the kernels computes a shape, and their launches.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/backend.h"
#include "kernels/cuda/library_products.h"
#include "kernels/cuda/work.h"
#include "kernels/product_rates.h"

namespace beaverpond::cuda {

/// The rates of one device, and whose they are, for a person.
struct KnownRates {
  ProductRates rates;
  std::string origin;
};
/// The device's row among those of `tuning`, else of the rows that are built in, else, for a device
/// that nobody measured, the H100's row by the number of multiprocessors.
KnownRates rates_of(const DeviceProperties& device, const ProductTuning& tuning);

/// Columns of a block of multiply_words and multiply_digits where a product has n.
constexpr std::uint32_t columns_of_tile(std::uint64_t n) {
  return n <= 16 ? 16 : n <= 32 ? 32 : 64;
}

/// Of a product m x n x k: the method that takes the least time by `rates`.
ProductMethod fastest_method(const ProductRates& rates, std::uint64_t m, std::uint64_t n,
                             std::uint64_t k);

struct ProductOptions {
  ProductMethod method = ProductMethod::kAuto;
  ProductRates rates;
  LibraryProducts* library = nullptr;  ///< null: no product goes to it
};

void multiply_matrices(Work& work, const ProductOptions& options, const MatMulShape& shape,
                       const std::uint64_t* x, const std::uint64_t* y, std::uint64_t* out,
                       bool accumulate, cudaStream_t stream);
/// As Backend::conv2d; patches are gathered as they are used, never stored as words.
void convolve(Work& work, const ProductOptions& options, ConvKind kind, const Conv2dShape& shape,
              const std::uint64_t* x, const std::uint64_t* y, std::uint64_t* out, bool accumulate,
              cudaStream_t stream);

}  // namespace beaverpond::cuda
