#include "tests/online/session/sim/world.h"

#include <algorithm>
#include <tuple>

#include "offline/pool/ledger.h"

namespace beaverpond::testing {
namespace {

constexpr std::uint64_t kSegmentBundles = 12;
constexpr std::uint64_t kNever = ~std::uint64_t{0};

}  // namespace

void WorldStats::add(const WorldStats& other) {
  const auto fields = [](WorldStats& s) {
    return std::array{&s.cycles,      &s.power_losses, &s.kills,    &s.rollbacks, &s.rots,
                      &s.disk_errors, &s.cuts,         &s.refusals, &s.leases,    &s.spent,
                      &s.reused,      &s.unreadable,   &s.wrong,    &s.stuck};
  };
  WorldStats copy = other;
  const auto mine = fields(*this);
  const auto theirs = fields(copy);
  for (std::size_t i = 0; i < mine.size(); ++i) *mine[i] += *theirs[i];
  if (first_problem.empty()) first_problem = other.first_problem;
}

World::World(const WorldOptions& options) : options_(options), fibers_(options.seed) {
  const auto players = static_cast<std::size_t>(options.players);
  const auto lane = static_cast<std::uint32_t>(random(2 * players));
  for (int i = 0; i < options.classes; ++i) {
    TestSite site;
    site.storage = &disk_;
    site.players = options.players;
    site.correction_size = 64;
    site.key.lane = lane;
    if (i > 0) site.key.plan.fill(0x77);
    sites_.push_back(site);
  }
  sites_[0].make_machines();
  processes_.resize(players + 1);
  storages_.resize(players);
  made_.resize(sites_.size());
  known_.resize(players);
  snapshots_.resize(players);
  rotted_.resize(players);
}

WorldStats World::run() {
  for (int i = 0; i < options_.cycles && stats_.problems() == 0; ++i) cycle(false);
  // The second in peace has a factory's segment even if the first had to repair something.
  for (int i = 0; i < 3; ++i) {
    served_ = 0;
    cycle(true);
    if (served_ == static_cast<std::size_t>(options_.players)) return stats_;
  }
  problem(stats_.stuck, "left in peace, the players do not get a lease: " + last_error_);
  return stats_;
}

void World::problem(std::uint64_t& counter, const std::string& what) {
  ++counter;
  if (!stats_.first_problem.empty()) return;
  stats_.first_problem = what + " (" + std::to_string(options_.players) + " players, seed " +
                         std::to_string(options_.seed) + ", cycle " +
                         std::to_string(stats_.cycles) + ")";
}

void World::cycle(bool in_peace) {
  ++stats_.cycles;
  choose_live(in_peace);
  for (Process& process : processes_) process = {};
  events_ = 0;
  all_crash_at_ = kNever;
  refuse_rollback_ = !in_peace && options_.faults && chance(10);
  if (!in_peace) plan_crashes();
  SimNetwork network(fibers_, static_cast<int>(live_.size()));
  if (!in_peace && options_.faults) plan_faults();
  if (!in_peace && options_.faults && live_.size() > 1 && chance(5)) {
    const int from = static_cast<int>(random(live_.size()));
    const int to = (from + 1) % static_cast<int>(live_.size());
    network.cut(from, to);
    if (chance(50)) network.cut(to, from);
    ++stats_.cuts;
  }
  std::vector<std::function<void()>> bodies;
  for (std::size_t rank = 0; rank < live_.size(); ++rank) {
    bodies.emplace_back(
        [this, &network, rank] { player_main(live_[rank], network, static_cast<int>(rank)); });
  }
  bodies.emplace_back([this] { factory_main(); });
  fibers_.run(std::move(bodies));
  if (in_peace) usual_events_ = std::max<std::uint64_t>(usual_events_, events_);
  after_cycle();
  if (!in_peace && options_.faults && stats_.cycles > 2) damage();
}

void World::choose_live(bool in_peace) {
  live_.clear();
  const int owner = lane_owner(key(0).lane, options_.players);
  const bool subset = options_.subsets && !in_peace && chance(40);
  for (int player = 0; player < options_.players; ++player) {
    if (!subset || player == owner || chance(50)) live_.push_back(player);
  }
  // Someone must remember all that was spent: a live set without such a player cannot know.
  const bool somebody_knows = std::any_of(live_.begin(), live_.end(), [this](int player) {
    return known_[static_cast<std::size_t>(player)] >= spent_below_;
  });
  if (live_.size() < 2 || !somebody_knows) {
    live_.clear();
    for (int player = 0; player < options_.players; ++player) live_.push_back(player);
  }
}

void World::plan_crashes() {
  if (options_.all_lose_power || chance(45)) {
    all_crash_at_ = random(usual_events_ + usual_events_ / 4);
    return;
  }
  for (const int player : live_) {
    if (!chance(60)) continue;
    Process& process = processes_[static_cast<std::size_t>(player)];
    process.power = chance(60);
    process.crash_at = random(usual_events_ / live_.size());
  }
  Process& factory = processes_.back();
  if (chance(30)) factory.crash_at = random(60);
}

void World::plan_faults() {
  if (!chance(15)) return;
  const std::string target = machine(live_[random(live_.size())]);
  ++stats_.disk_errors;
  switch (random(3)) {
    case 0: return disk_.fail_sync(target, random(20));
    case 1: return disk_.refuse_write(target, random(20));
    default: return disk_.fail_read(target, random(30));
  }
}

bool World::point(int process) {
  Process& self = processes_[static_cast<std::size_t>(process)];
  if (!self.alive) return false;
  ++events_;
  const bool all_claim = options_.lose_power_in_claims && all_crash_at_ != kNever &&
                         std::all_of(live_.begin(), live_.end(), [this](int player) {
                           const SimStorage* storage = storages_[static_cast<std::size_t>(player)];
                           return storage != nullptr && storage->is_writing_ledger();
                         });
  if (events_ > all_crash_at_ || (all_claim && chance(20))) {
    for (Process& one : processes_) {
      one.alive = false;
      one.power = true;
    }
    return false;
  }
  if (++self.events > self.crash_at) {
    self.alive = false;
    // Whatever else writes to that machine cannot any more either.
    if (self.power) disk_.stop_after(machine(process), 0);
    return false;
  }
  if (fibers_.random() % 4 == 0) fibers_.yield();
  return self.alive;
}

void World::player_main(int player, SimNetwork& network, int rank) {
  const auto alive = [this, player] { return point(player); };
  SimStorage storage(disk_, alive, options_.mutant);
  storages_[static_cast<std::size_t>(player)] = &storage;
  {
    PoolOptions pool_options = sites_[0].pool_options(player);
    pool_options.storage = &storage;
    const std::unique_ptr<Transport> transport = network.connect(rank, alive);
    auto pool = Pool::open(pool_options);
    Result<void> done = pool.ok() ? use(player, *pool, *transport) : pool.error();
    if (!done.ok()) judge_error(player, done.error());
  }
  storages_[static_cast<std::size_t>(player)] = nullptr;
  const Process& self = processes_[static_cast<std::size_t>(player)];
  network.close(rank, !self.alive && self.power);
}

Result<void> World::use(int player, Pool& pool, Transport& transport) {
  const Deadline now = std::chrono::steady_clock::now();
  BP_ASSIGN(const Session session,
            Session::create_blocking(transport, now, [this](std::span<std::uint8_t> bytes) {
              for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(fibers_.random());
              return Result<void>();
            }));
  LeaseOptions options;
  options.key = key(0);
  if (options_.classes > 1) options.more = {{key(1).plan, 2}};
  options.live = live_;
  options.on_rollback = refuse_rollback_ ? OnRollback::kRefuse : OnRollback::kBurn;
  options.max_bundles = 1 + random(3);
  LeaseAgreement agreement(pool, transport, session, options);
  for (std::uint64_t step = 0; step < 2; ++step) {
    BP_ASSIGN(std::vector<Lease> leases, agreement.acquire_all_blocking(step, 100, now));
    ++stats_.leases;
    if (step == 0) ++served_;
    for (const Lease& lease : leases) {
      // One number for all classes: they advance together, the second by twice as much.
      spent_below_ = std::max(spent_below_, lease.end());
    }
    for (int i = 0; i < options_.classes; ++i) {
      BP_TRY(spend(player, session, i, leases[static_cast<std::size_t>(i)]));
    }
    known_[static_cast<std::size_t>(player)] = spent_below_;
    Tag opening{session.id(), step, options.key.lane, 1};
    BP_TRY(transport.all_gather_messages_blocking({}, opening, now));
  }
  return {};
}

Result<void> World::spend(int player, const Session& session, int of_class, Lease& lease) {
  const auto index = static_cast<std::size_t>(of_class);
  while (lease.remaining() > 0) {
    BP_ASSIGN(const Bundle bundle, lease.next());
    const std::uint64_t number = bundle.number();
    const std::pair place(of_class, number);
    const auto [at, fresh] = session_of_.emplace(place, session.id());
    if (fresh) ++stats_.spent;
    if (at->second != session.id() || !handed_.emplace(player, of_class, number).second) {
      problem(stats_.reused, "bundle " + std::to_string(number) + " was handed out twice");
    }
    // Which segment it is of: all players must have taken the same.
    const auto made = std::find_if(made_[index].begin(), made_[index].end(), [&](const Made& m) {
      return m.first <= number && number < m.first + m.count &&
             same_seed(bundle.seed(), test_seed(m.tag + 1000000 * index, player, number));
    });
    if (made == made_[index].end()) {
      problem(stats_.wrong, "bundle " + std::to_string(number) + " has no known content");
      continue;
    }
    const auto [tag, first] = tag_of_.emplace(place, made->tag);
    if (!first && tag->second != made->tag) {
      problem(stats_.wrong, "bundle " + std::to_string(number) + " is of different segments");
    }
  }
  return {};
}

void World::factory_main() {
  const int process = options_.players;
  SimStorage storage(disk_, [this, process] { return point(process); });
  const auto made = produce(storage);
  if (made.ok()) return;
  const ErrorCode code = made.error().code;
  last_error_ = "factory: " + made.error().message;
  if (code == ErrorCode::kIo || code == ErrorCode::kNoSpace) return;
  for (int player = 0; player < options_.players; ++player) repair(player);
}

Result<void> World::produce(SimStorage& storage) {
  for (int i = 0; i < options_.classes; ++i) {
    const auto index = static_cast<std::size_t>(i);
    TestSite site = sites_[index];
    site.storage = &storage;
    BP_ASSIGN(PoolSet pools, PoolSet::open(site.set_options()));
    BP_TRY(pools.clean(site.key));
    BP_ASSIGN(const LaneSurvey survey, pools.survey(site.key));
    if (survey.level_bundles >= 8) continue;
    const Made made{next_tag_++, survey.next_number, kSegmentBundles};
    made_[index].push_back(made);
    BP_TRY(site.publish(pools, made.first, made.count, made.tag + 1000000 * index));
  }
  return {};
}

void World::after_cycle() {
  for (int player = 0; player < options_.players; ++player) {
    const Process& process = processes_[static_cast<std::size_t>(player)];
    if (process.alive) {
      disk_.restart(machine(player));
    } else if (!process.power) {
      ++stats_.kills;
      disk_.restart(machine(player));
    } else {
      ++stats_.power_losses;
      constexpr Loss kLosses[] = {Loss::kDropAll, Loss::kTornSectors, Loss::kReordered};
      const Loss loss = options_.torn_words ? Loss::kTornWords : kLosses[random(3)];
      disk_.crash(machine(player), loss, fibers_.random());
    }
  }
  const Process& factory = processes_.back();
  if (!factory.alive && !factory.power) ++stats_.kills;
}

bool World::may_damage(int player) const {
  // If all forget, nobody is left who knows: that is what membership epochs are for.
  for (int other = 0; other < options_.players; ++other) {
    if (other != player && known_[static_cast<std::size_t>(other)] >= spent_below_) return true;
  }
  return false;
}

void World::damage() {
  const int player = static_cast<int>(random(static_cast<std::uint64_t>(options_.players)));
  MemoryDisk::Snapshot& snapshot = snapshots_[static_cast<std::size_t>(player)];
  if (snapshot.empty() || chance(5)) snapshot = disk_.save(machine(player));
  if (!may_damage(player)) return;
  if (chance(6)) {
    disk_.restore(machine(player), snapshot);
    known_[static_cast<std::size_t>(player)] = 0;
    damaged_ = true;
    ++stats_.rollbacks;
  } else if (chance(6)) {
    rot_something(player);
  }
}

void World::rot_something(int player) {
  std::vector<std::string> files;
  for (const std::string& path : disk_.files(machine(player))) {
    if (path.ends_with(".seg") || path.ends_with("/ledger")) files.push_back(path);
  }
  if (files.empty()) return;
  const std::string& path = files[random(files.size())];
  const std::size_t size = disk_.content(path).size();
  if (size == 0) return;
  // Half the time where there is something: most of a block is zeros, which its hash covers too.
  const std::size_t at = chance(50) ? random(std::min<std::size_t>(size, 200)) : random(size);
  disk_.rot(path, at, static_cast<int>(random(8)));
  rotted_[static_cast<std::size_t>(player)].insert(path);
  if (path.ends_with("/ledger")) {
    known_[static_cast<std::size_t>(player)] = 0;
    damaged_ = true;
  }
  ++stats_.rots;
}

void World::judge_error(int player, const Error& error) {
  last_error_ = "player " + std::to_string(player) + ": " + error.message;
  switch (error.code) {
    case ErrorCode::kIo:
    case ErrorCode::kNoSpace:
    case ErrorCode::kPeerLost:
    case ErrorCode::kTimeout:
    case ErrorCode::kPoolDry: return;
    case ErrorCode::kPoolRolledBack:
      ++stats_.refusals;
      if (!damaged_) problem(stats_.wrong, "a rollback that was none: " + error.message);
      return;
    case ErrorCode::kPoolCorrupt:
      if (rotted_[static_cast<std::size_t>(player)].empty()) {
        problem(stats_.unreadable, error.message);
      }
      return repair(player);
    default: problem(stats_.unreadable, error.message);
  }
}

/// What an operator does after kPoolCorrupt: removes the files that the message names.
void World::repair(int player) {
  std::set<std::string>& rotted = rotted_[static_cast<std::size_t>(player)];
  for (const std::string& path : rotted) {
    const std::string folder = path.substr(0, path.rfind('/'));
    if (!path.ends_with("/ledger") && disk_.exists(path).value()) (void)disk_.unlink(path);
    for (const TestSite& site : sites_) {
      if (lane_directory(site.directory(player), site.key) != folder) continue;
      const auto seen =
          Ledger::peek(disk_, folder, test_identity(player, options_.players), site.key);
      if (seen.ok() || seen.error().code != ErrorCode::kPoolCorrupt) continue;
      (void)disk_.unlink(folder + "/ledger");
      known_[static_cast<std::size_t>(player)] = 0;
      damaged_ = true;
    }
    (void)disk_.sync_directory(folder);
  }
}

}  // namespace beaverpond::testing
