#include "beaverpond/run.h"

#include <chrono>
#include <memory>

#include "offline/plan/file.h"
#include "offline/plan/plan.h"
#include "offline/plan/program_hash.h"
#include "online/api/values.h"
#include "online/nn/session_engine.h"
#include "online/nn/twin.h"
#include "online/player/player.h"

namespace beaverpond {
namespace {

using Clock = std::chrono::steady_clock;

Result<Plan> plan_of(const RecordedProgram& program) {
  return make_plan(program.program, program.prg);
}

/// What the Program leaves out: names, and who allowed what.
Hash256 declared_hash(const RecordedProgram& program) {
  // With its length, so that a name cannot pass for what follows it.
  const auto sized = [](const std::string& name) {
    return std::to_string(name.size()) + ':' + name + '\n';
  };
  std::string text = std::to_string(program.players) + " players, " +
                     std::to_string(program.fraction_bits) + " bits\n";
  for (const RecordedInput& input : program.inputs) {
    text += "input " + sized(input.name) + std::to_string(input.may_learn) + '\n';
  }
  for (const RecordedReveal& reveal : program.reveals) text += "reveal " + sized(reveal.name);
  return sha256({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

Undertaking undertaking(const RecordedProgram& program, const Plan& plan,
                        const RunOptions& options) {
  const char* record_alike = "; run the same program with the same public sizes on every player";
  Undertaking what;
  what.source = "the recorded program";
  what.players = program.players;
  what.plan = plan_hash(plan);
  what.agreed = {
      {what.plan,
       std::string("the plans differ: other operations, shapes or generators") + record_alike},
      {program_hash(program.program),
       std::string("the programs differ: other public constants, owners or receivers") +
           record_alike},
      {declared_hash(program),
       std::string("the programs differ in names of inputs and reveals, or in may_learn") +
           record_alike}};
  what.lease_bundles = 1;
  what.network.connect_timeout_ms = options.connect_timeout_ms;
  what.network.pool_timeout_ms = options.pool_timeout_ms;
  what.network.round_timeout_ms = options.round_timeout_ms;
  return what;
}

/// What an application needs to act on a failure: in which part of the run, and in which epoch.
Error in_part(Error error, const std::string& part, std::uint64_t epoch) {
  if (error.operation.empty()) error.operation = part;
  if (error.epoch == 0) error.epoch = epoch;
  return error;
}

Result<RunReport> run_connected(const RecordedProgram& program, const Plan& plan,
                                const std::vector<std::vector<std::uint64_t>>& words,
                                Player& player, const NetworkConfig& network, std::uint32_t lane) {
  BP_ASSIGN(
      const std::unique_ptr<Engine> engine,
      create_session_engine(network, program.program, plan, player.backend(), player.transport(),
                            player.session(), lane, player.session().epoch(), false));
  const std::uint64_t epoch = player.session().epoch();
  Result<Bundle> bundle = player.bundles().next_blocking(0, 1);
  if (!bundle.ok()) return in_part(std::move(bundle).error(), "lease", epoch);
  const Clock::time_point start = Clock::now();
  RunInputs run;
  run.inputs.assign(words.begin(), words.end());
  if (Result<void> done = engine->run(std::move(bundle).value(), run); !done.ok()) {
    return in_part(std::move(done).error(), "run", epoch);
  }
  RunReport report;
  report.rank = player.rank();
  report.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  report.rounds = engine->stats().rounds;
  for (std::uint32_t slot = 0; slot < program.reveals.size(); ++slot) {
    const RecordedReveal& reveal = program.reveals[slot];
    if ((reveal.players >> player.rank() & 1) == 0) continue;
    const ConstWords shown = engine->revealed(slot);
    report.revealed[reveal.name] = numbers({shown.begin(), shown.end()}, program.fraction_bits);
  }
  return report;
}

}  // namespace

Result<NamedValues> run_in_plaintext(const RecordedProgram& program, const NamedValues& inputs) {
  BP_ASSIGN(const auto words, input_words(program, inputs, -1));
  std::vector<std::vector<std::uint64_t>> states;
  BP_ASSIGN(const auto reveals, run_fixed({program.program, words, states}));
  NamedValues out;
  for (std::size_t slot = 0; slot < reveals.size(); ++slot) {
    out[program.reveals[slot].name] = numbers(reveals[slot], program.fraction_bits);
  }
  return out;
}

Result<void> save_plan(const RecordedProgram& program, const std::string& path) {
  BP_ASSIGN(const Plan plan, plan_of(program));
  return write_plan_file(plan, path);
}

void protect_process() {
  forbid_core_files();
  occupy_standard_descriptors();
}

Result<int> rank_of_home(const std::string& home) {
  const Home files{home};
  BP_ASSIGN(const Roster roster, read_roster_file(files.roster_path()));
  return rank_of_home(files, roster);
}

Result<RunReport> run_player_blocking(const RecordedProgram& program, const NamedValues& inputs,
                                      const RunOptions& options) {
  BP_ASSIGN(const int rank, rank_of_home(options.home));
  BP_ASSIGN(const auto words, input_words(program, inputs, rank));
  BP_ASSIGN(const Plan plan, plan_of(program));
  const Undertaking what = undertaking(program, plan, options);
  PlayerOptions player_options;
  player_options.home = options.home;
  player_options.listen_descriptor = options.listen_descriptor;
  player_options.peers = options.peers;
  player_options.lane = options.lane;
  player_options.device = options.device;
  player_options.transport = options.transport;
  player_options.task = "run a recorded program";
  player_options.on_notice = options.on_notice;
  BP_ASSIGN(const Roster roster, read_roster_file(Home{options.home}.roster_path()));
  const Result<std::unique_ptr<Player>> player = Player::connect_blocking(what, player_options);
  if (!player.ok()) return in_part(player.error(), "connect", roster.epoch);
  Result<RunReport> report =
      run_connected(program, plan, words, **player, what.network, options.lane);
  const std::uint64_t epoch = (*player)->session().epoch();
  if (!report.ok()) return in_part(std::move(report).error(), "set-up", epoch);
  if (Result<void> done = (*player)->finish_blocking(); !done.ok()) {
    return in_part(std::move(done).error(), "finish", epoch);
  }
  report->bytes_sent = (*player)->transport().stats().sent_bytes;
  return report;
}

}  // namespace beaverpond
