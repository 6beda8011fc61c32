#include "online/session/pair_keys.h"

#include <sys/random.h>

#include <cerrno>
#include <cstring>

namespace beaverpond {
namespace {

Result<void> draw(Seed& seed) {
  const std::span<std::uint8_t> bytes = seed.mutable_bytes();
  std::size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t got = getrandom(bytes.data() + at, bytes.size() - at, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      return make_error(ErrorCode::kIo, std::string("getrandom failed: ") + std::strerror(errno));
    }
    at += static_cast<std::size_t>(got);
  }
  return {};
}

}  // namespace

Result<PairKeys> exchange_pair_keys(Transport& transport, const Tag& tag, Deadline deadline) {
  const int size = transport.size();
  const int rank = transport.rank();
  PairKeys keys;
  keys.sent.resize(static_cast<std::size_t>(size));
  keys.received.resize(static_cast<std::size_t>(size));
  for (int peer = 0; peer < size; ++peer) {
    if (peer != rank) BP_TRY(draw(keys.sent[static_cast<std::size_t>(peer)]));
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
