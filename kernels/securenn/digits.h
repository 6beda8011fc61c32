// Digits mod 67 over whole tensors on the CPU: drawing, dealing, comparing and testing them.
// An element has 64 digits, one for each bit, and takes 56 bytes: digit i is bits 7i .. 7i + 6,
// little endian. Randomness is drawn by block of 64 elements: block b of a draw uses stream
// `stream` + b of its generator and nothing else does.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cpu/prg.h"
#include "kernels/math/securenn.h"

namespace beaverpond::securenn {

using Words = std::span<std::uint64_t>;
using ConstWords = std::span<const std::uint64_t>;
using Bytes = std::span<std::uint8_t>;
using ConstBytes = std::span<const std::uint8_t>;

inline constexpr std::uint64_t kBlockElements = 64;

/// Streams that a draw for `count` elements takes.
constexpr std::uint64_t blocks_of(std::uint64_t count) {
  return (count + kBlockElements - 1) / kBlockElements;
}
constexpr std::uint64_t packed_bytes(std::uint64_t count) {
  return count * kPackedBytes;
}

/// Where a draw's randomness comes from.
struct Draw {
  const Prg* prg = nullptr;
  std::uint64_t stream = 0;  ///< of the first block
};

/// One player's side of PrivateCompare.
struct Comparison {
  int player = 0;          ///< 0 or 1
  bool at_least = false;   ///< asks x >= bound, else x > bound
  int bits = 64;           ///< lower bits of x and bound that are compared: 63 or 64
  ConstBytes x;            ///< packed shares of the bits
  ConstWords bound;        ///< known to both players
  ConstWords beta;         ///< common bits, packed, ceil(count / 64) words
  Draw common;             ///< factors, masks and permutations, the same on both players
};

/// One table of functions per instruction set; all give the same bytes.
struct DigitKernels {
  const char* name;
  /// out = uniform digits.
  void (*draw)(const Draw& draw, Bytes out);
  /// out = the bits of x, less a draw: the share of the player who does not draw. Bit 63 is 0 where
  /// `bits` is 63.
  void (*share_bits)(ConstWords x, int bits, const Draw& draw, Bytes out);
  /// out = blinded, masked and permuted terms, 64 an element.
  void (*compare)(const Comparison& comparison, Bytes out);
  /// P2: bit i of out = whether some sum of element i's digits is zero. Packed.
  void (*find_zero)(ConstBytes of_p0, ConstBytes of_p1, Words out);
};

extern const DigitKernels kDigitsPortable;
/// VBMI and VBMI2: servers since 2019 (Ice Lake, Zen 4).
extern const DigitKernels kDigitsAvx512;
bool machine_has_digits_avx512();

/// The best table this machine can run.
const DigitKernels& digit_kernels();

}  // namespace beaverpond::securenn
