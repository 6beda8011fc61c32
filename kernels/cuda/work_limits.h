// How much of an operation is done at a time. The defaults suit devices; tests take tiny ones, so
// that every cut is met.
#pragma once

#include <chrono>
#include <cstdint>

#include "kernels/cuda/digit_depth.h"
#include "kernels/cuda/residue_tables.h"
#include "kernels/cuda/runtime.h"

namespace beaverpond::cuda {

struct WorkLimits {
  std::uint64_t chunk_bytes = std::uint64_t{128} << 20;  ///< of expanded records and tables
  std::uint64_t plane_bytes = std::uint64_t{2} << 30;    ///< of residues of one operand
  std::uint32_t residue_depth = kMaxResidueDepth;        ///< of k in one product of residues
  std::uint32_t digit_depth = kMaxDigitDepth;            ///< in one product of digits
  std::uint64_t stream_units = std::uint64_t{1} << 29;   ///< of 64 bytes, one launch
  std::uint32_t grid_rows = 65535;                       ///< what grid.y takes
  std::chrono::milliseconds patience = kDevicePatience;  ///< with a device that does not end
};

}  // namespace beaverpond::cuda
