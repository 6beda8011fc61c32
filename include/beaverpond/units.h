// Counts are not bytes: an ElementCount never turns into a ByteCount by accident.
#pragma once

#include <compare>
#include <cstdint>

namespace beaverpond {

struct ElementCount {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(ElementCount, ElementCount) = default;
};

struct ByteCount {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(ByteCount, ByteCount) = default;
};

/// Bytes of `count` ring words (elements of Z mod 2^64).
constexpr ByteCount bytes_of_words(ElementCount count) {
  return ByteCount{count.value * 8};
}

}  // namespace beaverpond
