// One row of the kernels' benchmark: ours, a reference, and whether they agree.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace beaverpond {

struct KernelCase {
  std::string name, unit, reference;
  double work = 0;  ///< units done by one call
  std::function<void()> ours, theirs;
  std::function<bool()> agree;  ///< runs both and compares every bit
};

/// Scratch memory, aligned to 64 bytes.
using AlignedBytes = std::unique_ptr<std::byte, decltype(&std::free)>;

inline AlignedBytes aligned_bytes(std::size_t size_bytes) {
  return {static_cast<std::byte*>(std::aligned_alloc(64, (size_bytes + 63) / 64 * 64)), &std::free};
}

inline std::vector<std::uint64_t> random_words(std::size_t count, std::mt19937_64& random) {
  std::vector<std::uint64_t> words(count);
  for (std::uint64_t& word : words) word = random();
  return words;
}

}  // namespace beaverpond
