// What the parts of ProgramBuilder share.
#pragma once

#include <cstdint>
#include <string>

#include "beaverpond/program.h"

namespace beaverpond {

// Above any tensor that fits in memory, and low enough that byte counts never overflow.
inline constexpr std::uint64_t kMaxTensorCount = std::uint64_t{1} << 40;

// Shape::count() wraps for absurd dimensions, this does not. Zero means "not a shape".
inline std::uint64_t checked_count(const Shape& shape) {
  if (shape.rank == 0 || shape.rank > Shape::kMaxRank) return 0;
  std::uint64_t count = 1;
  for (std::uint32_t i = 0; i < shape.rank; ++i) {
    if (shape.dims[i] == 0 || shape.dims[i] > kMaxTensorCount / count) return 0;
    count *= shape.dims[i];
  }
  return count;
}

inline std::string quoted_pair(const Value& x, const Value& y) {
  return x.shape.str() + " at scale " + std::to_string(x.scale_bits) + " and " + y.shape.str() +
         " at scale " + std::to_string(y.scale_bits);
}

}  // namespace beaverpond
