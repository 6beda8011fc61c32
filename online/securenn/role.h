// What the players with shares and the assistant do differently in a run; private to this folder.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "online/protocol/engine.h"
#include "online/securenn/meter.h"
#include "online/securenn/party.h"

namespace beaverpond::securenn {

/// One run of one bundle, or of one member of a series.
struct Run {
  const Bundle* bundle = nullptr;
  std::uint32_t member = 0;
  std::uint64_t number = 0;  ///< new for every run of the session
};

/// Everything that a role is made of; all outlive it.
struct RoleContext {
  const Program& program;
  const Plan& plan;
  Backend& backend;
  Link& link;
  Meter& meter;
  const PairKeys& keys;
  const std::vector<std::vector<std::uint32_t>>& entries;  ///< by operation, without masks
};

class Role {
 public:
  virtual ~Role() = default;

  /// `kept`: by value, what an earlier member of the series made; empty: nothing.
  virtual void begin(const Run& run, const std::vector<bool>& kept) = 0;
  /// Shares the inputs of the operations `ops`, in one round.
  virtual Result<void> share_inputs(const std::vector<std::uint32_t>& ops,
                                    const RunInputs& inputs) = 0;
  /// Runs operation `index`. `truncations`: it, if it has a truncation, and others whose input is
  /// ready too, to be done with it.
  virtual Result<void> execute(std::uint32_t index,
                               const std::vector<std::uint32_t>& truncations) = 0;
  virtual Result<void> finish(const RunInputs& inputs) = 0;

  /// A value to be revealed, or a state. Empty on the assistant.
  virtual ConstWords value_share(ValueId value) = 0;
  virtual Words state(std::uint32_t slot) = 0;
};

Result<std::unique_ptr<Role>> make_holder(const RoleContext& context);
Result<std::unique_ptr<Role>> make_assistant(const RoleContext& context);

}  // namespace beaverpond::securenn
