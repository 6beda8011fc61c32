// How deep a product by digits may be (kernels/cuda/digit_product.cuh).
#pragma once

#include <cstdint>

namespace beaverpond::cuda {

/// Of k in one sum: diagonal 3 is the sum of 4 k products up to 2^14 and needs all its 32 bits,
/// k < 2^15; those below are smaller, of those above the result takes 32 bits or fewer. A multiple
/// of every tile's depth.
inline constexpr std::uint32_t kMaxDigitDepth = 32752;

}  // namespace beaverpond::cuda
