#include "online/cli/run_profile.h"

#include <cstdio>

namespace beaverpond {

Result<void> report_run(const std::string& report_path, JsonFields fields,
                        const ProfileFlags& flags, const FinishedRun& run,
                        const std::vector<DealingTimes>& dealing) {
  const EngineProfile& profile = *run.profile;
  if (!flags.profile || profile.runs == 0) return write_report(report_path, fields);
  CostTable table = predicted_costs(*run.program, run.runs, run.players, run.rank);
  put_measured(table, *run.program, profile, run.rounds, run.players, run.rank);
  if (const DealingTimes* const times = dealing_of_plan(dealing, *run.plan); times != nullptr) {
    put_dealing(table, *run.program, *run.plan, *times, run.bundles);
  } else if (!dealing.empty()) {
    std::fprintf(stderr,
                 "--dealing: left out, since the players chose profile %s and the times are of "
                 "another plan\n",
                 to_string(run.plan->profile));
  }
  const double computing = table.total.seconds;
  const double scheduling = profile.run_seconds - computing - profile.exchange_seconds;
  const double between = run.seconds - profile.run_seconds;
  const double unit_ms = 1e3 / static_cast<double>(profile.runs);
  std::fprintf(stderr,
               "player %d, mean of %llu %s%s:\n\n%s\n%10.3f ms computing, as above\n%10.3f ms "
               "sending, and waiting for messages\n%10.3f ms scheduling\n%10.3f ms between, for "
               "bundles and rows\n%10.3f ms in all\n",
               run.rank, static_cast<unsigned long long>(profile.runs), run.unit,
               profile.runs == 1                  ? ""
               : run.unit == std::string("batch") ? "es"
                                                  : "s",
               format_costs(table, flags.full, profile.runs).c_str(), computing * unit_ms,
               profile.exchange_seconds * unit_ms, scheduling * unit_ms, between * unit_ms,
               run.seconds * unit_ms);
  fields.insert(fields.end(), {{"computing_seconds", computing},
                               {"message_seconds", profile.exchange_seconds},
                               {"scheduling_seconds", scheduling},
                               {"between_seconds", between},
                               {"run_bytes_sent", table.total.bytes_sent}});
  return write_report(report_path, fields, json_costs(table));
}

}  // namespace beaverpond
