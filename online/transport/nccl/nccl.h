// Players that each have a GPU of their own on one node or one trusted network: openings go from
// device memory to device memory by NCCL. All else goes over the TLS transport underneath.
#pragma once

#include <memory>

#include "beaverpond/result.h"
#include "online/transport/nccl_options.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// The transport of device memory over `control`, which is encrypted, connects the same players and
/// outlives it. All players call it together.
///
/// What lies in device memory travels by NCCL in the clear, so that may only be what everybody may
/// see: masked words. What lies in host memory (keys, inputs, reveals) and all messages go to
/// `control`. A view of no bytes counts as host memory.
///
/// Operations come after what their stream was given before, and run on a stream of their own, one
/// per lane, so that the caller's goes on; the result is there when wait() returns. Sends and
/// receives are started at the first wait() for anything of their lane, all together, and a send
/// ends when it has been received. After wait() has failed, for kTimeout too, the buffers hold
/// anything and every later operation in device memory fails alike; a new transport over the same
/// `control`, if that is well, starts afresh.
///
/// Errors: kConfig (not trusted, no NCCL, versions differ, GPUs are shared), kPeerLost, kTimeout,
/// kDeviceFailed, kOutOfMemory, kIo, kProtocolMismatch.
Result<std::unique_ptr<Transport>> connect_nccl_blocking(Transport& control,
                                                         const NcclOptions& options,
                                                         Deadline deadline);

}  // namespace beaverpond
