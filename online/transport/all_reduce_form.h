// Which way a reduction takes over a mesh, and what it sends: chosen alike by all players and by
// the cost model, from the number of players and the size alone.
#pragma once

#include <cstdint>

#include "online/transport/frame.h"

namespace beaverpond {

/// From so many bytes on a ring is taken: bench/README.md (Openings) has what both ways cost.
/// Below, its 2 (players - 1) steps one after another are held to cost more than its bytes save.
constexpr std::uint64_t ring_threshold_bytes(int players) {
  return players >= 3 ? std::uint64_t{1} << 20 : ~std::uint64_t{0};
}

/// Ring: reduce-scatter, then all-gather, 2 (players - 1) / players times the bytes. Direct: one
/// step, (players - 1) times the bytes. Two players send the same either way.
constexpr bool reduces_in_ring(int players, std::uint64_t words) {
  return words * 8 >= ring_threshold_bytes(players);
}

/// Where block `block` of a ring begins. Blocks differ by one word at most.
constexpr std::uint64_t ring_block_begin(int players, std::uint64_t words, int block) {
  return words * static_cast<std::uint64_t>(block) / static_cast<std::uint64_t>(players);
}

constexpr int ring_steps(int players) {
  return 2 * (players - 1);
}

/// The block that player `rank` sends in step `step`, from 1, and gets in the step before.
constexpr int ring_block_sent(int players, int rank, int step) {
  return (rank + 2 * players + 1 - step) % players;
}

/// What player `rank` sends in a reduction of so many words, as TransportStats counts it.
constexpr std::uint64_t all_reduce_sent_bytes(int players, int rank, std::uint64_t words) {
  if (!reduces_in_ring(players, words)) {
    return static_cast<std::uint64_t>(players - 1) * wire_bytes(words * 8);
  }
  std::uint64_t bytes = 0;
  for (int step = 1; step <= ring_steps(players); ++step) {
    const int block = ring_block_sent(players, rank, step);
    bytes += wire_bytes(
        (ring_block_begin(players, words, block + 1) - ring_block_begin(players, words, block)) *
        8);
  }
  return bytes;
}

}  // namespace beaverpond
