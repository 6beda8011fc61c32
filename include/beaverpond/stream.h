// A stream: the order in which a device carries out operations. Always the last argument.
#pragma once

#include <cstdint>

namespace beaverpond {

/// Where memory lies. Host code never touches kDevice memory.
enum class MemoryKind : std::uint8_t { kHost, kDevice };

/// A view of a device's stream; trivial, never owns. On the CPU backend operations are complete
/// when the call returns, and the handle is null; on a device null is the backend's own stream.
struct StreamRef {
  void* handle = nullptr;
};

inline constexpr StreamRef kHostStream{};

}  // namespace beaverpond
