// Players on one cluster whose network they trust: openings go by MPI. All else goes over the TLS
// transport underneath.
#pragma once

#include <memory>

#include "beaverpond/result.h"
#include "online/transport/mpi_options.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// The transport of collectives over `control`, which is encrypted, connects the same players and
/// outlives it. All players call it together, once in a process, each started by mpirun or srun
/// with its rank.
///
/// Collectives (openings of masked words) travel by MPI in the clear; sends, receives and messages
/// (keys, inputs, reveals, leases) go to `control`, which also names a player that is lost. MPI
/// gets buffers of this transport's own: the caller's are its own again whenever wait() returns.
/// After any failure, kTimeout too, every later collective fails alike, no function of MPI is
/// called any more, MPI_Finalize included, and what MPI may still touch stays until the process
/// ends. Destroying a transport that is well calls MPI_Finalize, for `finalize_timeout` at most.
///
/// Errors: kConfig (not trusted, not started by mpirun, other ranks than the roster's, another
/// lane), kPeerLost, kTimeout, kIo, kProtocolMismatch.
Result<std::unique_ptr<Transport>> connect_mpi_blocking(Transport& control,
                                                        const MpiOptions& options,
                                                        Deadline deadline);

}  // namespace beaverpond
