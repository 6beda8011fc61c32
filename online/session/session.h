// A session: one run of all players together. Its id goes into every frame, so that nothing of an
// earlier run is ever taken for data of this one.
#pragma once

#include <cstdint>
#include <limits>

#include "offline/pool/random.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// Operations of control messages in Tag.operation, far above those of a program.
inline constexpr std::uint32_t kNonceOperation = 0xffff0000u;
inline constexpr std::uint32_t kHelloOperation = 0xffff0001u;
inline constexpr std::uint32_t kDurableOperation = 0xffff0002u;
inline constexpr std::uint32_t kPairKeysOperation = 0xffff0003u;
inline constexpr std::uint32_t kFinishedOperation = 0xffff0004u;
inline constexpr std::uint32_t kResumeOperation = 0xffff0005u;
inline constexpr std::uint32_t kPlanOperation = 0xffff0006u;

/// The last membership epoch, as in a roster. Where it is reached, epochs stay at it.
inline constexpr std::uint64_t kLatestEpoch = std::numeric_limits<std::int64_t>::max();

class Session {
 public:
  /// Every player contributes 8 random bytes; the id is their hash, in order of rank, so no player
  /// alone can bring an old one back. `last_epoch`: the last membership epoch that this player
  /// knows of; the session begins the one after the latest that anybody knows. Errors: kPeerLost,
  /// kTimeout, kProtocolMismatch, kIo.
  static Result<Session> create_blocking(Transport& transport, Deadline deadline,
                                         const EntropySource& entropy = fill_random_blocking,
                                         std::uint64_t last_epoch = 0);

  /// For Tag.session; never 0, which is the tag of the nonce exchange itself.
  std::uint64_t id() const { return id_; }
  /// The membership epoch: who was lost and came back belongs to another one than before. The same
  /// for all players, at least 1.
  std::uint64_t epoch() const { return epoch_; }

 private:
  Session(std::uint64_t id, std::uint64_t epoch) : id_(id), epoch_(epoch) {}
  std::uint64_t id_;
  std::uint64_t epoch_;
};

}  // namespace beaverpond
