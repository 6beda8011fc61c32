// What a program costs by layer and by operation: as `plan` predicts it, as `train --profile`
// measures it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "offline/plan/hash.h"
#include "online/cli/json_line.h"
#include "online/protocol/cost.h"
#include "online/protocol/profile.h"

namespace beaverpond {

struct CostRow {
  std::string layer;
  std::string operation;               ///< "truncate"; empty where the row is a whole layer's
  std::optional<std::uint32_t> index;  ///< of the operation in the program
  std::uint64_t rounds = 0;            ///< in which it takes part; other rows may share them
  std::uint64_t bytes_sent = 0;        ///< by one player to all others, without headers
  std::uint64_t bundle_bytes = 0;
  std::uint64_t multiply_adds = 0;  ///< of the dealer; every player makes twice as many
  double seconds = 0;               ///< measured, of computing
  double dealing_seconds = 0;       ///< measured, on one core
};

struct CostTable {
  std::vector<CostRow> operations;  ///< all of the program's
  std::vector<CostRow> layers;
  CostRow total;                   ///< rounds and bytes are the program's, headers included
  std::uint64_t header_bytes = 0;  ///< of total.bytes_sent
  bool measured = false;           ///< seconds are known
  bool dealt = false;              ///< dealing_seconds are known
};

/// Runs of one kind, and how many of them.
struct CostedRuns {
  RunCost cost;
  std::uint64_t times = 1;
};

/// The sum over `runs`, for player `rank` of `players`.
CostTable predicted_costs(const Program& program, const std::vector<CostedRuns>& runs, int players,
                          int rank);

/// run_cost() or securenn_run_cost(), as the plan's protocol wants.
RunCost cost_of_run(const Program& program, const Plan& plan, const RunCostOptions& options);

/// What player `rank` runs for one bundle: all members of a series.
std::vector<CostedRuns> runs_of_bundle(const Program& program, const Plan& plan, int rank);

/// The steps of a training that reveals its loss every `loss_every` steps, or never (0).
std::vector<CostedRuns> runs_of_training(const Program& program, const Plan& plan,
                                         std::uint64_t steps, std::uint64_t loss_every, int rank);

/// `batches` of inference, as many a bundle as the program has members.
std::vector<CostedRuns> runs_of_inference(const Program& program, const Plan& plan,
                                          std::uint64_t batches, int rank);

/// Replaces rounds and bytes by what an engine counted over the same runs, and adds its seconds.
void put_measured(CostTable& table, const Program& program, const EngineProfile& profile,
                  std::uint64_t rounds, int players, int rank);

/// What `triple-factory profile --json` wrote for a plan.
struct DealingTimes {
  Hash256 plan{};
  std::vector<double> entry_seconds;  ///< of a bundle, by plan entry
};
/// Errors: kConfig, kIo; a file of another plan or number of players is refused.
Result<DealingTimes> read_dealing(const std::string& path, const Plan& plan, std::uint32_t players);
/// Of several files, where there may be two plans to choose from: each is of one of them. Errors:
/// as read_dealing(); kConfig for two of one plan.
Result<std::vector<DealingTimes>> read_dealings(const std::vector<std::string>& paths,
                                                const Plan& plan,
                                                const std::optional<Plan>& wide_plan,
                                                std::uint32_t players);
/// Those of the plan; null if there are none.
const DealingTimes* dealing_of_plan(const std::vector<DealingTimes>& dealings, const Plan& plan);

/// Adds the seconds of dealing `bundles` bundles.
void put_dealing(CostTable& table, const Program& program, const Plan& plan,
                 const DealingTimes& dealing, std::uint64_t bundles);

/// For a person: everything divided by `runs`. `full` has a line for each operation that costs
/// anything, otherwise for each layer.
std::string format_costs(const CostTable& table, bool full, std::uint64_t runs);

/// "layers" and "operations", undivided.
std::vector<JsonTable> json_costs(const CostTable& table);

}  // namespace beaverpond
