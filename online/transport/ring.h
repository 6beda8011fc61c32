// A large reduction in a ring: every player hears from the one before it and sends to the one
// behind it, so that nobody sends more than twice the words, however many players there are.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "online/transport/mesh.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// words := the reduction over all players of `mesh`, at least three. The first block is sent here;
/// the rest goes on in wait(), so all players wait for such operations of a lane in one order. Bit
/// for bit what sending everything to everyone gives. When wait() fails the words are as they were,
/// and a player that this one found lost is reported to the rest, who may not wait for it
/// themselves. Errors: kPeerLost (names the player), kProtocolMismatch, kTimeout (names the
/// player before this one if it has not begun; else nobody, as it may itself be waiting).
Operation start_ring_reduce(Mesh& mesh, std::span<std::uint64_t> words, ReduceOp op,
                            const Tag& tag);

}  // namespace beaverpond
