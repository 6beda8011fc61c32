// Where players pull their segments: HTTPS, both sides pinned.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "offline/factory/pinned_tls.h"
#include "offline/factory/spool.h"

namespace beaverpond {

struct DeliveryServerOptions {
  std::string host;
  std::uint16_t port = 0;          ///< 0: the system chooses
  std::unique_ptr<PinnedTls> tls;  ///< accepts the players, in the roster's order
  Spool* spool = nullptr;          ///< outlives the server
  /// Told, on a thread of the server, of what went wrong with a player's request. May be empty.
  std::function<void(const std::string&)> on_failure;
};

/// Answers on threads of its own until it is destroyed; a player sees its own files alone. POST
/// /v1/sync takes and gives the messages of delivery_messages.h; GET /v1/segments/<path> is a file
/// that was offered, with Range.
class DeliveryServer {
 public:
  /// Errors: kIo (the port is taken), kConfig (a key that does not fit its certificate).
  static Result<std::unique_ptr<DeliveryServer>> start(DeliveryServerOptions options);
  ~DeliveryServer();

  std::uint16_t port() const;

 private:
  struct State;
  explicit DeliveryServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace beaverpond
