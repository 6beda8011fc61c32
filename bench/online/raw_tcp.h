// Plain TCP between all pairs of players: what the same bytes cost without TLS, frames and sums.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

/// Connected sockets of all pairs, made before the processes are; each closes what is not its own.
class RawTcp {
 public:
  /// With send buffers of so many bytes, or as Linux gives them. Errors: kIo.
  static Result<RawTcp> make(int players, std::optional<int> send_buffer);
  RawTcp(RawTcp&& other) noexcept : sockets_(std::move(other.sockets_)) {}
  ~RawTcp();
  RawTcp(const RawTcp&) = delete;             // owns sockets
  RawTcp& operator=(const RawTcp&) = delete;  // owns sockets

  /// Sends `mine` to every other player and receives as much from each into `theirs`, by rank, all
  /// at once. Errors: kIo.
  Result<void> exchange(int rank, std::span<const std::uint8_t> mine,
                        std::vector<std::vector<std::uint8_t>>& theirs) const;

 private:
  RawTcp() = default;
  /// sockets_[i][j]: player i's end of its connection to player j; -1 for i = j.
  std::vector<std::vector<int>> sockets_;
};

}  // namespace beaverpond
