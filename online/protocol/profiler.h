// Fills an engine's EngineProfile, or does nothing. Private to this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "beaverpond/program.h"
#include "online/protocol/profile.h"
#include "online/transport/transport.h"

namespace beaverpond {

struct InFlight;

class Profiler {
 public:
  Profiler(bool enabled, const Program& program, const Transport& transport);

  /// Times until the end of the scope: an operation's computing, a whole run, messages.
  ScopedTimer time(std::uint32_t op) {
    return ScopedTimer(enabled_ ? &profile_.ops[op].seconds : nullptr);
  }
  ScopedTimer time_exchange() {
    return ScopedTimer(enabled_ ? &profile_.exchange_seconds : nullptr);
  }
  ScopedTimer time_run() {
    if (enabled_) ++profile_.runs;
    return ScopedTimer(enabled_ ? &profile_.run_seconds : nullptr);
  }

  /// Openings of the current round that began together: so many words and plane words in all.
  void count_strand(const std::vector<InFlight>& in_flight, std::uint64_t words,
                    std::uint64_t planes);
  /// An operation has revealed `words` words. All reveals of a run share a round.
  void count_reveal(std::uint32_t op, std::uint64_t words);
  void end_round() { ++round_; }

  const EngineProfile& profile() const { return profile_; }

 private:
  void take_part(std::uint32_t op);

  bool enabled_;
  const Program& program_;
  const Transport& transport_;
  EngineProfile profile_;
  ProgramLayers layers_;
  std::uint64_t round_ = 1;
  std::vector<std::uint64_t> last_round_of_op_;
  std::vector<std::uint64_t> last_round_of_layer_;
};

}  // namespace beaverpond
