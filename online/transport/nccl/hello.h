// What players tell each other over the control connection before NCCL connects them.
#pragma once

#include <cstdint>
#include <string>

#include "online/transport/nccl/abi.h"
#include "online/transport/transport.h"

namespace beaverpond::nccl {

/// Tag.operation of the hellos, in session 0: far from those of programs and sessions.
inline constexpr std::uint32_t kHelloOperation = 0xfffe0000u;

struct Agreement {
  UniqueId id{};           ///< made by rank 0
  int version = 0;         ///< of every player's library
  std::string shared_gpu;  ///< "players 0 and 1 share a GPU", or empty
};

/// All players say which library and GPU they have; rank 0 gives the id of the communicator that
/// they are about to make. Errors: kConfig (libraries differ, or a player has none that works),
/// kDeviceFailed, kIo (NCCL finds no network), those of `control`.
Result<Agreement> agree_blocking(Transport& control, const Api& api, int device, const Tag& tag,
                                 Deadline deadline);

/// In the place of agree_blocking(): lets the others know, as far as they can be reached.
void tell_unable_blocking(Transport& control, std::uint32_t lane, const Error& why,
                          Deadline deadline);

}  // namespace beaverpond::nccl
