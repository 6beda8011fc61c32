// `triple-factory pull`: a player fetches its own segments from the factory.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "offline/factory/incoming.h"
#include "offline/factory/pinned_tls.h"

namespace beaverpond {

struct PullEvent {
  enum class Kind : std::uint8_t {
    kStaged,     ///< downloaded, checked and durable
    kPublished,  ///< all players hold it; the engine may spend it
    kDropped,    ///< was staged, but will never be on all players
    kRetrying,   ///< the factory cannot be reached; `reason` says why. Said once until it can be
  };
  Kind kind = Kind::kStaged;
  LaneRange what;
  std::uint64_t bytes = 0;         ///< of this download
  std::uint64_t resumed_from = 0;  ///< bytes that an earlier attempt had left
  std::string reason;
};

struct PullOptions {
  std::string host;  ///< of the factory
  std::uint16_t port = 0;
  std::unique_ptr<PinnedTls> tls;  ///< accepts the factory alone
  IncomingOptions incoming;
  std::chrono::milliseconds poll_interval{500};
  const std::atomic<bool>* stop = nullptr;
  std::function<void(const PullEvent&)> on_event;
};

/// One thread.
class Puller {
 public:
  /// Errors: those of Incoming::open().
  static Result<Puller> open(PullOptions options);
  Puller(Puller&&) noexcept;
  ~Puller();

  /// One exchange with the factory and all that follows from it. True if anything was done.
  /// Errors: kIo (the network; try again), kRosterMismatch (a stranger answers, or the factory does
  /// not know this player), kProtocolMismatch, kPoolCorrupt (sent twice, damaged), kNoSpace.
  Result<bool> turn_blocking();

  /// Turns until `stop`; that is success. Waits and tries again where the factory cannot be reached
  /// or the disk is full; any other error ends it.
  Result<void> run_blocking();

 private:
  struct State;
  explicit Puller(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace beaverpond
