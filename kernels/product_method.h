// How a device computes a ring product. All methods are exact.
#pragma once

#include <cstdint>

namespace beaverpond {

enum class ProductMethod : std::uint8_t {
  kAuto,      ///< the one that the device's measured rates say is fastest
  kWords,     ///< 64-bit integer multiplications
  kResidues,  ///< 18 products of bytes on tensor cores, by our own kernel
  kDigits,    ///< 48 products of bytes on tensor cores, digits taken as they are multiplied
  kLibrary,   ///< the same 18 products by cuBLASLt
};

}  // namespace beaverpond
