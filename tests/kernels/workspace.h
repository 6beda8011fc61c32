// Scratch memory for kernels under test.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <span>

namespace beaverpond {

/// Owns `size_bytes` bytes aligned to 64.
class Workspace {
 public:
  explicit Workspace(std::size_t size_bytes)
      : size_bytes_(size_bytes),
        data_(static_cast<std::byte*>(std::aligned_alloc(64, (size_bytes + 63) / 64 * 64))) {
    if (data_ == nullptr) std::abort();
  }
  Workspace(const Workspace&) = delete;             // one owner
  Workspace& operator=(const Workspace&) = delete;  // one owner
  ~Workspace() { std::free(data_); }

  std::span<std::byte> span() { return {data_, size_bytes_}; }

 private:
  std::size_t size_bytes_;
  std::byte* data_;
};

}  // namespace beaverpond
