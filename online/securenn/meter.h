// What a run sends, by operation, as the cost model predicts it. Private to this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "online/protocol/profile.h"
#include "online/securenn/link.h"

namespace beaverpond::securenn {

/// Fills an engine's EngineProfile, or does nothing.
class Meter {
 public:
  /// `link` outlives it.
  Meter(bool enabled, const Program& program, const Link& link);

  /// Operation `op` takes part in the round that is under way, with `bytes` of what it sends.
  void part(std::uint32_t op, std::uint64_t bytes);

  /// From here on, what is sent and is no part of another operation's is of `op`.
  void begin(std::uint32_t op);
  void end();

  EngineProfile& profile() { return profile_; }
  const EngineProfile& profile() const { return profile_; }

 private:
  void take_part(std::uint32_t op, std::uint64_t round);

  bool enabled_;
  const Link& link_;
  ProgramLayers layers_;
  EngineProfile profile_;
  std::vector<std::uint64_t> next_of_op_;     ///< one past the last round it took part in
  std::vector<std::uint64_t> next_of_layer_;  ///< likewise
  std::uint32_t op_ = 0;
  std::uint64_t first_round_ = 0;
  std::uint64_t first_byte_ = 0;
  std::uint64_t others_bytes_ = 0;
  double first_second_ = 0;
  std::vector<std::uint64_t> others_rounds_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace beaverpond::securenn
