// Keeps the pools filled: several classes at once, the one that runs dry first before the others.
#pragma once

#include <memory>
#include <optional>

#include "offline/factory/factory.h"
#include "offline/factory/scheduler.h"
#include "offline/factory/status.h"

namespace beaverpond {

struct ServiceClass {
  FactoryClass made;
  Demand demand;
};

/// What may change while the service runs.
struct ServiceConfig {
  std::vector<ServiceClass> classes;  ///< at least one; no two with the same lane
  SpaceLimits space;
};

struct ServiceOptions {
  PoolSetOptions pools;
  std::vector<std::string> player_names;  ///< by player; for the status
  std::chrono::milliseconds poll_interval{100};
  EntropySource entropy = fill_random_blocking;
  std::function<SteadyTime()> now = [] { return std::chrono::steady_clock::now(); };
  const std::atomic<bool>* stop = nullptr;   ///< ends at once; the segment being made is dropped
  const std::atomic<bool>* drain = nullptr;  ///< ends when the segment being made is published
  /// Asked between segments; a value replaces the configuration.
  std::function<std::optional<ServiceConfig>()> reload;
  std::function<void(const FactoryEvent&)> on_event;
  StatusBoard* board = nullptr;  ///< may be null
};

/// One thread, besides the threads that deal.
class Service {
 public:
  /// Takes the factory's locks and removes what an earlier one left unfinished. Errors: those of
  /// PoolSet::open(); kConfig; kNoSpace (the budget cannot hold the low marks).
  static Result<Service> open(ServiceOptions options, ServiceConfig config);
  Service(Service&&) noexcept;
  ~Service();

  /// Until `stop` or `drain` is set; that is success. A full disk or budget is a pause, not an
  /// error. Errors: kIo, kOutOfMemory, kDeviceFailed, kPoolCorrupt, kRosterMismatch; what was
  /// published before stays, and the segment in the making is dropped on all players.
  Result<void> serve_blocking();

  FactoryTotals totals() const;

 private:
  struct State;
  explicit Service(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace beaverpond
