// Words for kernels one by one, and for the CPU's backend beside them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace beaverpond::cuda {

/// As Backend::allocate() gives them: 64-byte aligned, each an allocation of its own size.
template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  explicit AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new (count * sizeof(T), std::align_val_t{64}));
  }
  void deallocate(T* memory, std::size_t) { ::operator delete (memory, std::align_val_t{64}); }
  friend bool operator==(const AlignedAllocator&, const AlignedAllocator&) { return true; }
};
using WordList = std::vector<std::uint64_t, AlignedAllocator<std::uint64_t>>;

}  // namespace beaverpond::cuda
