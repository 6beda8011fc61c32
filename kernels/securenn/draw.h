// How digits are drawn. A block's stream starts with a byte an element, whose lower six bits are
// its permutation: digit i goes to place i ^ that. Uniform numbers below n (67 for digits, 66 for
// exponents of factors) come from bytes, those from 3n up rejected: exactly uniform. A draw starts
// at a multiple of 64 bytes and takes whole pieces of 64 bytes until it has enough.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "kernels/cpu/prg.h"

/// tests/constant_time tells memcheck here that a rejection may be known: rejected bytes are
/// independent of those that are kept, so that how many there were, and where, tells nothing.
#ifndef BEAVERPOND_PUBLIC_REJECTION
#define BEAVERPOND_PUBLIC_REJECTION(rejected) ((void)(rejected))
#endif

namespace beaverpond::securenn {

inline constexpr std::size_t kPieceBytes = 64;

/// Drawn numbers, or digits of shares, gone when their holder is. `Isa` as below.
template <class Isa, std::size_t kSize>
struct Drawn {
  alignas(64) std::uint8_t bytes[kSize];

  Drawn() = default;
  Drawn(const Drawn&) = delete;             // one place to wipe
  Drawn& operator=(const Drawn&) = delete;  // likewise
  ~Drawn() {
    std::memset(bytes, 0, kSize);
    asm volatile("" : : "r"(bytes) : "memory");
  }
};

/// Reads a stream in pieces of 64 bytes. `Isa`: a type of the including file's own, so that no copy
/// made under its instruction-set flags is linked into another's code.
template <class Isa>
class PieceReader {
 public:
  PieceReader(const Prg& prg, std::uint64_t stream) : prg_(prg), stream_(stream) {}
  PieceReader(const PieceReader&) = delete;             // two would read the same bytes
  PieceReader& operator=(const PieceReader&) = delete;  // likewise
  ~PieceReader() {
    std::memset(buffer_, 0, kBufferBytes);
    asm volatile("" : : "r"(buffer_) : "memory");
  }

  const std::uint8_t* next() {
    if (at_ == kBufferBytes) {
      prg_.fill(stream_, offset_, buffer_);
      offset_ += kBufferBytes;
      at_ = 0;
    }
    const std::uint8_t* piece = buffer_ + at_;
    at_ += kPieceBytes;
    return piece;
  }

 private:
  const Prg& prg_;
  std::uint64_t stream_;
  std::uint64_t offset_ = 0;
  // About an eighth of what a comparison's block takes.
  static constexpr std::size_t kBufferBytes = 1408;
  std::size_t at_ = kBufferBytes;
  alignas(64) std::uint8_t buffer_[kBufferBytes];
};

}  // namespace beaverpond::securenn
