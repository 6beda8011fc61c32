// A stream: the order in which a device carries out operations. Always the last argument.
#pragma once

#include <cstdint>

namespace beaverpond {

/// Where memory lies. Only a device's own operations touch kDevice memory.
enum class MemoryKind : std::uint8_t { kHost, kDevice };

/// A view of a device's stream; trivial, never owns. On the CPU backend operations are complete
/// when the call returns, and the handle is null.
struct StreamRef {
  void* handle = nullptr;
};

inline constexpr StreamRef kHostStream{};

}  // namespace beaverpond
