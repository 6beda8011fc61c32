#include "online/protocol/sharing.h"

#include <algorithm>

#include "online/protocol/traffic.h"

namespace beaverpond {
namespace {

// ChaCha20 wherever the machine: these keys are drawn per session and never leave it.
constexpr PrgKind kKeyPrg = PrgKind::kChaCha20;

}  // namespace

void Sharing::share_input(Backend& backend, int owner, std::uint64_t serial, ConstWords words,
                          Words share) {
  const int rank = transport_.rank();
  if (rank != owner) {
    backend.prg_fill(keys_.received[static_cast<std::size_t>(owner)], kKeyPrg, serial, 0,
                     bytes_of(share), kHostStream);
    return;
  }
  backend.upload(bytes_of(words), bytes_of(share), kHostStream);
  for (int peer = 0; peer < transport_.size(); ++peer) {
    if (peer == rank) continue;
    backend.prg_subtract(keys_.sent[static_cast<std::size_t>(peer)], kKeyPrg, serial, share,
                         kHostStream);
  }
}

/// The share plus this player's part of a zero sharing, in host memory.
Result<ConstWords> Sharing::masked(Backend& backend, ConstWords share, std::uint64_t serial) {
  const ByteCount size = bytes_of_words(ElementCount{share.size()});
  if (masked_.words().size() < share.size()) {
    BP_ASSIGN(masked_, backend.allocate(size));
  }
  const Words mine = masked_.words().first(share.size());
  backend.copy(share, mine, kHostStream);
  for (int peer = 0; peer < transport_.size(); ++peer) {
    if (peer == transport_.rank()) continue;
    const auto index = static_cast<std::size_t>(peer);
    backend.prg_add(keys_.sent[index], kKeyPrg, serial, mine, kHostStream);
    backend.prg_subtract(keys_.received[index], kKeyPrg, serial, mine, kHostStream);
  }
  if (backend.memory() == MemoryKind::kHost) {
    BP_TRY(backend.synchronize(kHostStream));
    return ConstWords(mine);
  }
  if (host_.words().size() < share.size()) {
    BP_ASSIGN(host_, backend.allocate_host(size));
  }
  const Words host = host_.words().first(share.size());
  backend.download(bytes_of(mine), bytes_of(host), kHostStream);
  BP_TRY(backend.synchronize(kHostStream));
  return ConstWords(host);
}

Result<std::vector<std::uint64_t>> Sharing::reveal(Backend& backend, ConstWords share,
                                                   std::uint64_t receivers, std::uint64_t serial,
                                                   const Tag& tag, Deadline deadline) {
  const int rank = transport_.rank();
  const int size = transport_.size();
  BP_ASSIGN(const ConstWords mine, masked(backend, share, serial));
  const auto is_receiver = [receivers](int player) { return ((receivers >> player) & 1) != 0; };
  std::vector<std::vector<std::uint64_t>> theirs(static_cast<std::size_t>(size));
  std::vector<Operation> pending;
  for (int peer = 0; peer < size; ++peer) {
    if (peer == rank) continue;
    if (is_receiver(peer)) {
      for (std::size_t at = 0; at < mine.size(); at += kMaxMessageWords) {
        const std::size_t count = std::min<std::size_t>(kMaxMessageWords, mine.size() - at);
        pending.push_back(transport_.start_send(
            peer, {reinterpret_cast<const std::uint8_t*>(mine.data() + at), count * 8}, tag,
            kHostStream));
      }
    }
    if (is_receiver(rank)) {
      std::vector<std::uint64_t>& words = theirs[static_cast<std::size_t>(peer)];
      words.resize(mine.size());
      for (std::size_t at = 0; at < words.size(); at += kMaxMessageWords) {
        const std::size_t count = std::min<std::size_t>(kMaxMessageWords, words.size() - at);
        pending.push_back(transport_.start_recv(
            peer, {reinterpret_cast<std::uint8_t*>(words.data() + at), count * 8}, tag,
            kHostStream));
      }
    }
  }
  Result<void> outcome;
  for (Operation& operation : pending) {
    Result<void> result = operation.wait(deadline);
    if (outcome.ok() && !result.ok()) outcome = std::move(result);
  }
  if (!outcome.ok()) return std::move(outcome).error();
  if (!is_receiver(rank)) return std::vector<std::uint64_t>();
  std::vector<std::uint64_t> value(mine.begin(), mine.end());
  for (const std::vector<std::uint64_t>& words : theirs) {
    for (std::size_t i = 0; i < words.size(); ++i) value[i] += words[i];
  }
  return value;
}

}  // namespace beaverpond
