// Who has come, while a mesh connects: the I/O thread reports, the application's thread waits.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "online/transport/tls.h"

namespace beaverpond {

/// "player 2 (hospital-b, 10.0.0.3 port 7470)".
std::string describe_player(const TlsOptions& options, int player);

/// Thread safe.
class RollCall {
 public:
  using Hellos = std::vector<std::vector<std::uint8_t>>;

  explicit RollCall(const TlsOptions& options);

  /// The hellos, by rank, when all have come. Errors: what fail() was given, or kTimeout naming a
  /// player that is missing, with what is known about why.
  Result<Hellos> wait_blocking(std::chrono::steady_clock::time_point deadline);

  /// True when this was the last one.
  bool present(int player, std::vector<std::uint8_t> hello);
  /// Ends the waiting; the first error counts, and none once the waiting is over.
  void fail(Error error);
  /// How the last attempt to reach `player` ended.
  void note_attempt(int player, std::string what);
  /// Whom this player turned away last.
  void note_turned_away(std::string whom);

  std::optional<Error> error() const;
  /// Whether the waiting has ended, well or not.
  bool over() const;

 private:
  bool complete() const;
  Error timeout_error() const;

  const TlsOptions& options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> present_;
  Hellos hellos_;
  std::vector<std::string> attempts_;
  std::string turned_away_;
  std::optional<Error> error_;
  bool over_ = false;
};

}  // namespace beaverpond
