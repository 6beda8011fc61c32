// triple-factory: makes one-time correlated randomness from a plan and fills the players' pools.
#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <initializer_list>
#include <new>

#include "kernels/make_backend.h"
#include "offline/factory/pool_commands.h"
#include "offline/factory/profile.h"
#include "offline/factory/program.h"
#include "offline/plan/file.h"
#include "offline/pool/secret_key.h"

namespace {

std::atomic<bool> stop_requested = false;
std::atomic<bool> drain_requested = false;
std::atomic<bool> reload_requested = false;
static_assert(std::atomic<bool>::is_always_lock_free, "set by a signal handler");

void request_stop(int) {
  stop_requested = true;
}

/// The second one does not wait for the segment.
void request_drain(int) {
  if (drain_requested.exchange(true)) stop_requested = true;
}

void request_reload(int) {
  reload_requested = true;
}

/// Flags of make and serve. All go into a configuration with one class.
struct Flags {
  beaverpond::FactoryArguments arguments;
  beaverpond::ClassConfig one;
  std::string status;
};

void add_device(CLI::App& command, std::string& device) {
  command.add_option("--device", device, beaverpond::kDeviceHelp)
      ->check([](const std::string& name) -> std::string {
        const beaverpond::Result<void> known = beaverpond::check_device(name);
        return known.ok() ? "" : known.error().message;
      });
}

void add_devices(CLI::App& command, std::string& devices) {
  command.add_option("--device", devices, beaverpond::kDevicesHelp)
      ->check([](const std::string& names) -> std::string {
        const auto known = beaverpond::split_devices(names);
        return known.ok() ? "" : known.error().message;
      });
}

void add_common(CLI::App& command, Flags& flags) {
  beaverpond::FactoryConfig& config = flags.arguments.config;
  command.add_option("--plan", flags.one.plan_path, "plan file (beaverpond plan -o x.plan)");
  command.add_option("--roster", config.roster_path, "roster of the players");
  command.add_option("--pool", config.pool_directories,
                     "pool folder; once per player, in the roster's order");
  command.add_option("--dealer-key", config.dealer_key_path,
                     "key that signs bundles (default: dealer.pem beside the roster, or in "
                     "../dealer)");
  command.add_option("--lane", flags.one.lane, "lane to fill")->capture_default_str();
  command.add_option("--segment-bundles", flags.one.segment_bundles,
                     "bundles per file (default: about 64 MiB per player and file)");
  add_devices(command, config.device);
  command
      .add_option("--threads", config.threads,
                  "dealing threads (default: one per core, or two for a GPU)")
      ->check(CLI::Range(1, 1024));
  command
      .add_option("--disk-budget", config.disk_budget,
                  "bytes all these pools may take together, as 500M or 20G (default: no limit)")
      ->transform(CLI::AsSizeValue(false));
  command.add_option("--reserve", config.disk_reserve, "bytes to leave free on the disk")
      ->transform(CLI::AsSizeValue(false));
  command.add_flag("--json", flags.arguments.json, "progress as lines of JSON");
}

void add_serve(CLI::App& serve, Flags& flags) {
  add_common(serve, flags);
  beaverpond::Demand& demand = flags.one.demand;
  serve.add_option("--low", demand.low_bundles, "refill when fewer bundles are left");
  serve.add_option("--high", demand.high_bundles, "stop filling at this many bundles");
  serve.add_option("--status", flags.status,
                   "address for metrics, health and the status page, as 127.0.0.1:9470");
  CLI::Option* const config = serve.add_option("--config", flags.arguments.config_path,
                                               "configuration file instead of all other flags");
  for (CLI::Option* const option : serve.get_options()) {
    const std::string name = option->get_name();
    if (name != "--config" && name != "--json" && name != "--help") config->excludes(option);
  }
}

/// CLI11 cannot say "required unless --config", nor check a file and flags alike.
beaverpond::Result<void> finish(Flags& flags, bool serve) {
  using beaverpond::ErrorCode;
  beaverpond::FactoryArguments& arguments = flags.arguments;
  if (!arguments.config_path.empty()) return {};
  const auto missing = [](const char* flag) {
    return beaverpond::make_error(ErrorCode::kConfig, std::string(flag) +
                                                          " is required; `triple-factory --help` "
                                                          "lists the flags");
  };
  if (flags.one.plan_path.empty()) return missing("--plan");
  if (arguments.config.roster_path.empty()) return missing("--roster");
  if (arguments.config.pool_directories.empty()) return missing("--pool");
  if (serve && flags.one.demand.low_bundles == 0) return missing("--low, at least 1,");
  if (serve && flags.one.demand.high_bundles == 0) return missing("--high");
  if (!flags.status.empty()) {
    BP_ASSIGN(arguments.config.status, beaverpond::parse_loopback(flags.status));
  }
  flags.one.name = std::filesystem::path(flags.one.plan_path).stem();
  arguments.config.classes = {flags.one};
  return {};
}

/// The commands that look after pools and keys; `run` runs the one that was given.
struct PoolCommands {
  beaverpond::PoolCommandArguments arguments;
  CLI::App* keygen = nullptr;
  CLI::App* inspect = nullptr;
  CLI::App* verify = nullptr;
  CLI::App* repair = nullptr;
  CLI::App* carry = nullptr;

  explicit PoolCommands(CLI::App& app) {
    keygen = app.add_subcommand("keygen", "Makes the dealer's signing key");
    keygen->add_option("--home", arguments.home, "folder for dealer.pem")->required();
    keygen->add_option("--host", arguments.host,
                       "where players pull from: prints the roster's first lines and no others");
    inspect = app.add_subcommand("inspect", "Prints what segments say about themselves");
    inspect->add_option("files", arguments.files, "segment files")->required();
    verify = app.add_subcommand("verify", "Authenticates every unspent bundle of pools");
    repair = app.add_subcommand("repair", "Burns what verify finds damaged; the engine is stopped");
    for (CLI::App* const command : {verify, repair}) {
      command->add_option("--roster", arguments.roster_path, "roster of the players")->required();
      command->add_option("--pool", arguments.pool_directories, "pool folder; any number")
          ->required();
    }
    carry = app.add_subcommand("export", "Moves what a spool holds for its player to a medium");
    carry->add_option("--spool", arguments.spool, "pool folder that no engine uses")->required();
    carry->add_option("--to", arguments.medium, "folder to carry to the player")->required();
    for (CLI::App* const command : {inspect, verify, repair, carry}) {
      command->add_flag("--json", arguments.json, "lines of JSON");
    }
  }

  bool given() const {
    return keygen->parsed() || inspect->parsed() || verify->parsed() || repair->parsed() ||
           carry->parsed();
  }
  beaverpond::Result<void> run() const {
    if (keygen->parsed()) return run_dealer_keygen(arguments);
    if (inspect->parsed()) return run_inspect(arguments);
    if (verify->parsed()) return run_verify(arguments);
    if (carry->parsed()) return run_export(arguments);
    return run_repair(arguments);
  }
};

CLI::App* add_profile(CLI::App& app, beaverpond::ProfileArguments& arguments) {
  CLI::App* const profile =
      app.add_subcommand("profile", "Times dealing on this machine, in memory, by plan entry");
  profile->add_option("--plan", arguments.plan_path, "plan file (beaverpond plan -o x.plan)")
      ->required();
  profile->add_option("--players", arguments.players, "players to deal for")
      ->check(CLI::Range(2, 64))
      ->capture_default_str();
  profile->add_option("--bundles", arguments.bundles, "bundles to time")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  add_device(*profile, arguments.device);
  profile->add_flag("--full", arguments.full, "a line per plan entry");
  profile->add_flag("--json", arguments.json, "lines of JSON, for beaverpond plan --dealing");
  return profile;
}

int exit_code(beaverpond::Result<void> outcome) {
  if (outcome.ok()) outcome = beaverpond::flush_output();
  if (outcome.ok()) return 0;
  const beaverpond::Error& error = outcome.error();
  std::fprintf(stderr, "triple-factory: %s: %s\n", to_string(error.code), error.message.c_str());
  return static_cast<int>(error.code);
}

template <void (*kHandler)(int)>
void handle(std::initializer_list<int> signals) {
  struct sigaction action {};
  action.sa_handler = kHandler;
  for (const int signal : signals) ::sigaction(signal, &action, nullptr);
}

int run(int argc, char** argv) {
  using beaverpond::ErrorCode;
  beaverpond::forbid_core_files();
  beaverpond::occupy_standard_descriptors();
  Flags flags;
  CLI::App app{
      "Makes bundles of one-time correlated randomness and publishes them to every player's pool,\n"
      "and looks after pools and the dealer's key.\n"
      "Exit codes: 0 done, 2 bad option or file, 6 damaged pool, 7 pool of another roster,\n"
      "9 out of memory, 10 I/O error, 11 no space, 12 another factory runs, 14 interrupted,\n"
      "16 the device failed."};
  app.require_subcommand(1);
  CLI::App* const make = app.add_subcommand("make", "Adds a number of bundles, then ends");
  add_common(*make, flags);
  make->add_option("--bundles", flags.arguments.bundles, "how many to make")
      ->required()
      ->check(CLI::PositiveNumber);
  CLI::App* const serve = app.add_subcommand("serve", "Keeps the pools filled until SIGTERM");
  add_serve(*serve, flags);
  const PoolCommands pool_commands(app);
  beaverpond::ProfileArguments profile_arguments;
  CLI::App* const profile = add_profile(app, profile_arguments);
  CLI::App* const status = app.add_subcommand("status", "What a running factory is doing");
  std::string address = "127.0.0.1:9470";
  bool status_json = false;
  status->add_option("--address", address, "where it listens")->capture_default_str();
  status->add_flag("--json", status_json, "all of it, as JSON");
  beaverpond::PullArguments pull_arguments;
  CLI::App* const pull =
      app.add_subcommand("pull", "A player fetches its segments from the factory until SIGTERM");
  pull->add_option("--home", pull_arguments.home, "the player's key, certificate, roster and pool")
      ->required();
  pull->add_flag("--json", pull_arguments.json, "progress as lines of JSON");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ErrorCode::kConfig);
  }
  // A reader of the progress lines may go away; the pools must still be filled.
  std::signal(SIGPIPE, SIG_IGN);
  if (!beaverpond::key_memory_is_locked()) {
    std::fprintf(stderr,
                 "triple-factory: notice: keys may be swapped to disk, since this user may "
                 "not lock memory; raise ulimit -l\n");
  }
  return exit_code([&]() -> beaverpond::Result<void> {
    if (pool_commands.given()) return pool_commands.run();
    if (profile->parsed()) return beaverpond::run_profile(profile_arguments);
    if (status->parsed()) {
      BP_ASSIGN(const beaverpond::ListenAddress at, beaverpond::parse_loopback(address));
      return beaverpond::run_status(at, status_json);
    }
    const beaverpond::FactorySignals signals{stop_requested, drain_requested, reload_requested};
    if (pull->parsed()) {
      handle<request_stop>({SIGTERM, SIGINT});
      return beaverpond::run_pull(pull_arguments, signals);
    }
    BP_TRY(finish(flags, serve->parsed()));
    if (make->parsed()) {
      handle<request_stop>({SIGTERM, SIGINT});
      return beaverpond::run_make(flags.arguments, signals);
    }
    handle<request_drain>({SIGTERM, SIGINT});
    handle<request_reload>({SIGHUP});
    return beaverpond::run_serve(flags.arguments, signals);
  }());
}

}  // namespace

int main(int argc, char** argv) {
  using beaverpond::ErrorCode;
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr,
                 "triple-factory: out-of-memory: not enough memory; lower --threads or "
                 "--segment-bundles, or give the process more\n");
    return static_cast<int>(ErrorCode::kOutOfMemory);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "triple-factory: io: %s\n", failure.what());
    return static_cast<int>(ErrorCode::kIo);
  }
}
