// What operations send: counted by the engine, predicted by the cost model, in the same words.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "beaverpond/program.h"

namespace beaverpond {

/// More words than this travel as several messages, so that every transport takes each.
inline constexpr std::uint64_t kMaxMessageWords = std::uint64_t{1} << 26;

/// Messages that `words` words take to one player.
constexpr std::uint64_t messages_of(std::uint64_t words) {
  return (words + kMaxMessageWords - 1) / kMaxMessageWords;
}

/// Openings go from every player to every other; a reveal to its receivers. An opening of a mask
/// belongs to the operation that first needs it. Under SecureNN players do different work: rounds
/// and `sent_bytes` are of one of them, and no words are counted.
struct OpTraffic {
  std::uint64_t opened_words = 0;        ///< arithmetic words, to each other player
  std::uint64_t opened_plane_words = 0;  ///< words of opened bits, to each other player
  std::uint64_t revealed_words = 0;      ///< to each receiver
  std::uint64_t sent_bytes = 0;          ///< under SecureNN: to all others together
  std::uint64_t rounds = 0;              ///< in which it takes part; others share them

  OpTraffic& operator+=(const OpTraffic& other) {
    opened_words += other.opened_words;
    opened_plane_words += other.opened_plane_words;
    revealed_words += other.revealed_words;
    sent_bytes += other.sent_bytes;
    rounds += other.rounds;
    return *this;
  }
  friend bool operator==(const OpTraffic&, const OpTraffic&) = default;
};

/// Players other than `rank` that learn what a kReveal opens.
int receivers_besides(const Op& op, int players, int rank);

/// Bytes that player `rank` of `players` sends for an operation, to all others together, without
/// the messages' headers.
std::uint64_t payload_bytes(const Op& op, const OpTraffic& traffic, int players, int rank);

/// The layers of a program, in the order in which they first appear.
struct ProgramLayers {
  std::vector<std::string> names;
  std::vector<std::uint32_t> of_op;  ///< by operation: index into names
};
ProgramLayers program_layers(const Program& program);

}  // namespace beaverpond
