// triple-factory: makes one-time correlated randomness from a plan and fills the players' pools.
#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "offline/factory/profile.h"
#include "offline/factory/program.h"
#include "offline/plan/file.h"

namespace {

std::atomic<bool> stop_requested = false;
static_assert(std::atomic<bool>::is_always_lock_free, "set by a signal handler");

void request_stop(int) {
  stop_requested = true;
}

void add_common(CLI::App& command, beaverpond::FactoryArguments& arguments) {
  command.add_option("--plan", arguments.plan_path, "plan file (beaverpond plan -o x.plan)")
      ->required();
  command.add_option("--roster", arguments.roster_path, "roster of the players")->required();
  command
      .add_option("--pool", arguments.pool_directories,
                  "pool folder; once per player, in the roster's order")
      ->required();
  command.add_option("--lane", arguments.lane, "lane to fill")->capture_default_str();
  command.add_option("--segment-bundles", arguments.segment_bundles,
                     "bundles per file (default: about 64 MiB per player and file)");
  command.add_option("--threads", arguments.threads, "dealing threads (default: one per core)")
      ->check(CLI::Range(1, 1024));
  command
      .add_option("--disk-budget", arguments.disk_budget,
                  "bytes all these pools may take together, as 500M or 20G (default: no limit)")
      ->transform(CLI::AsSizeValue(false));
  command.add_option("--reserve", arguments.disk_reserve, "bytes to leave free on the disk")
      ->transform(CLI::AsSizeValue(false));
  command.add_flag("--json", arguments.json, "progress as lines of JSON");
}

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

int run(int argc, char** argv) {
  using beaverpond::ErrorCode;
  beaverpond::forbid_core_files();
  beaverpond::occupy_standard_descriptors();
  beaverpond::FactoryArguments arguments;
  CLI::App app{
      "Makes bundles of one-time correlated randomness and publishes them to every player's pool.\n"
      "Exit codes: 0 done, 2 bad option or file, 6 damaged pool, 7 pool of another roster,\n"
      "9 out of memory, 10 I/O error, 11 no space, 12 another factory runs, 14 interrupted."};
  app.require_subcommand(1);
  CLI::App* const make = app.add_subcommand("make", "Adds a number of bundles, then ends");
  add_common(*make, arguments);
  make->add_option("--bundles", arguments.bundles, "how many to make")
      ->required()
      ->check(CLI::PositiveNumber);
  CLI::App* const serve = app.add_subcommand("serve", "Keeps the pools filled until SIGTERM");
  add_common(*serve, arguments);
  serve->add_option("--low", arguments.low, "refill when fewer bundles are left")->required();
  serve->add_option("--high", arguments.high, "stop filling at this many bundles")->required();
  beaverpond::ProfileArguments profile_arguments;
  CLI::App* const profile = add_profile(app, profile_arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ErrorCode::kConfig);
  }
  // A reader of the progress lines may go away; the pools must still be filled.
  std::signal(SIGPIPE, SIG_IGN);
  if (profile->parsed()) return exit_code(beaverpond::run_profile(profile_arguments));
  arguments.serve = serve->parsed();
  struct sigaction action {};
  action.sa_handler = request_stop;
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  return exit_code(beaverpond::run_factory(arguments, stop_requested));
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
