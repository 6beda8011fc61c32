#include "online/session/session.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>

#include "offline/plan/hash.h"
#include "offline/pool/block.h"

namespace beaverpond {

Result<Session> Session::create_blocking(Transport& transport, Deadline deadline,
                                         const EntropySource& entropy, std::uint64_t last_epoch) {
  std::array<std::uint8_t, 16> nonce{};
  BP_TRY(entropy(std::span(nonce).first(8)));
  store_le(nonce, 8, last_epoch, 8);
  Tag tag;
  tag.operation = kNonceOperation;
  BP_ASSIGN(const auto nonces, transport.all_gather_messages_blocking(nonce, tag, deadline));
  static constexpr char kDomain[] = "beaverpond session v2";
  std::vector<std::uint8_t> all(kDomain, kDomain + sizeof(kDomain));
  std::uint64_t latest = 0;
  for (std::size_t player = 0; player < nonces.size(); ++player) {
    const bool fits = nonces[player].size() == nonce.size();
    const std::uint64_t theirs = fits ? load_le(nonces[player], 8, 8) : 0;
    if (!fits || theirs > kLatestEpoch) {
      Error error = make_error(
          ErrorCode::kProtocolMismatch,
          "the session nonce of player " + std::to_string(player) +
              (fits ? " names an epoch that nobody can have reached" : " has another size") +
              "; run the same release on all players");
      error.player = static_cast<int>(player);
      return error;
    }
    latest = std::max(latest, theirs);
    all.insert(all.end(), nonces[player].begin(), nonces[player].end());
  }
  const Hash256 hash = sha256(all);
  const std::uint64_t id = load_le(hash, 0, 8);
  return Session(id == 0 ? 1 : id, std::min(latest + 1, kLatestEpoch));
}

}  // namespace beaverpond
