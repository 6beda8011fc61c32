// Operands between pages that cannot be touched.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace beaverpond {

/// Memory whose last word touches a page that cannot be read, and whose first word may too: any
/// over-read or over-write faults.
class GuardedWords {
 public:
  enum class Edge { kEnd, kStart };

  GuardedWords(std::size_t count, Edge edge) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t inside = (count * 8 + page - 1) / page * page;
    size_ = inside + 2 * page;
    void* map = mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) std::abort();
    base_ = static_cast<std::uint8_t*>(map);
    if (inside > 0 && mprotect(base_ + page, inside, PROT_READ | PROT_WRITE) != 0) std::abort();
    const std::size_t offset = edge == Edge::kEnd ? page + inside - count * 8 : page;
    data_ = reinterpret_cast<std::uint64_t*>(base_ + offset);
  }
  GuardedWords(const GuardedWords&) = delete;
  GuardedWords& operator=(const GuardedWords&) = delete;
  ~GuardedWords() { munmap(base_, size_); }

  std::uint64_t* data() { return data_; }

 private:
  std::uint8_t* base_ = nullptr;
  std::size_t size_ = 0;
  std::uint64_t* data_ = nullptr;
};

}  // namespace beaverpond
