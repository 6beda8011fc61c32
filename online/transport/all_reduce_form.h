// Which way a reduction takes over a mesh, and what it sends: chosen alike by all players and by
// the cost model, from the number of players and the size alone.
#pragma once

#include <cstdint>

#include "online/transport/frame.h"

namespace beaverpond {

/// From so many bytes on a reduction is scattered: from there on it took no longer on one host and
/// less CPU, with three players and with five (bench/README.md, Openings). Every piece that the
/// engine cuts a large opening into is above it.
constexpr std::uint64_t scatter_threshold_bytes(int players) {
  return players >= 3 ? std::uint64_t{256} << 10 : ~std::uint64_t{0};
}

/// Scattered: two steps, 2 (players - 1) / players times the bytes. Direct: one step, (players - 1)
/// times the bytes. Two players send the same either way.
constexpr bool reduces_scattered(int players, std::uint64_t words) {
  return words * 8 >= scatter_threshold_bytes(players);
}

/// How many messages one after the other such a reduction takes.
constexpr std::uint64_t all_reduce_steps(int players, std::uint64_t words) {
  return reduces_scattered(players, words) ? 2 : 1;
}

/// Where the block begins that `player` sums up. Blocks differ by one word at most.
constexpr std::uint64_t block_begin(int players, std::uint64_t words, int player) {
  return words * static_cast<std::uint64_t>(player) / static_cast<std::uint64_t>(players);
}

/// What player `rank` sends in a reduction of so many words, as TransportStats counts it; and what
/// it receives.
constexpr std::uint64_t all_reduce_sent_bytes(int players, int rank, std::uint64_t words) {
  const auto others = static_cast<std::uint64_t>(players - 1);
  if (!reduces_scattered(players, words)) return others * wire_bytes(words * 8);
  std::uint64_t bytes = 0;
  for (int player = 0; player < players; ++player) {
    const std::uint64_t block =
        block_begin(players, words, player + 1) - block_begin(players, words, player);
    bytes += (player == rank ? others : 1) * wire_bytes(block * 8);
  }
  return bytes;
}

}  // namespace beaverpond
