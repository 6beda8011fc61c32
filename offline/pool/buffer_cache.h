// Recycled memory for corrections: megabytes a bundle, aligned for vector loads.
#pragma once

#include <cstdint>
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

  /// Keeps at most `keep` unused buffers.
  explicit BufferCache(std::size_t keep);
  /// `size` bytes, aligned to kAlignment, content undefined. Errors: kOutOfMemory.
  Result<Buffer> take(std::size_t size);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace beaverpond
