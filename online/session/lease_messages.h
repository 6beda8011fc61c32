// The two messages of a lease agreement and the decision that follows from them. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "offline/pool/identity.h"
#include "offline/pool/pool.h"

namespace beaverpond {

/// Classes of bundles (plans) that one step may need.
inline constexpr std::size_t kMaxLeaseClasses = 16;
/// Ranges that a class of a HELLO holds at most; a longer list is cut, the rest is offered later.
inline constexpr std::size_t kMaxHelloRanges = 4096;

/// Sets of players are masks: bit i is the player of rank i in the roster.
using PlayerMask = std::uint64_t;

inline PlayerMask all_players(int players) {
  return players == 64 ? ~PlayerMask{0} : (PlayerMask{1} << players) - 1;
}

/// What a player has of one class, and what of it was spent.
struct ClassState {
  LaneKey key;
  std::uint64_t per_step = 1;             ///< bundles of this class that a step spends
  std::uint64_t watermark = 0;            ///< first bundle that the sender never leased
  std::vector<std::uint64_t> witnesses;   ///< watermarks it saw of all players, by rank
  std::vector<PublishedRange> published;  ///< sorted, ending above its watermark
};

/// What a player knows and wants. The table is in online/session/README.md.
struct Hello {
  PoolIdentity pool;  ///< of the sender
  std::uint64_t session = 0;
  std::uint64_t step = 0;
  PlayerMask live = 0;              ///< who takes part
  std::uint64_t steps = 0;          ///< wanted: min(k, steps left)
  bool gave_up = false;             ///< its deadline has passed
  bool refuses_rollback = false;    ///< rather no lease than one that burns what was put back
  std::uint8_t failed = 0;          ///< ErrorCode of a sender that cannot go on, 0 otherwise
  std::vector<ClassState> classes;  ///< in rising order of key
};

std::vector<std::uint8_t> encode_hello(const Hello& hello);
/// Errors: kProtocolMismatch.
Result<Hello> decode_hello(std::span<const std::uint8_t> bytes);

/// Bundles [first, end) of one class.
struct LeasedRange {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  friend bool operator==(const LeasedRange&, const LeasedRange&) = default;
};

struct Durable {
  std::uint8_t failed = 0;  ///< ErrorCode of a sender whose claim is not durable
  std::uint64_t session = 0;
  std::uint32_t lane = 0;
  Hash256 hellos{};                 ///< SHA-256 of all HELLOs, by rank
  std::vector<LeasedRange> ranges;  ///< by class
  friend bool operator==(const Durable&, const Durable&) = default;
};

std::vector<std::uint8_t> encode_durable(const Durable& durable);
/// Errors: kProtocolMismatch.
Result<Durable> decode_durable(std::span<const std::uint8_t> bytes);

/// What of one class all lease.
struct ClassDecision {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  std::vector<PublishedRange> segments;
  std::uint64_t floor = 0;  ///< largest watermark or witness: all below it is spent or burned
};

/// What all live players lease, computed by each from the same HELLOs: bundles for `steps` steps of
/// every class, or none of any.
struct LeaseDecision {
  std::uint64_t steps = 0;
  std::vector<ClassDecision> classes;  ///< in the order of the HELLOs
  bool empty() const { return steps == 0; }
};

/// A player whose ledger of a class is older than what was seen of it.
struct Rollback {
  int player = 0;
  LaneKey key;
  std::uint64_t says = 0;
  std::uint64_t seen = 0;
};

/// `hellos` are those of the live players in order of rank, `me` is a rank. kRosterMismatch or
/// kProtocolMismatch naming the first player whose HELLO does not fit ours; kPeerLost naming one
/// that cannot go on; kConfig if the live players do not include the lane's owner.
Result<void> check_hellos(const std::vector<Hello>& hellos, int me);

/// Of each class the lowest run of bundles at or above every watermark and witness that all have
/// published under the same set ids and that lasts for at least one step; then as many steps as all
/// want and every class can serve.
LeaseDecision decide_lease(const std::vector<Hello>& hellos);

/// Whose pool was put back to an earlier state, as far as any live player remembers.
std::vector<Rollback> find_rollbacks(const std::vector<Hello>& hellos);

}  // namespace beaverpond
