// What a run of a Program costs one of SecureNN's players, from Program and Plan alone: the
// engine's messages without its arithmetic. Bytes and rounds are exact
// (tests/online/securenn/cost_test.cpp).
#pragma once

#include "online/protocol/cost.h"

namespace beaverpond {

/// As run_cost(), for a plan of SecureNN's and player options.rank. Rounds are those in which the
/// player sends, or waits for the other two to go on; the assistant has none in products,
/// truncations and lookups.
RunCost securenn_run_cost(const Program& program, const Plan& plan, const RunCostOptions& options);

}  // namespace beaverpond
