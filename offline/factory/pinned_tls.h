// TLS 1.3 between factory and players: each side shows its certificate and accepts those that the
// roster pins, by their hash and by nothing else. No authority is asked, no name compared.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "offline/plan/hash.h"

struct ssl_ctx_st;
struct ssl_st;

namespace beaverpond {

/// A key, its certificate, and whom to accept. Outlives every context that it is put into.
class PinnedTls {
 public:
  /// Reads HOME/key.pem and HOME/cert.pem. Errors: kConfig, naming the file.
  static Result<std::unique_ptr<PinnedTls>> read(const std::string& home,
                                                 std::vector<Hash256> accepted);
  ~PinnedTls();

  const Hash256& fingerprint() const;
  /// Sets protocol, key, certificate and the check of the other side up.
  bool configure(ssl_ctx_st* context);
  /// Which of those accepted the other side of a connection is.
  std::optional<std::size_t> peer_of(const ssl_st* connection) const;

 private:
  struct State;
  explicit PinnedTls(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace beaverpond
