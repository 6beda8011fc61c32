// What the factory deals for SecureNN's signs, on the CPU. A correction is `count` words, then the
// packed digits; on the player who holds none, both come from streams of its seed: the words from
// the correction's, the digits of block b from stream 2^63 + 2^26 * (correction's) + b.
//
//   converted sign   the mask stream's words are shares of x mod 2^64 - 1 (2^64 - 1 read as 0: 0 is
//                    drawn with probability 2^-63, any other with 2^-64). Corrected: x's lowest
//                    bit, mod 2^64; x's 64 bits as digits.
//   opened sign      r is the assistant's mask stream. Corrected: r mod 2^64; its lower 63 bits as
//                    digits.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/backend.h"

namespace beaverpond::securenn {

enum class SignKind : std::uint8_t { kConverted, kOpened };

struct SignDeal {
  SignKind kind = SignKind::kConverted;
  std::uint64_t count = 0;
  PrgKind prg = PrgKind::kAes128Ctr;
  std::span<const Seed> seeds;  ///< of all three
  int designated = 0;           ///< 0 or 1
  std::uint64_t mask_stream = 0;
  std::uint64_t correction_stream = 0;
  std::span<std::uint8_t> correction;  ///< host memory, of sign_correction_bytes(count)
};
void deal_sign(const SignDeal& deal);

/// One player's side, for P0 and P1. Returns its packed digits: the correction's, or in `memory`.
struct SignShares {
  Words mask;                      ///< of x; unused by kOpened
  Words words;                     ///< of x's lowest bit, or of r
  std::span<std::uint8_t> memory;  ///< packed_bytes
};
std::span<const std::uint8_t> read_sign(SignKind kind, const Material& material,
                                        const SignShares& out);

/// r of an opened sign, for the assistant. `seed` is its own.
void read_opened_mask(const Seed& seed, PrgKind prg, std::uint64_t mask_stream, Words out);

}  // namespace beaverpond::securenn
