// What the words of a stream do to those in memory.
#pragma once

#include <cstdint>

namespace beaverpond::cuda {

enum class StreamUse : std::uint8_t { kFill, kAdd, kSubtract, kXor };

}  // namespace beaverpond::cuda
