// What the NCCL transport (nccl/nccl.h) is told; apart from it, for programs without CUDA.
#pragma once

#include <chrono>
#include <cstdint>

#include "beaverpond/result.h"
#include "beaverpond/stream.h"

namespace beaverpond {

namespace nccl {
struct Api;
}

struct NcclOptions {
  int device = 0;  ///< this player's GPU, as CUDA counts
  /// What kHostStream stands for; null: no stream, for callers that have waited for their device as
  /// the engine does before every opening.
  StreamRef host_stream = kHostStream;
  /// The roster's `trusted_fabric`. NCCL neither encrypts nor authenticates: without it, refused.
  bool trusted_fabric = false;
  /// Whose communicator is made at once. Other lanes connect at their first operation, for at most
  /// `connect_timeout`.
  std::uint32_t lane = 0;
  std::chrono::milliseconds connect_timeout{30'000};
  /// A failed communicator that takes longer to abort is left behind, with its helper thread.
  std::chrono::milliseconds abort_timeout{2'000};
  /// When NCCL reports a remote failure: how long the control connection has to say who was lost.
  /// Above the time after which TLS gives up a silent peer.
  std::chrono::milliseconds blame_timeout{4'500};
  /// When the control connection reports a loss: what already runs may still end.
  std::chrono::milliseconds loss_grace{250};
  const nccl::Api* api = nullptr;  ///< null: the installed library
};

/// Errors: kConfig where the roster does not trust the fabric.
inline Result<void> check_fabric(bool trusted_fabric) {
  if (trusted_fabric) return {};
  return make_error(ErrorCode::kConfig,
                    "NCCL neither encrypts nor authenticates what players send each other, so it "
                    "is used only where the roster says trusted_fabric = true: put that into the "
                    "roster of every player if nobody else can reach or read the network between "
                    "the GPUs, or use --transport tls");
}

}  // namespace beaverpond
