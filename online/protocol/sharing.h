// Sharing inputs and revealing values, over the keys between pairs of players.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "online/session/pair_keys.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// Additive sharing without messages: every player but the owner expands its share from the owner's
/// key, and the owner takes what is left.
class Sharing {
 public:
  Sharing(Transport& transport, PairKeys keys) : transport_(transport), keys_(std::move(keys)) {}

  /// share := this player's share of the owner's `words` (host memory, read on the owner only).
  /// `serial` is new for every input of the session.
  void share_input(Backend& backend, int owner, std::uint64_t serial, ConstWords words,
                   Words share);

  /// Sends shares to the players in `receivers`, each first re-randomised by a zero sharing from
  /// the pair keys, so that a share tells nothing about how it was computed. Receivers return the
  /// value, others nothing. Errors: those of the transport and of the backend.
  Result<std::vector<std::uint64_t>> reveal(Backend& backend, ConstWords share,
                                            std::uint64_t receivers, std::uint64_t serial,
                                            const Tag& tag, Deadline deadline);

  /// Serials of reveals are disjoint from those of inputs.
  static std::uint64_t run_serial(std::uint64_t bundle, std::uint32_t reveals, std::uint32_t slot) {
    return (std::uint64_t{1} << 63) | (bundle * reveals + slot);
  }
  static std::uint64_t state_serial(std::uint32_t serial) {
    return (std::uint64_t{3} << 62) | serial;
  }

 private:
  Result<ConstWords> masked(Backend& backend, ConstWords share, std::uint64_t serial);

  Transport& transport_;
  PairKeys keys_;
  Buffer masked_;  ///< a share to be sent, re-randomised
  Buffer host_;    ///< the same, where the backend's memory is not the host's
};

}  // namespace beaverpond
