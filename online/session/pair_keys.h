// Keys between pairs of players, for sharing inputs without a message and for zero sharings.
#pragma once

#include <vector>

#include "beaverpond/result.h"
#include "beaverpond/seed.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// `sent[j]` was drawn here and sent to player j; `received[j]` was drawn by player j. Directional,
/// never outlive their session, wiped on destruction. The own index holds an unused zero seed.
struct PairKeys {
  std::vector<Seed> sent;
  std::vector<Seed> received;
};

/// Draws a fresh key for every other player and exchanges them. The transport must be private
/// (local, tls). Tags use `tag` with its operation as given. Errors: those of the transport; kIo if
/// the operating system gives no randomness.
Result<PairKeys> exchange_pair_keys(Transport& transport, const Tag& tag, Deadline deadline);

}  // namespace beaverpond
