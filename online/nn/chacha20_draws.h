// Public uniform draws: initial weights and the order of rows. ChaCha20 (RFC 8439) under the job's
// seed, because every player and the plaintext twin must draw the same integers on every machine;
// no library's distribution promises that. Scalar, as a job draws far fewer words than it computes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "beaverpond/check.h"

namespace beaverpond {

/// One stream of draws. Streams with different nonces are independent. Not thread-safe.
class ChaCha20Draws {
 public:
  using Key = std::array<std::uint32_t, 8>;
  using Nonce = std::array<std::uint32_t, 3>;
  using Block = std::array<std::uint32_t, 16>;

  ChaCha20Draws(const Key& key, const Nonce& nonce) : key_(key), nonce_(nonce) {}

  /// The key of a job's seed: the seed in the first 8 bytes, little endian, then zeros.
  static Key key_of_seed(std::uint64_t seed) {
    return {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  }

  /// RFC 8439, section 2.3.
  static Block block(const Key& key, std::uint32_t counter, const Nonce& nonce) {
    const Block start{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, key[0], key[1],
                      key[2],     key[3],     key[4],     key[5],     key[6], key[7],
                      counter,    nonce[0],   nonce[1],   nonce[2]};
    Block s = start;
    for (int round = 0; round < 10; ++round) {
      quarter(s, 0, 4, 8, 12);
      quarter(s, 1, 5, 9, 13);
      quarter(s, 2, 6, 10, 14);
      quarter(s, 3, 7, 11, 15);
      quarter(s, 0, 5, 10, 15);
      quarter(s, 1, 6, 11, 12);
      quarter(s, 2, 7, 8, 13);
      quarter(s, 3, 4, 9, 14);
    }
    for (std::size_t i = 0; i < s.size(); ++i) s[i] += start[i];
    return s;
  }

  /// The stream's next 8 bytes, little endian.
  std::uint64_t next() {
    if (used_ == block_.size()) {
      BP_CHECK(counter_ != UINT32_MAX, "a stream of draws is at most 2^32 blocks long");
      block_ = block(key_, counter_++, nonce_);
      used_ = 0;
    }
    const std::uint64_t low = block_[used_];
    const std::uint64_t high = block_[used_ + 1];
    used_ += 2;
    return low | high << 32;
  }

  /// Uniform in 0..bound-1, by rejection: the multiples of `bound` below 2^64 are cut off.
  std::uint64_t below(std::uint64_t bound) {
    BP_CHECK(bound != 0, "a draw needs a positive bound");
    const std::uint64_t excess = (UINT64_MAX % bound + 1) % bound;  // 2^64 mod bound
    for (;;) {
      const std::uint64_t word = next();
      if (word <= UINT64_MAX - excess) return word % bound;
    }
  }

  /// Uniform in -limit..limit, as a two's complement word. limit < 2^63.
  std::uint64_t symmetric(std::uint64_t limit) { return below(2 * limit + 1) - limit; }

 private:
  static void quarter(Block& s, int a, int b, int c, int d) {
    s[a] += s[b];
    s[d] = rotate(s[d] ^ s[a], 16);
    s[c] += s[d];
    s[b] = rotate(s[b] ^ s[c], 12);
    s[a] += s[b];
    s[d] = rotate(s[d] ^ s[a], 8);
    s[c] += s[d];
    s[b] = rotate(s[b] ^ s[c], 7);
  }
  static std::uint32_t rotate(std::uint32_t x, int n) { return x << n | x >> (32 - n); }

  Key key_;
  Nonce nonce_;
  std::uint32_t counter_ = 0;
  Block block_{};
  std::size_t used_ = 16;
};

}  // namespace beaverpond
