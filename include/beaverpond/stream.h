// A stream: the order in which a device carries out operations. Always the last argument.
#pragma once

namespace beaverpond {

/// A view of a device's stream; trivial, never owns. On the CPU backend operations are complete
/// when the call returns, and the handle is null.
struct StreamRef {
  void* handle = nullptr;
};

inline constexpr StreamRef kHostStream{};

}  // namespace beaverpond
