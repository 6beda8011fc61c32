// Players as processes of this host, connected over TLS on the loopback interface.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "beaverpond/result.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// What one operation cost one player.
struct OperationCost {
  double wall_seconds = 0;
  double cpu_seconds = 0;  ///< all threads of the process
  std::uint64_t sent_bytes = 0;
};

/// What a player's process leaves behind, in memory that its parent shares.
struct PlayerResult {
  static constexpr std::size_t kMaxCosts = 128;

  void add(const OperationCost& cost) {
    BP_CHECK(count < kMaxCosts, "too many operations for one result");
    costs[count++] = cost;
  }

  std::array<OperationCost, kMaxCosts> costs;
  std::size_t count = 0;
  double rounds = 0;         ///< per operation
  double round_seconds = 0;  ///< of one that is empty, where it was measured
  bool right = false;        ///< the results were compared and agree
  bool finished = false;
  std::array<char, 512> error{};
};

/// Costs since the last look: wall time, CPU time, bytes.
class CostMeter {
 public:
  explicit CostMeter(const Transport& transport) : transport_(transport) { lap(); }
  /// What was spent since the last lap(), or since the meter was made.
  OperationCost lap();

 private:
  const Transport& transport_;
  OperationCost last_;  ///< readings, not differences
};

using PlayerBody = std::function<Result<void>(Transport& transport, PlayerResult& result)>;

/// Makes identities in a temporary folder, forks one process per player, connects them and runs
/// `body` in each. The caller has one thread. `round_trip`: all connections go through a relay
/// (bench/relay), a thread of this process, in which each direction takes half of it. Results by
/// rank. Errors: of the first player that failed; kIo.
Result<std::vector<PlayerResult>> run_processes_blocking(
    int players, const PlayerBody& body,
    std::optional<std::chrono::microseconds> round_trip = std::nullopt);

}  // namespace beaverpond
