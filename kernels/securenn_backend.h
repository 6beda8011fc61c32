// What a device does for SecureNN (online/securenn): digits mod 67, what the factory deals for
// signs, and steps on words. Its order, its errors and who may touch which memory are those of
// Backend. An element has 64 digits, one for each bit, and takes 56 bytes: digit i is bits
// 7i .. 7i + 6, little endian; in memory of allocate(), from a multiple of 8 bytes on.
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "kernels/backend.h"
#include "kernels/math/securenn_steps.h"

namespace beaverpond::securenn {

using Bytes = std::span<std::uint8_t>;
using ConstBytes = std::span<const std::uint8_t>;

/// Elements that are drawn for together. Block b of a draw uses stream `stream` + b of its
/// generator, and nothing else does.
inline constexpr std::uint64_t kBlockElements = 64;

/// Streams that a draw for `count` elements takes; words of `count` packed bits.
constexpr std::uint64_t blocks_of(std::uint64_t count) {
  return (count + kBlockElements - 1) / kBlockElements;
}
constexpr std::uint64_t packed_bytes(std::uint64_t count) {
  return count * kPackedBytes;
}
/// A stream of words.
struct StreamOf {
  const Seed* seed = nullptr;
  PrgKind prg = PrgKind::kAes128Ctr;
  std::uint64_t index = 0;  ///< of digits: of the first block
};

/// One player's side of PrivateCompare.
struct PrivateComparison {
  int player = 0;         ///< 0 or 1
  bool at_least = false;  ///< asks x >= bound, else x > bound
  int bits = 64;          ///< lower bits of x and bound that are compared: 63 or 64
  ConstBytes x;           ///< packed shares of the bits
  ConstWords bound;       ///< known to both players
  ConstWords beta;        ///< common bits, packed
  StreamOf common;        ///< factors, masks and permutations, the same on both players
};

/// What the factory deals. A correction is `count` words, then the packed digits; on the player who
/// holds none, both come from streams of its seed: the words from the correction's, the digits of
/// block b from stream digit_stream(the correction's) + b.
///
///   converted: the mask stream's words are shares of x mod 2^64 - 1 (2^64 - 1 read as 0: 0 is
///   drawn with probability 2^-63, any other with 2^-64). Corrected: x's lowest bit, mod 2^64; x's
///   64 bits as digits. opened: r is the assistant's mask stream. Corrected: r mod 2^64; its lower
///   63 bits as digits.
enum class SignKind : std::uint8_t { kConverted, kOpened };

constexpr int sign_bits(SignKind kind) {
  return kind == SignKind::kConverted ? 64 : 63;
}
constexpr std::uint64_t digit_stream(std::uint64_t correction_stream) {
  return (std::uint64_t{1} << 63) + (correction_stream << 26);
}

struct SignDeal {
  SignKind kind = SignKind::kConverted;
  std::uint64_t count = 0;
  PrgKind prg = PrgKind::kAes128Ctr;
  std::span<const Seed> seeds;  ///< of all three
  int designated = 0;           ///< 0 or 1
  std::uint64_t mask_stream = 0;
  std::uint64_t correction_stream = 0;
  std::span<std::uint8_t> correction;  ///< of sign_correction_bytes(count)
};
/// One player's side, for P0 and P1.
struct SignShares {
  Words mask;    ///< of x; unused by kOpened
  Words words;   ///< of x's lowest bit, or of r
  Bytes memory;  ///< packed_bytes
};

using Step =
    std::variant<XorWords, ReduceOdd, AddOdd, SubtractOdd, MaskDouble, ConvertSum, FinishConvert,
                 MaskOddDouble, FlipBits, NotXor, FinishTriple, DealFused, FinishFused, SpreadBits>;

class SecurennBackend {
 public:
  virtual ~SecurennBackend() = default;

  /// A step for elements 0 .. count - 1.
  virtual void run(const Step& step, std::uint64_t count, StreamRef stream) = 0;
  /// words = the stream's, reduced mod 2^64 - 1.
  virtual void odd_fill(const StreamOf& of, Words words, StreamRef stream) = 0;
  /// words -= the stream's, mod 2^64 - 1.
  virtual void odd_subtract(const StreamOf& of, Words words, StreamRef stream) = 0;

  // Digits, packed.
  /// out = uniform digits.
  virtual void draw_digits(const StreamOf& of, Bytes out, StreamRef stream) = 0;
  /// out = the bits of x, less a draw: the share of the player who does not draw. Bit 63 is 0 where
  /// `bits` is 63.
  virtual void share_bits(ConstWords x, int bits, const StreamOf& of, Bytes out,
                          StreamRef stream) = 0;
  /// out = blinded, masked and permuted terms, 64 an element.
  virtual void compare(const PrivateComparison& comparison, Bytes out, StreamRef stream) = 0;
  /// P2: bit i of out = whether some sum of element i's digits is zero. Packed, to the last word's
  /// end.
  virtual void find_zero(ConstBytes of_p0, ConstBytes of_p1, Words out, StreamRef stream) = 0;

  // Dealt material.
  virtual void deal_sign(const SignDeal& deal, StreamRef stream) = 0;
  /// Returns the player's packed digits, in `memory` or where the correction holds them.
  virtual ConstBytes read_sign(SignKind kind, const Material& material, const SignShares& out,
                               StreamRef stream) = 0;
  /// out = the dealt word of each element: the correction's, or its stream's.
  virtual void read_correction(const Material& material, Words out, StreamRef stream) = 0;
};

/// The CPU's: one for all.
SecurennBackend& cpu_operations();

}  // namespace beaverpond::securenn
