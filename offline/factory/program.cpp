#include "offline/factory/program.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <thread>

#include "kernels/backend.h"
#include "offline/dealer/dealer.h"
#include "offline/factory/factory.h"
#include "offline/factory/json_text.h"
#include "offline/plan/roster.h"
#include "offline/pool/posix_storage.h"

namespace beaverpond {
namespace {

void print_line(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

void report(const FactoryEvent& event, bool json) {
  const std::string level = number(event.level_bundles);
  switch (event.kind) {
    case FactoryEvent::Kind::kSegment:
      print_line(json ? R"({"factory":"segment","first":)" + number(event.range.first) +
                            ",\"count\":" + number(event.range.count) + ",\"level\":" + level +
                            ",\"bytes\":" + number(event.bytes) + "}"
                      : "published " + event.range.str() + ", " + number(event.bytes) +
                            " bytes; each pool now has " + level + " bundles");
      break;
    case FactoryEvent::Kind::kPaused:
      print_line(json ? R"({"factory":"paused","level":)" + level +
                            ",\"reason\":" + json_string(event.reason) + "}"
                      : "paused at " + level + " bundles: " + event.reason);
      break;
    case FactoryEvent::Kind::kFull:
      print_line(json ? R"({"factory":"full","level":)" + level + "}"
                      : "full: each pool has " + level + " bundles");
      break;
  }
}

void report_totals(const FactoryTotals& totals, bool json) {
  char seconds[32];
  std::snprintf(seconds, sizeof(seconds), "%.3f", totals.cpu_seconds);
  print_line(json ? R"({"factory":"done","bundles":)" + number(totals.bundles) +
                        ",\"cpu_seconds\":" + seconds + ",\"bytes\":" + number(totals.bytes) + "}"
                  : "made " + number(totals.bundles) + " bundles in " + seconds + " CPU seconds, " +
                        number(totals.bytes) + " bytes");
}

/// One dealer with a backend of its own per thread; a backend serves one thread at a time.
struct DealerTeam {
  std::vector<std::unique_ptr<Backend>> backends;
  std::vector<std::unique_ptr<Dealer>> dealers;
  std::vector<DealFunction> functions;
};

Result<DealerTeam> make_team(const Plan& plan, int players, int threads) {
  if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
  DealerTeam team;
  for (int i = 0; i < std::max(1, threads); ++i) {
    team.backends.push_back(make_cpu_backend());
    BP_ASSIGN(Dealer dealer, Dealer::create(plan, players, *team.backends.back()));
    team.dealers.push_back(std::make_unique<Dealer>(std::move(dealer)));
    team.functions.push_back(
        [dealing = team.dealers.back().get()](std::span<const Seed> seeds, int designated,
                                              std::span<std::uint8_t> correction) {
          dealing->deal(seeds, designated, correction, kHostStream);
        });
  }
  return team;
}

/// Two names of one folder would otherwise look like a second factory that holds its lock.
Result<void> check_distinct(const std::vector<std::string>& directories) {
  std::vector<std::filesystem::path> seen;
  for (const std::string& directory : directories) {
    std::error_code ignored;
    std::filesystem::path path = std::filesystem::weakly_canonical(directory + "/", ignored);
    if (path.empty()) path = directory;
    if (std::find(seen.begin(), seen.end(), path) != seen.end()) {
      return make_error(ErrorCode::kConfig,
                        "the pool folder " + directory +
                            " is given twice; every player has one of its own: give --pool once "
                            "per player, in the roster's order");
    }
    seen.push_back(std::move(path));
  }
  return {};
}

}  // namespace

std::string find_dealer_key(const std::string& roster_path) {
  const std::size_t slash = roster_path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : roster_path.substr(0, slash);
  std::error_code ignored;
  for (const char* place : {"/dealer.pem", "/../dealer/dealer.pem"}) {
    if (std::filesystem::exists(folder + place, ignored)) return folder + place;
  }
  return folder + "/dealer.pem";
}

Result<DealerKey> read_dealer_key(const std::string& path, const Roster& roster) {
  BP_ASSIGN(DealerKey key, DealerKey::read(path));
  if (key.public_key() == roster.dealer_key) return key;
  return make_error(ErrorCode::kRosterMismatch,
                    "the dealer's key " + path + " has the public half " +
                        to_hex(key.public_key()) + ", but the roster names " +
                        to_hex(roster.dealer_key) +
                        " as dealer_key; give the key that belongs to it, or the right roster");
}

Result<void> run_factory(const FactoryArguments& arguments, const std::atomic<bool>& stop) {
  BP_ASSIGN(const Plan plan, read_plan_file(arguments.plan_path));
  BP_ASSIGN(const Roster roster, read_roster_file(arguments.roster_path));
  if (roster.players.size() != arguments.pool_directories.size()) {
    return make_error(ErrorCode::kConfig,
                      "the roster " + arguments.roster_path + " has " +
                          number(roster.players.size()) + " players, but " +
                          number(arguments.pool_directories.size()) +
                          " pool folders were given; give --pool once per player, in order");
  }
  BP_TRY(check_distinct(arguments.pool_directories));
  BP_ASSIGN(const DealerKey dealer_key, read_dealer_key(arguments.dealer_key_path.empty()
                                                            ? find_dealer_key(arguments.roster_path)
                                                            : arguments.dealer_key_path,
                                                        roster));
  BP_ASSIGN(const DealerTeam team,
            make_team(plan, static_cast<int>(roster.players.size()), arguments.threads));
  PosixStorage storage;
  FactoryOptions options;
  options.pools.directories = arguments.pool_directories;
  options.pools.pool_id = roster.pool_id;
  options.pools.epoch = roster.epoch;
  options.pools.roster_hash = roster_hash(roster);
  options.pools.storage = &storage;
  options.pools.dealer_key = &dealer_key;
  for (const RosterPlayer& player : roster.players) {
    options.pools.pool_keys.push_back(player.pool_key);
  }
  options.key.plan = plan_hash(plan);
  options.key.lane = arguments.lane;
  options.prg = plan.prg;
  options.correction_size = plan.correction_size;
  options.dealers = team.functions;
  options.segment_bundles = arguments.segment_bundles;
  options.disk_budget.value = arguments.disk_budget;
  options.disk_reserve.value = arguments.disk_reserve;
  options.stop = &stop;
  options.on_event = [json = arguments.json](const FactoryEvent& event) { report(event, json); };
  BP_ASSIGN(Factory factory, Factory::open(std::move(options)));
  auto outcome = arguments.serve ? factory.serve_blocking(arguments.low, arguments.high)
                                 : factory.make_blocking(arguments.bundles);
  report_totals(factory.totals(), arguments.json);
  return outcome;
}

}  // namespace beaverpond
