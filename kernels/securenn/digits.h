// Digits mod 67 over whole tensors on the CPU: drawing, dealing, comparing and testing them, as
// kernels/securenn_backend.h says.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cpu/prg.h"
#include "kernels/math/securenn.h"
#include "kernels/securenn_backend.h"

namespace beaverpond::securenn {

/// Where a draw's randomness comes from.
struct Draw {
  const Prg* prg = nullptr;
  std::uint64_t stream = 0;  ///< of the first block
};

/// PrivateComparison, with its generator expanded.
struct Comparison {
  int player = 0;
  bool at_least = false;
  int bits = 64;
  ConstBytes x;
  ConstWords bound;
  ConstWords beta;
  Draw common;
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
