// Recycled memory for corrections: megabytes a bundle, aligned for vector loads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "beaverpond/result.h"

namespace beaverpond {

/// Hands out buffers and takes them back when their last owner drops them. Wipes a buffer before it
/// returns it to the system; a recycled one is overwritten by its next use. Threads: all calls may
/// run at once. The cache may be gone before its buffers are.
class BufferCache {
 public:
  static constexpr std::size_t kAlignment = 4096;

  struct Buffer {
    std::span<std::uint8_t> bytes;
    std::shared_ptr<const void> owner;
  };

  /// Makes a buffer whose owner wipes it. Aligned to 64 bytes.
  using Allocator = std::function<Result<Buffer>(std::size_t size)>;

  /// Keeps at most `keep` unused buffers. Without `allocate` they are ordinary memory.
  explicit BufferCache(std::size_t keep, Allocator allocate = {});
  /// `size` bytes, aligned to kAlignment unless `allocate` does otherwise, content undefined.
  /// Errors: kOutOfMemory, and those of `allocate`.
  Result<Buffer> take(std::size_t size);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace beaverpond
