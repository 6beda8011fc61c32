// The two messages of a lease agreement and the decision that follows from them. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "offline/pool/identity.h"
#include "offline/pool/pool.h"

namespace beaverpond {

/// What a player knows and wants. The table is in online/session/README.md.
struct Hello {
  PoolIdentity pool;  ///< of the sender
  LaneKey key;
  std::uint64_t session = 0;
  std::uint64_t step = 0;
  std::uint64_t wanted = 0;               ///< min(k, steps left)
  std::uint64_t watermark = 0;            ///< first bundle that the sender never leased
  std::vector<std::uint64_t> witnesses;   ///< watermarks it saw of the others, by rank
  std::vector<PublishedRange> published;  ///< sorted, ending above its watermark
  bool gave_up = false;                   ///< its deadline has passed
  std::uint8_t failed = 0;                ///< ErrorCode of a sender that cannot go on, 0 otherwise
};

/// Ranges that a HELLO holds at most; a longer list is cut, the rest is offered by later ones.
inline constexpr std::size_t kMaxHelloRanges = 4096;

std::vector<std::uint8_t> encode_hello(const Hello& hello);
/// Errors: kProtocolMismatch.
Result<Hello> decode_hello(std::span<const std::uint8_t> bytes);

struct Durable {
  std::uint8_t failed = 0;  ///< ErrorCode of a sender whose claim is not durable
  std::uint64_t session = 0;
  std::uint32_t lane = 0;
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  Hash256 hellos{};  ///< SHA-256 of all HELLOs, by rank
  friend bool operator==(const Durable&, const Durable&) = default;
};

std::vector<std::uint8_t> encode_durable(const Durable& durable);
/// Errors: kProtocolMismatch.
Result<Durable> decode_durable(std::span<const std::uint8_t> bytes);

/// What all players lease, computed by each from the same HELLOs; empty where nothing is common.
struct LeaseDecision {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  std::vector<PublishedRange> segments;
  std::uint64_t floor = 0;  ///< largest watermark or witness: all below it is spent or burned
  bool empty() const { return first == end; }
};

/// kRosterMismatch or kProtocolMismatch naming the first player whose HELLO does not fit that of
/// player `me`; kPeerLost naming one that cannot go on.
Result<void> check_hellos(const std::vector<Hello>& hellos, int me);

/// The lowest bundle at or above every watermark and witness that all players have published under
/// the same set id, and as many after it as are wanted by all and contiguous.
LeaseDecision decide_lease(const std::vector<Hello>& hellos);

}  // namespace beaverpond
