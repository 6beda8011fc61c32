#include "online/session/pair_keys.h"

#include "offline/pool/random.h"

namespace beaverpond {

Result<PairKeys> exchange_pair_keys(Transport& transport, const Tag& tag, Deadline deadline) {
  const int size = transport.size();
  const int rank = transport.rank();
  PairKeys keys;
  keys.sent.resize(static_cast<std::size_t>(size));
  keys.received.resize(static_cast<std::size_t>(size));
  for (int peer = 0; peer < size; ++peer) {
    if (peer == rank) continue;
    BP_TRY(fill_random_blocking(keys.sent[static_cast<std::size_t>(peer)].mutable_bytes()));
  }
  std::vector<Operation> pending;
  for (int peer = 0; peer < size; ++peer) {
    if (peer == rank) continue;
    const auto index = static_cast<std::size_t>(peer);
    pending.push_back(transport.start_send(peer, keys.sent[index].bytes(), tag, kHostStream));
    pending.push_back(
        transport.start_recv(peer, keys.received[index].mutable_bytes(), tag, kHostStream));
  }
  Result<void> outcome;
  for (Operation& operation : pending) {
    Result<void> result = operation.wait(deadline);
    if (outcome.ok() && !result.ok()) outcome = std::move(result);
  }
  if (!outcome.ok()) return std::move(outcome).error();
  return keys;
}

}  // namespace beaverpond
