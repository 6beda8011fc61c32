#include "online/protocol/traffic.h"

#include <algorithm>
#include <map>

namespace beaverpond {

std::uint64_t opening_sent_bytes(std::uint64_t words, int players, int rank) {
  std::uint64_t bytes = 0;
  const std::uint64_t part = opening_part_words(words);
  for (std::uint64_t at = 0; at < words; at += part) {
    bytes += all_reduce_sent_bytes(players, rank, std::min(part, words - at));
  }
  return bytes;
}

std::uint64_t message_sent_bytes(std::uint64_t size) {
  constexpr std::uint64_t kPart = kMaxMessageWords * 8;
  std::uint64_t bytes = 0;
  for (std::uint64_t at = 0; at < size; at += kPart)
    bytes += wire_bytes(std::min(kPart, size - at));
  return bytes;
}

int receivers_besides(const Op& op, int players, int rank) {
  int count = 0;
  for (int player = 0; player < players; ++player) {
    if (player != rank && ((op.receivers >> player) & 1) != 0) ++count;
  }
  return count;
}

std::uint64_t payload_bytes(const Op& op, const OpTraffic& traffic, int players, int rank) {
  const auto others = static_cast<std::uint64_t>(players - 1);
  const std::uint64_t scattered_words = players >= 3 ? traffic.large_words : 0;
  std::uint64_t words =
      (traffic.opened_words + traffic.opened_plane_words - scattered_words) * others;
  if (traffic.revealed_words != 0) {
    words +=
        traffic.revealed_words * static_cast<std::uint64_t>(receivers_besides(op, players, rank));
  }
  return words * 8 + scattered_words * 16 * others / static_cast<std::uint64_t>(players) +
         traffic.sent_bytes;
}

ProgramLayers program_layers(const Program& program) {
  ProgramLayers layers;
  std::map<std::string, std::uint32_t> index;
  for (const Op& op : program.ops) {
    const auto [at, is_new] =
        index.emplace(op.layer, static_cast<std::uint32_t>(layers.names.size()));
    if (is_new) layers.names.push_back(op.layer);
    layers.of_op.push_back(at->second);
  }
  return layers;
}

}  // namespace beaverpond
