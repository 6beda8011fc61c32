// What the MPI transport (mpi/mpi.h) is told; apart from it, for programs without MPI.
#pragma once

#include <chrono>
#include <cstdint>

#include "beaverpond/result.h"

namespace beaverpond {

struct MpiOptions {
  /// The roster's `trusted_fabric`. MPI neither encrypts nor authenticates: without it, refused.
  bool trusted_fabric = false;
  std::uint32_t lane = 0;  ///< the only one whose openings go by MPI
  /// When MPI reports a failure: how long the control connection has to say who was lost. Above the
  /// time after which TLS gives up a silent peer.
  std::chrono::milliseconds blame_timeout{4'500};
  /// When the control connection reports a loss: what already runs may still end.
  std::chrono::milliseconds loss_grace{250};
  /// How long MPI_Finalize, in which players wait for each other, may take.
  std::chrono::milliseconds finalize_timeout{60'000};
};

/// Errors: kConfig where the roster does not trust the fabric.
inline Result<void> check_mpi_fabric(bool trusted_fabric) {
  if (trusted_fabric) return {};
  return make_error(ErrorCode::kConfig,
                    "MPI neither encrypts nor authenticates what players send each other, so it is "
                    "used only where the roster says trusted_fabric = true: put that into the "
                    "roster of every player if nobody else can reach or read the network between "
                    "them, or use --transport tls");
}

}  // namespace beaverpond
