// A large reduction in two steps: every player sums up a block of the words and tells the others,
// so that nobody sends more than twice the words, however many players there are.
#pragma once

#include <cstdint>
#include <span>

#include "online/transport/mesh.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// words := the reduction over all players of `mesh`, at least three, as all_reduce_form.h cuts
/// them. The second step goes on when the first has come, whether or not anybody waits. Bit for bit
/// what sending everything to everyone gives. When wait() fails the words are as they were, and a
/// player that this one found lost is reported to the rest, who may be waiting for this one.
/// Errors: kPeerLost (names the player), kProtocolMismatch, kTimeout (names a player that has not
/// begun; where all have, nobody, as the one that is late may itself be waiting).
Operation start_scattered_reduce(Mesh& mesh, std::span<std::uint64_t> words, ReduceOp op,
                                 const Tag& tag);

}  // namespace beaverpond
