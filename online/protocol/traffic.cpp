#include "online/protocol/traffic.h"

#include <map>

namespace beaverpond {

int receivers_besides(const Op& op, int players, int rank) {
  int count = 0;
  for (int player = 0; player < players; ++player) {
    if (player != rank && ((op.receivers >> player) & 1) != 0) ++count;
  }
  return count;
}

std::uint64_t payload_bytes(const Op& op, const OpTraffic& traffic, int players, int rank) {
  const auto others = static_cast<std::uint64_t>(players - 1);
  std::uint64_t words = (traffic.opened_words + traffic.opened_plane_words) * others;
  if (traffic.revealed_words != 0) {
    words +=
        traffic.revealed_words * static_cast<std::uint64_t>(receivers_besides(op, players, rank));
  }
  return words * 8 + traffic.sent_bytes;
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
