// Where an engine's time went and what it sent, by operation. Collected when EngineOptions::profile
// is set; sums over all runs.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "online/protocol/traffic.h"

namespace beaverpond {

struct OpProfile {
  double seconds = 0;  ///< of computing; the waits of a round belong to no operation
  OpTraffic traffic;
};

struct EngineProfile {
  std::uint64_t runs = 0;
  std::vector<OpProfile> ops;               ///< by operation
  std::vector<std::uint64_t> layer_rounds;  ///< by layer: rounds in which some operation takes part
  double run_seconds = 0;                   ///< of whole runs
  double exchange_seconds = 0;              ///< of these: sending, and waiting for messages
  std::uint64_t sent_bytes = 0;             ///< by this player over a mesh, headers included
};

/// Adds the time until its end to `seconds`, unless null.
class ScopedTimer {
 public:
  explicit ScopedTimer(double* seconds) : seconds_(seconds) {
    if (seconds_ != nullptr) start_ = std::chrono::steady_clock::now();
  }
  ~ScopedTimer() {
    if (seconds_ == nullptr) return;
    *seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  ScopedTimer(const ScopedTimer&) = delete;             // one end
  ScopedTimer& operator=(const ScopedTimer&) = delete;  // one end

 private:
  double* seconds_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace beaverpond
