// `--profile`: what a finished run cost this player, as text and for the report.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "online/cli/commands.h"
#include "online/cli/cost_table.h"
#include "online/protocol/engine.h"

namespace beaverpond {

/// What was run, and what its engine counted. The pointers outlive the call only.
struct FinishedRun {
  const Program* program = nullptr;
  const Plan* plan = nullptr;
  const EngineProfile* profile = nullptr;
  std::uint64_t rounds = 0;
  double seconds = 0;            ///< from the first run to the end of the last
  std::vector<CostedRuns> runs;  ///< all of them
  std::uint64_t bundles = 0;
  int players = 0;
  int rank = 0;
  const char* unit = "step";
};

/// Prints the table on standard error, unless no profile is wanted, and writes the report. Dealing
/// times of a plan that was not spent are left out, with a notice.
Result<void> report_run(const std::string& report_path, JsonFields fields,
                        const ProfileFlags& flags, const FinishedRun& run,
                        const std::vector<DealingTimes>& dealing);

}  // namespace beaverpond
