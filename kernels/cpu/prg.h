// Pseudorandom streams on the CPU. A stream is (seed, stream index): 64-byte-aligned blocks, little
// endian, random access.
//   aes128-ctr: key = seed[0..16); 16-byte block i = AES(key, LE64(seed_lo + i) || LE64(seed_hi ^
//               stream)), where seed_lo, seed_hi are the little-endian words seed[16..24),
//               [24..32). seed_lo + i wraps mod 2^64 and never carries into the other word.
//   chacha20:   RFC 8439 with key = seed, nonce = LE64(stream) || 00000000, block counter from 0.
//               A stream ends after 2^32 blocks; asking for more is a broken invariant.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "beaverpond/seed.h"

namespace beaverpond {

namespace internal {
enum class PrgUse : int;
}

enum class PrgIsa { kAuto, kAvx512, kAvx2, kPortable };

/// An expanded key. Holds secret material and wipes it. Threads may share a const Prg.
/// Asking for an instruction set that this machine lacks is a broken invariant.
class Prg {
 public:
  Prg(const Seed& seed, PrgKind kind, PrgIsa isa = PrgIsa::kAuto);
  Prg(const Prg&) = delete;             // key material is not copied about
  Prg& operator=(const Prg&) = delete;  // key material is not copied about
  ~Prg();

  /// out = bytes [offset, offset + out.size()) of the stream. `offset` is a multiple of 64; the
  /// size is free.
  void fill(std::uint64_t stream, std::uint64_t offset_bytes, std::span<std::uint8_t> out) const;

  /// words[i] += / -= / ^= word i of the stream from offset_bytes on (a multiple of 64). Fused: the
  /// stream never goes through memory outside L1.
  void add(std::uint64_t stream, std::uint64_t offset_bytes, std::span<std::uint64_t> words) const;
  void subtract(std::uint64_t stream, std::uint64_t offset_bytes,
                std::span<std::uint64_t> words) const;
  void exclusive_or(std::uint64_t stream, std::uint64_t offset_bytes,
                    std::span<std::uint64_t> words) const;

  PrgKind kind() const { return kind_; }

 private:
  void run(internal::PrgUse use, std::uint64_t stream, std::uint64_t offset_bytes,
           std::uint8_t* data, std::size_t size_bytes) const;

  alignas(64) std::array<std::uint8_t, 176> round_keys_{};  // 11 of 16 bytes
  std::array<std::uint32_t, 8> chacha_key_{};
  std::uint64_t seed_lo_ = 0;
  std::uint64_t seed_hi_ = 0;
  PrgKind kind_;
  PrgIsa isa_;
};

/// Best instruction set for `kind` on this machine. kPortable AES is constant-time (no tables).
PrgIsa best_prg_isa(PrgKind kind);

}  // namespace beaverpond
