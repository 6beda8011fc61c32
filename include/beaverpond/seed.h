// Seeds and pseudorandom streams (named here, expanded by kernels/).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace beaverpond {

/// The generator that expands a seed; a field of every plan, since dealer and players must agree.
enum class PrgKind : std::uint16_t {
  kAes128Ctr = 1,  ///< where every machine is a CPU with AES instructions
  kChaCha20 = 2,   ///< RFC 8439; where a GPU takes part
};

inline const char* to_string(PrgKind kind) {
  return kind == PrgKind::kAes128Ctr ? "aes128-ctr" : "chacha20";
}

/// 32 secret bytes. Has no printer and no ==; wipes itself.
class Seed {
 public:
  static constexpr std::size_t kSize = 32;

  Seed() = default;
  explicit Seed(std::span<const std::uint8_t, kSize> bytes) {
    for (std::size_t i = 0; i < kSize; ++i) bytes_[i] = bytes[i];
  }
  Seed(const Seed&) = default;
  Seed& operator=(const Seed&) = default;
  /// Moving leaves nothing behind.
  Seed(Seed&& other) noexcept : bytes_(other.bytes_) { other.wipe(); }
  Seed& operator=(Seed&& other) noexcept {
    if (this == &other) return *this;
    bytes_ = other.bytes_;
    other.wipe();
    return *this;
  }
  ~Seed() { wipe(); }
  bool operator==(const Seed&) const = delete;

  std::span<const std::uint8_t, kSize> bytes() const { return bytes_; }
  std::span<std::uint8_t, kSize> mutable_bytes() { return bytes_; }
  void wipe() {
    volatile std::uint8_t* p = bytes_.data();
    for (std::size_t i = 0; i < kSize; ++i) p[i] = 0;
  }

 private:
  std::array<std::uint8_t, kSize> bytes_{};
};

}  // namespace beaverpond
