// The second listener: health, metrics, status and the page, in plain HTTP on this host alone.
#pragma once

#include <memory>
#include <string>

#include "beaverpond/result.h"
#include "offline/factory/config.h"
#include "offline/factory/status.h"

namespace beaverpond {

/// Answers on threads of its own until it is destroyed. /healthz: the serving thread turns;
/// /readyz: jobs may count on the factory; /metrics; /status.json; / is the page.
class StatusServer {
 public:
  /// The serving thread is stuck if it has not turned for this long; a segment takes less.
  static constexpr double kStuckSeconds = 600;

  /// `board` outlives the server; port 0 lets the system choose. Errors: kIo (the port is taken).
  static Result<std::unique_ptr<StatusServer>> start(const ListenAddress& address,
                                                     const StatusBoard& board);
  ~StatusServer();

  std::string url() const;  ///< "http://127.0.0.1:9470/"

 private:
  struct State;
  explicit StatusServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// GET http://host:port`path`. Errors: kIo (nobody answers), kConfig (another answer than 200).
Result<std::string> fetch_blocking(const ListenAddress& address, const std::string& path);

}  // namespace beaverpond
