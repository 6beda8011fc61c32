// What operations send: counted by the engine, predicted by the cost model, in the same words.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "beaverpond/program.h"
#include "online/transport/all_reduce_form.h"

namespace beaverpond {

/// More words than this travel as several messages, so that every transport takes each.
inline constexpr std::uint64_t kMaxMessageWords = std::uint64_t{1} << 26;

/// Words of a part of an opening of so many words: as many parts as that needs, equally long but
/// for the last.
constexpr std::uint64_t opening_part_words(std::uint64_t words) {
  const std::uint64_t parts = (words + kMaxMessageWords - 1) / kMaxMessageWords;
  return parts == 0 ? 1 : (words + parts - 1) / parts;
}

/// What player `rank` sends to open so many words, over a mesh, frame headers included.
std::uint64_t opening_sent_bytes(std::uint64_t words, int players, int rank);

/// What so many bytes take to one receiver, frame headers included.
std::uint64_t message_sent_bytes(std::uint64_t size);

/// Openings go from every player to every other, but for large ones, which are scattered
/// (online/transport/all_reduce_form.h); a reveal goes to its receivers. An opening of a mask
/// belongs to the operation that first needs it. Under SecureNN players do different work: rounds
/// and `sent_bytes` are of one of them, and no words are counted.
struct OpTraffic {
  std::uint64_t opened_words = 0;        ///< arithmetic words, to each other player
  std::uint64_t opened_plane_words = 0;  ///< words of opened bits, to each other player
  std::uint64_t revealed_words = 0;      ///< to each receiver
  /// Of the opened words and plane words, those in reductions that are scattered among three or
  /// more: not sent to each other player, but 2 (players - 1) / players times.
  std::uint64_t large_words = 0;
  std::uint64_t sent_bytes = 0;  ///< under SecureNN: to all others together
  std::uint64_t rounds = 0;      ///< in which it takes part; others share them

  OpTraffic& operator+=(const OpTraffic& other) {
    opened_words += other.opened_words;
    opened_plane_words += other.opened_plane_words;
    revealed_words += other.revealed_words;
    large_words += other.large_words;
    sent_bytes += other.sent_bytes;
    rounds += other.rounds;
    return *this;
  }
  friend bool operator==(const OpTraffic&, const OpTraffic&) = default;
};

/// Players other than `rank` that learn what a kReveal opens.
int receivers_besides(const Op& op, int players, int rank);

/// Whether an opening of so many words is large. The same for all numbers of players from three on;
/// among two nothing is scattered.
constexpr bool is_large_opening(std::uint64_t words) {
  return words > 0 && reduces_scattered(3, opening_part_words(words));
}

/// Bytes that player `rank` of `players` sends for an operation, to all others together, without
/// the messages' headers. Of a scattered opening its part by words, down to a whole byte.
std::uint64_t payload_bytes(const Op& op, const OpTraffic& traffic, int players, int rank);

/// The layers of a program, in the order in which they first appear.
struct ProgramLayers {
  std::vector<std::string> names;
  std::vector<std::uint32_t> of_op;  ///< by operation: index into names
};
ProgramLayers program_layers(const Program& program);

}  // namespace beaverpond
