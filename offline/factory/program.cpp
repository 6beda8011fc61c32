#include "offline/factory/program.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>

#include "kernels/make_backend.h"
#include "offline/dealer/dealer.h"
#include "offline/factory/delivery_server.h"
#include "offline/factory/factory.h"
#include "offline/factory/pull.h"
#include "offline/factory/report.h"
#include "offline/factory/service.h"
#include "offline/factory/status_server.h"
#include "offline/plan/roster.h"
#include "offline/pool/dealer_key.h"
#include "offline/pool/pool.h"
#include "offline/pool/pool_key.h"
#include "offline/pool/posix_storage.h"
#include "offline/pool/roster_identity.h"

namespace beaverpond {
namespace {

void print_line(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

/// One dealer with a backend of its own per thread; a backend serves one thread at a time.
struct DealerTeam {
  Plan plan;
  std::vector<std::unique_ptr<Backend>> backends;
  std::vector<std::unique_ptr<Dealer>> dealers;
  /// Where a device deals: allocates what its corrections are copied into, on the factory's thread.
  std::unique_ptr<Backend> host_memory;
};

/// Two a device: one may deal while the other's corrections are on their way.
int dealing_threads(int wanted, MemoryKind memory) {
  if (wanted > 0) return wanted;
  if (memory == MemoryKind::kDevice) return 2;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// Threads take the devices in turn.
Result<std::shared_ptr<DealerTeam>> make_team(const std::string& plan_path, int players,
                                              const std::vector<std::string>& devices,
                                              int wanted_threads) {
  auto team = std::make_shared<DealerTeam>();
  BP_ASSIGN(team->plan, read_plan_file(plan_path));
  const auto several = static_cast<int>(devices.size());
  for (int i = 0, threads = 1; i < threads; ++i) {
    BP_ASSIGN(MadeBackend made, make_backend(devices[static_cast<std::size_t>(i % several)]));
    threads = dealing_threads(wanted_threads, made.backend->memory());
    if (wanted_threads == 0) threads *= several;
    threads = std::max(threads, several);
    team->backends.push_back(std::move(made.backend));
    BP_ASSIGN(Dealer dealer, Dealer::create(team->plan, players, *team->backends.back()));
    team->dealers.push_back(std::make_unique<Dealer>(std::move(dealer)));
  }
  if (team->backends.front()->memory() == MemoryKind::kDevice) {
    BP_ASSIGN(MadeBackend made, make_backend(devices.front()));
    team->host_memory = std::move(made.backend);
  }
  return team;
}

/// The functions keep the team alive.
Result<FactoryClass> make_class(const ClassConfig& one, int players,
                                const std::vector<std::string>& devices, int threads) {
  BP_ASSIGN(const std::shared_ptr<DealerTeam> team,
            make_team(one.plan_path, players, devices, threads));
  FactoryClass made;
  made.name = one.name;
  made.key.plan = plan_hash(team->plan);
  made.key.lane = one.lane;
  made.prg = team->plan.prg;
  made.correction_size = team->plan.correction_size;
  made.scheme = scheme_of(team->plan.protocol);
  made.segment_bundles = one.segment_bundles;
  for (std::size_t i = 0; i < team->dealers.size(); ++i) {
    made.dealers.push_back(
        [team, i](std::span<const Seed> seeds, int designated, std::span<std::uint8_t> correction) {
          return team->dealers[i]->deal(seeds, designated, correction, kHostStream);
        });
  }
  if (team->host_memory == nullptr) return made;
  made.allocate = [team](std::size_t size) -> Result<BufferCache::Buffer> {
    BP_ASSIGN(Buffer memory, team->host_memory->allocate_host(ByteCount{size}));
    // The team is the owner's too: memory goes before its backend.
    const auto owner = std::make_shared<const std::pair<std::shared_ptr<DealerTeam>, Buffer>>(
        team, std::move(memory));
    return BufferCache::Buffer{owner->second.bytes(), owner};
  };
  return made;
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

/// The dealer's key of a roster: dealer.pem beside it, or in the folder `dealer` beside the folder
/// that holds it, as `beaverpond keygen --all` leaves them. The first, if there is none.
std::string find_dealer_key(const std::string& roster_path) {
  const std::size_t slash = roster_path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : roster_path.substr(0, slash);
  std::error_code ignored;
  for (const char* place : {"/dealer.pem", "/../dealer/dealer.pem"}) {
    if (std::filesystem::exists(folder + place, ignored)) return folder + place;
  }
  return folder + "/dealer.pem";
}

/// Compared with the roster. Errors: kConfig, kRosterMismatch.
Result<DealerKey> read_dealer_key(const std::string& path, const Roster& roster) {
  BP_ASSIGN(DealerKey key, DealerKey::read(path));
  if (key.public_key() == roster.dealer_key) return key;
  return make_error(ErrorCode::kRosterMismatch,
                    "the dealer's key " + path + " has the public half " +
                        to_hex(key.public_key()) + ", but the roster names " +
                        to_hex(roster.dealer_key) +
                        " as dealer_key; give the key that belongs to it, or the right roster");
}

/// Roster, folders and the key that signs, which stay the same while a factory runs.
struct Site {
  Roster roster;
  std::unique_ptr<DealerKey> dealer_key;  // the options point to it
  PoolSetOptions pools;
  int players() const { return static_cast<int>(roster.players.size()); }
};

Result<Site> make_site(const FactoryConfig& config, Storage& storage) {
  Site site;
  BP_ASSIGN(site.roster, read_roster_file(config.roster_path));
  const std::size_t players = site.roster.players.size();
  if (config.delivery.has_value()) {
    BP_TRY(ensure_pool_directory(storage, config.delivery->spool));
    for (std::size_t rank = 0; rank < players; ++rank) {
      site.pools.directories.push_back(config.delivery->spool + "/" + std::to_string(rank));
    }
  } else if (players != config.pool_directories.size()) {
    return make_error(ErrorCode::kConfig,
                      "the roster " + config.roster_path + " has " + std::to_string(players) +
                          " players, but " + std::to_string(config.pool_directories.size()) +
                          " pool folders were given; give --pool once per player, in order");
  }
  BP_TRY(check_distinct(config.pool_directories));
  const std::string key_path =
      config.dealer_key_path.empty() ? find_dealer_key(config.roster_path) : config.dealer_key_path;
  BP_ASSIGN(DealerKey key, read_dealer_key(key_path, site.roster));
  site.dealer_key = std::make_unique<DealerKey>(std::move(key));
  site.pools.dealer_key = site.dealer_key.get();
  for (const RosterPlayer& player : site.roster.players) {
    site.pools.pool_keys.push_back(player.pool_key);
  }
  if (!config.delivery.has_value()) site.pools.directories = config.pool_directories;
  site.pools.pool_id = site.roster.pool_id;
  site.pools.epoch = site.roster.epoch;
  site.pools.roster_hash = roster_hash(site.roster);
  site.pools.storage = &storage;
  return site;
}

Result<ServiceConfig> make_service_config(const FactoryConfig& config,
                                          const std::vector<std::string>& devices, int players) {
  ServiceConfig service;
  service.space = {ByteCount{config.disk_budget}, ByteCount{config.disk_reserve}};
  for (const ClassConfig& one : config.classes) {
    BP_ASSIGN(FactoryClass made, make_class(one, players, devices, config.threads));
    service.classes.push_back({std::move(made), one.demand});
  }
  return service;
}

/// What a reload may not change: locks are held and ports are open.
Result<FactoryConfig> read_again(const std::string& path, const FactoryConfig& running) {
  BP_ASSIGN(FactoryConfig config, read_factory_config(path));
  const bool same = config.roster_path == running.roster_path &&
                    config.dealer_key_path == running.dealer_key_path &&
                    config.pool_directories == running.pool_directories &&
                    config.device == running.device && config.status == running.status &&
                    config.delivery == running.delivery;
  if (same) return config;
  return make_error(ErrorCode::kConfig,
                    path +
                        ": roster, dealer_key, pools, device, delivery and status do not change "
                        "while the factory runs; put them back, or restart it");
}

void print_event(FactoryEvent::Kind kind, std::string reason, bool json) {
  FactoryEvent event;
  event.kind = kind;
  event.reason = std::move(reason);
  print_line(event_line(event, json));
}

/// Says what will deal, and names it without "auto": once chosen, no thread gets anything else.
/// Errors: those of choose_devices().
Result<std::vector<std::string>> choose_dealing(const FactoryConfig& config, bool json) {
  std::string line;
  BP_ASSIGN(std::vector<std::string> devices, choose_devices(config.device, line));
  print_event(FactoryEvent::Kind::kDevice, line, json);
  return devices;
}

/// The players' folders and the server before them.
struct Delivery {
  std::unique_ptr<Spool> spool;
  std::unique_ptr<DeliveryServer> server;

  void add_lanes(const ServiceConfig& config) const {
    if (spool == nullptr) return;
    std::vector<LaneKey> lanes;
    for (const ServiceClass& one : config.classes) lanes.push_back(one.made.key);
    spool->add_lanes(lanes);
  }
};

Result<void> start_delivery(Delivery& delivery, const DeliveryConfig& config, const Site& site,
                            bool json) {
  std::vector<Hash256> players;
  for (const RosterPlayer& player : site.roster.players) players.push_back(player.certificate);
  DeliveryServerOptions options;
  BP_ASSIGN(options.tls, PinnedTls::read(config.home, std::move(players)));
  if (!site.roster.factory.has_value() ||
      site.roster.factory->certificate != options.tls->fingerprint()) {
    return make_error(ErrorCode::kRosterMismatch,
                      "the roster's [factory] section does not name the certificate " +
                          config.home +
                          "/cert.pem; add [factory] with host, port and certificate = "
                          "\"" +
                          to_hex(options.tls->fingerprint()) + "\" to every roster");
  }
  options.host = config.listen.host;
  options.port = config.listen.port;
  options.spool = delivery.spool.get();
  options.on_failure = [json](const std::string& message) {
    print_event(FactoryEvent::Kind::kDelivery, message, json);
  };
  BP_ASSIGN(delivery.server, DeliveryServer::start(std::move(options)));
  print_event(FactoryEvent::Kind::kListening,
              "https://" + config.listen.host + ":" + std::to_string(delivery.server->port()) + "/",
              json);
  return {};
}

}  // namespace

Result<void> run_make(const FactoryArguments& arguments, const FactorySignals& signals) {
  PosixStorage storage;
  const FactoryConfig& config = arguments.config;
  BP_ASSIGN(const Site site, make_site(config, storage));
  BP_ASSIGN(const std::vector<std::string> devices, choose_dealing(config, arguments.json));
  BP_ASSIGN(const FactoryClass made,
            make_class(config.classes.at(0), site.players(), devices, config.threads));
  FactoryOptions options;
  options.pools = site.pools;
  options.key = made.key;
  options.prg = made.prg;
  options.correction_size = made.correction_size;
  options.scheme = made.scheme;
  options.dealers = made.dealers;
  options.allocate = made.allocate;
  options.segment_bundles = made.segment_bundles;
  options.disk_budget.value = config.disk_budget;
  options.disk_reserve.value = config.disk_reserve;
  options.stop = &signals.stop;
  options.on_event = [&](const FactoryEvent& event) {
    print_line(event_line(event, arguments.json));
  };
  BP_ASSIGN(Factory factory, Factory::open(std::move(options)));
  auto outcome = factory.make_blocking(arguments.bundles);
  print_line(totals_line(factory.totals(), arguments.json));
  return outcome;
}

Result<void> run_serve(const FactoryArguments& arguments, const FactorySignals& signals) {
  PosixStorage storage;
  FactoryConfig config = arguments.config;
  if (!arguments.config_path.empty()) {
    BP_ASSIGN(config, read_factory_config(arguments.config_path));
  }
  BP_ASSIGN(const Site site, make_site(config, storage));
  const bool json = arguments.json;
  BP_ASSIGN(const std::vector<std::string> devices, choose_dealing(config, json));
  BP_ASSIGN(ServiceConfig service_config, make_service_config(config, devices, site.players()));
  StatusBoard board;
  Delivery delivery;
  if (config.delivery.has_value()) {
    delivery.spool =
        std::make_unique<Spool>(storage, site.pools.directories, pool_identity(site.roster, 0));
    delivery.add_lanes(service_config);
  }
  ServiceOptions options;
  options.pools = site.pools;
  for (const RosterPlayer& player : site.roster.players) {
    options.player_names.push_back(player.name);
  }
  options.stop = &signals.stop;
  options.drain = &signals.drain;
  options.board = &board;
  options.on_event = [json](const FactoryEvent& event) { print_line(event_line(event, json)); };
  options.reload = [&]() -> std::optional<ServiceConfig> {
    if (!signals.reload.exchange(false)) return std::nullopt;
    if (arguments.config_path.empty()) {
      print_event(FactoryEvent::Kind::kReloaded, "there is no --config to read again", json);
      return std::nullopt;
    }
    auto again = read_again(arguments.config_path, config);
    auto loaded = again.ok() ? make_service_config(*again, devices, site.players())
                             : Result<ServiceConfig>(again.error());
    if (loaded.ok()) {
      delivery.add_lanes(*loaded);
      return std::move(loaded).value();
    }
    print_event(FactoryEvent::Kind::kReloaded,
                "refused, the old one stays: " + loaded.error().message, json);
    return std::nullopt;
  };
  BP_ASSIGN(Service service, Service::open(std::move(options), std::move(service_config)));
  std::unique_ptr<StatusServer> status;
  if (config.status.given()) {
    BP_ASSIGN(status, StatusServer::start(config.status, board));
    print_event(FactoryEvent::Kind::kListening, status->url(), json);
  }
  if (config.delivery.has_value()) {
    BP_TRY(start_delivery(delivery, *config.delivery, site, json));
  }
  auto outcome = service.serve_blocking();
  print_line(totals_line(service.totals(), json));
  return outcome;
}

Result<void> run_pull(const PullArguments& arguments, const FactorySignals& signals) {
  PosixStorage storage;
  const std::string roster_path = arguments.home + "/roster.toml";
  BP_ASSIGN(const Roster roster, read_roster_file(roster_path));
  if (!roster.factory.has_value()) {
    return make_error(ErrorCode::kConfig,
                      roster_path +
                          " has no [factory] section; add one with the factory's host, "
                          "port and certificate");
  }
  PullOptions options;
  BP_ASSIGN(options.tls, PinnedTls::read(arguments.home, {roster.factory->certificate}));
  const auto self = std::find_if(
      roster.players.begin(), roster.players.end(),
      [&](const RosterPlayer& player) { return player.certificate == options.tls->fingerprint(); });
  if (self == roster.players.end()) {
    return make_error(ErrorCode::kRosterMismatch,
                      "the certificate " + arguments.home + "/cert.pem is of no player in " +
                          roster_path + "; start with the home of a player");
  }
  const auto rank = static_cast<int>(self - roster.players.begin());
  const PoolIdentity identity = pool_identity(roster, rank);
  const std::string pool = arguments.home + "/pool";
  options.host = roster.factory->host;
  options.port = roster.factory->port;
  options.stop = &signals.stop;
  options.incoming.storage = &storage;
  options.incoming.pool_directory = pool;
  options.incoming.identity = identity;
  PoolOptions own;
  own.directory = pool;
  own.storage = &storage;
  own.pool_key = self->pool_key;
  BP_ASSIGN(const PoolKey key, read_roster_key(own));
  const SegmentAccess access{roster.dealer_key, &key, nullptr};
  options.incoming.check = [&](const std::string& file, const LaneRange& what) {
    return check_segment(storage, identity, access, file, what);
  };
  options.incoming.place = [&](const std::string& file, const LaneRange& what) {
    return place_segment(storage, pool, file, what);
  };
  options.on_event = [&](const PullEvent& event) { print_line(pull_line(event, arguments.json)); };
  BP_ASSIGN(Puller puller, Puller::open(std::move(options)));
  return puller.run_blocking();
}

Result<void> run_status(const ListenAddress& address, bool json) {
  BP_ASSIGN(const std::string document, fetch_blocking(address, "/status.json"));
  BP_ASSIGN(std::string text, status_text(document));
  if (json) text = document + "\n";
  std::fputs(text.c_str(), stdout);
  return {};
}

}  // namespace beaverpond
