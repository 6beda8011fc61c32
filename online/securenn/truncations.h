// Which truncations run together: shared by the engine, which runs them, and the cost model.
#pragma once

#include <cstdint>
#include <vector>

#include "offline/plan/plan.h"

namespace beaverpond::securenn {

/// By operation: its plan entries, without masks.
std::vector<std::vector<std::uint32_t>> entries_of_operations(const Program& program,
                                                              const Plan& plan);

/// Operations run in the program's order, except for truncations, which run as soon as another runs
/// and their input is there.
class ReadyTruncations {
 public:
  /// `entries`: of entries_of_operations(). All outlive it.
  ReadyTruncations(const Program& program, const Plan& plan,
                   const std::vector<std::vector<std::uint32_t>>& entries)
      : program_(program), plan_(plan), entries_(entries) {}

  /// `kept`: by value, what an earlier member of the series made; empty: nothing.
  void begin(const std::vector<bool>& kept);
  bool kept(std::uint32_t index) const;
  /// Of operation `index`, if it has one still to do, and of all later ones whose input is there.
  std::vector<std::uint32_t> take(std::uint32_t index);
  /// Operation `index` has run.
  void done(std::uint32_t index);

 private:
  bool has_truncation(std::uint32_t index) const;

  const Program& program_;
  const Plan& plan_;
  const std::vector<std::vector<std::uint32_t>>& entries_;
  std::vector<bool> kept_;       ///< by value
  std::vector<bool> ready_;      ///< by value, in this run
  std::vector<bool> truncated_;  ///< by operation, in this run
};

}  // namespace beaverpond::securenn
