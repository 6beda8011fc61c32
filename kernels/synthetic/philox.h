// The sequence that synthetic data come from: Philox4x32 with 10 rounds (Salmon, Moraes, Dror, Shaw
// 2011), in the order that cuRAND calls legacy and keeps for all its releases. Not cryptographic.
#pragma once

#include <array>
#include <cstdint>

namespace beaverpond {

using PhiloxBlock = std::array<std::uint32_t, 4>;

/// Ten times: (c0, c1, c2, c3) := (hi(m1 c2) ^ c1 ^ k0, lo(m1 c2), hi(m0 c0) ^ c3 ^ k1, lo(m0 c0)),
/// and (k0, k1) grows by (w0, w1) in between.
inline PhiloxBlock philox4x32_10(PhiloxBlock c, std::uint64_t key) {
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53;
  constexpr std::uint64_t kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9;
  constexpr std::uint32_t kWeyl1 = 0xBB67AE85;
  auto k0 = static_cast<std::uint32_t>(key);
  auto k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = kMultiplier0 * c[0];
    const std::uint64_t p1 = kMultiplier1 * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return c;
}

/// Words 4q .. 4q+3 of a seed's sequence: 65536 lanes take turns, block q is number q / 65536 of
/// lane q mod 65536.
inline PhiloxBlock synthetic_block(std::uint64_t sequence_seed, std::uint64_t q) {
  constexpr int kLaneBits = 16;
  const std::uint64_t number = q >> kLaneBits;
  const auto lane = static_cast<std::uint32_t>(q & ((1u << kLaneBits) - 1));
  return philox4x32_10(
      {static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32), lane, 0},
      sequence_seed);
}

}  // namespace beaverpond
