// Players that are threads of one process.
#pragma once

#include <memory>
#include <vector>

#include "online/transport/transport.h"

namespace beaverpond {

/// Connected transports, one per player. Each is used by its own thread and may be destroyed on its
/// own: to the others that is a clean close, kPeerLost once they wait for it. For tests and for
/// benchmarks without a network; nothing is encrypted, nothing leaves the process.
std::vector<std::unique_ptr<Transport>> make_local_transports(int players);

/// As if the process of `transport`'s player had died: everything that the others wait for fails
/// with kPeerLost naming it. `transport` is one that make_local_transports() made.
void abandon(Transport& transport);

}  // namespace beaverpond
