#include "online/session/session.h"

#include <array>
#include <string>

#include "offline/plan/hash.h"
#include "offline/pool/block.h"

namespace beaverpond {

Result<Session> Session::create_blocking(Transport& transport, Deadline deadline,
                                         const EntropySource& entropy) {
  std::array<std::uint8_t, 8> nonce{};
  BP_TRY(entropy(nonce));
  Tag tag;
  tag.operation = kNonceOperation;
  BP_ASSIGN(const auto nonces, transport.all_gather_messages_blocking(nonce, tag, deadline));
  static constexpr char kDomain[] = "beaverpond session v1";
  std::vector<std::uint8_t> all(kDomain, kDomain + sizeof(kDomain));
  for (std::size_t player = 0; player < nonces.size(); ++player) {
    if (nonces[player].size() != nonce.size()) {
      Error error = make_error(ErrorCode::kProtocolMismatch,
                               "the session nonce of player " + std::to_string(player) +
                                   " has another size; run the same release on all players");
      error.player = static_cast<int>(player);
      return error;
    }
    all.insert(all.end(), nonces[player].begin(), nonces[player].end());
  }
  const Hash256 hash = sha256(all);
  const std::uint64_t id = load_le(hash, 0, 8);
  return Session(id == 0 ? 1 : id);
}

}  // namespace beaverpond
