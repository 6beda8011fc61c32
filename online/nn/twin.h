// The plaintext twin: runs a Program on plain words. In fixed point it gives, bit for bit, what the
// players' private run gives; in floating point it tells what fixed point costs.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "beaverpond/program.h"
#include "beaverpond/protocol.h"
#include "beaverpond/result.h"

namespace beaverpond {

/// What one run is given. `inputs` and `states` are indexed by slot; words are row-major.
template <class Word>
struct TwinRun {
  const Program& program;
  const std::vector<std::vector<Word>>& inputs;
  std::vector<std::vector<Word>>& states;  ///< updated in place, unchanged after an error
  std::uint64_t multiplier = 1;            ///< m of every kUpdate
  std::optional<std::uint64_t> step = {};  ///< of a training, for messages
  /// Whose domains are checked; no result depends on it.
  Protocol protocol = Protocol::kAdditive;
};

/// Words mod 2^64. Returns the reveals by slot. Checks -2^62 <= x' < 2^62 at every truncation, and
/// that no product or update left that range before it was reduced mod 2^64, where the private run
/// would go on with garbage. Protocol::kSecurenn compares words of that range alone, so that every
/// kRelu is checked too. Errors: kDomain (layer and step), kConfig for slots that do not fit.
Result<std::vector<std::vector<std::uint64_t>>> run_fixed(const TwinRun<std::uint64_t>& run);

/// The same Program over doubles that hold word values (a value v at scale s is v * 2^s):
/// truncations divide exactly, nothing is rounded or wraps. Errors: kConfig.
Result<std::vector<std::vector<double>>> run_float(const TwinRun<double>& run);

}  // namespace beaverpond
