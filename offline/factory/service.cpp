#include "offline/factory/service.h"

#include <algorithm>
#include <set>
#include <thread>

#include "offline/factory/service_state.h"

namespace beaverpond {
namespace {

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

bool is_set(const std::atomic<bool>* flag) {
  return flag != nullptr && flag->load();
}

}  // namespace

struct Service::State {
  State(ServiceOptions given, PoolSet opened)
      : options(std::move(given)), pools(std::move(opened)) {}

  ServiceOptions options;
  PoolSet pools;
  SpaceLimits space;
  std::vector<std::unique_ptr<RunningClass>> classes;
  FactoryTotals totals;
  double cpu_at_start = factory_cpu_seconds();
  double started = unix_seconds();
  std::string paused_for;  // empty: not paused
  std::optional<SteadyTime> posted;
  bool draining = false;

  Result<void> apply(ServiceConfig config);
  Result<void> check_budget(const std::vector<std::unique_ptr<RunningClass>>& wanted,
                            const SpaceLimits& limits) const;
  Result<std::unique_ptr<RunningClass>> start_class(ServiceClass wanted);
  void reload_if_asked();
  bool ended();
  Result<void> survey();
  Result<void> turn();
  Result<void> fill(RunningClass& running);
  std::uint64_t bundles_after(RunningClass& running, std::uint64_t count);
  Result<void> make(RunningClass& running, std::uint64_t count);
  void pause(const RunningClass& running, const std::string& reason);
  void emit(FactoryEvent::Kind kind, const RunningClass* running, std::string reason = "");
  Result<void> post(bool now);
  void sleep() const;
};

Service::Service(std::unique_ptr<State> state) : state_(std::move(state)) {}
Service::Service(Service&&) noexcept = default;
Service::~Service() = default;

Result<Service> Service::open(ServiceOptions options, ServiceConfig config) {
  BP_ASSIGN(PoolSet pools, PoolSet::open(options.pools));
  auto state = std::make_unique<State>(std::move(options), std::move(pools));
  BP_TRY(state->apply(std::move(config)));
  return Service(std::move(state));
}

Result<void> Service::serve_blocking() {
  State& state = *state_;
  while (!state.ended()) {
    state.reload_if_asked();
    BP_TRY(state.turn());
  }
  BP_TRY(state.survey());
  return state.post(true);
}

FactoryTotals Service::totals() const {
  FactoryTotals totals = state_->totals;
  totals.cpu_seconds = factory_cpu_seconds() - state_->cpu_at_start;
  return totals;
}

/// All or nothing: after an error the old classes go on.
Result<void> Service::State::apply(ServiceConfig config) {
  if (config.classes.empty()) {
    return make_error(ErrorCode::kConfig, "there is no class to make; add a [[class]] section");
  }
  std::vector<std::unique_ptr<RunningClass>> wanted;
  std::set<LaneKey> lanes;
  std::set<std::string> names;
  for (ServiceClass& one : config.classes) {
    if (!lanes.insert(one.made.key).second || !names.insert(one.made.name).second) {
      return make_error(ErrorCode::kConfig,
                        "class '" + one.made.name +
                            "' has the name, or the plan and lane, of another one; give each "
                            "its own");
    }
    BP_ASSIGN(auto running, start_class(std::move(one)));
    wanted.push_back(std::move(running));
  }
  BP_TRY(check_budget(wanted, config.space));
  for (auto& fresh : wanted) {  // a class that goes on keeps its counts and its rate
    for (auto& old : classes) {
      if (old == nullptr || old->maker.made().key != fresh->maker.made().key) continue;
      old->maker = std::move(fresh->maker);
      old->demand = fresh->demand;
      fresh = std::move(old);
      break;
    }
  }
  classes = std::move(wanted);
  space = config.space;
  return {};
}

Result<std::unique_ptr<RunningClass>> Service::State::start_class(ServiceClass wanted) {
  const Demand demand = wanted.demand;
  const std::string field = "class '" + wanted.made.name + "': ";
  const LaneKey key = wanted.made.key;
  const bool known = std::any_of(classes.begin(), classes.end(), [&key](const auto& running) {
    return running->maker.made().key == key;
  });
  BP_ASSIGN(SegmentMaker maker,
            SegmentMaker::create(pools, std::move(wanted.made), options.entropy));
  const bool bundles = demand.low_bundles >= 1 && demand.high_bundles >= demand.low_bundles;
  const bool seconds = demand.low_seconds > 0 && demand.high_seconds >= demand.low_seconds;
  if (demand.high_bundles < demand.low_bundles || demand.high_seconds < demand.low_seconds ||
      (!bundles && !seconds)) {
    return make_error(ErrorCode::kConfig,
                      field +
                          "the marks must satisfy 1 <= low <= high, in bundles or in seconds; "
                          "check --low and --high, or low_* and high_*");
  }
  BP_TRY(maker.check_count(marks_of(demand, 0).high, field + "the high mark (--high)"));
  if (!known) BP_TRY(pools.clean(key));
  return std::make_unique<RunningClass>(std::move(maker), demand);
}

Result<void> Service::State::check_budget(const std::vector<std::unique_ptr<RunningClass>>& wanted,
                                          const SpaceLimits& limits) const {
  if (limits.budget.value == 0) return {};
  std::uint64_t needed = 0;
  for (const auto& running : wanted) {
    needed += running->maker.bytes_of(marks_of(running->demand, 0).low);
  }
  if (needed <= limits.budget.value) return {};
  return make_error(ErrorCode::kNoSpace, "the low marks need " + std::to_string(needed) +
                                             " bytes, more than the disk budget of " +
                                             std::to_string(limits.budget.value) +
                                             "; raise the disk budget or lower the low marks");
}

void Service::State::reload_if_asked() {
  if (!options.reload) return;
  std::optional<ServiceConfig> config = options.reload();
  if (!config.has_value()) return;
  const auto applied = apply(std::move(*config));
  emit(FactoryEvent::Kind::kReloaded, nullptr,
       applied.ok() ? "the configuration was read again"
                    : "refused, the old one stays: " + applied.error().message);
}

bool Service::State::ended() {
  if (is_set(options.stop)) return true;
  if (!is_set(options.drain)) return false;
  if (!draining) emit(FactoryEvent::Kind::kDraining, nullptr);
  draining = true;
  return true;
}

Result<void> Service::State::survey() {
  for (const auto& running : classes) {
    BP_ASSIGN(LaneSurvey seen, pools.survey(running->maker.made().key));
    if (running->observe(options.now(), std::move(seen))) {
      emit(FactoryEvent::Kind::kFull, running.get());
    }
  }
  return {};
}

/// Surveys all classes, then makes one segment or waits a little.
Result<void> Service::State::turn() {
  BP_TRY(survey());
  std::vector<ClassLevel> levels;
  for (const auto& running : classes) levels.push_back(running->level());
  const std::optional<std::size_t> next = earliest_deadline(levels);
  if (!next.has_value()) paused_for.clear();
  BP_TRY(post(false));
  // What was dealt ahead for a class is of use where that goes on, and memory is for one at a time.
  for (std::size_t i = 0; i < classes.size(); ++i) {
    if (i != next) classes[i]->maker.rest_blocking();
  }
  if (!next.has_value()) {
    sleep();
    return {};
  }
  RunningClass& running = *classes[*next];
  auto filled = fill(running);
  if (filled.ok() || filled.error().code == ErrorCode::kCancelled) return {};
  if (filled.error().code != ErrorCode::kNoSpace) return filled;
  pause(running, filled.error().message);
  return {};
}

/// Publishes one segment, a smaller one where there is no room for a whole one, or waits. The
/// other classes wait too: what they took would be missing here.
Result<void> Service::State::fill(RunningClass& running) {
  const std::uint64_t level = running.survey.level_bundles;
  // Before the disk is looked at: what is written meanwhile then counts twice, not never.
  BP_ASSIGN(const std::uint64_t ahead, running.maker.bytes_ahead());
  std::string missing;
  for (std::uint64_t count =
           std::min(running.maker.made().segment_bundles, running.marks.high - level);
       count > 0; count /= 2) {
    const std::uint64_t bytes = running.maker.bytes_of(count);
    BP_ASSIGN(missing, shortage(pools, space, bytes - std::min(bytes, ahead)));
    if (missing.empty()) return make(running, count);
  }
  running.maker.rest_blocking();
  pause(running, missing);
  return {};
}

/// Of the segment that this class goes on with after one of `count`; 0 where it is full then,
/// another class may come first, or there is no room for both.
std::uint64_t Service::State::bundles_after(RunningClass& running, std::uint64_t count) {
  const auto filling = std::count_if(classes.begin(), classes.end(),
                                     [](const auto& one) { return one->level().filling; });
  const std::uint64_t level = running.survey.level_bundles + count;
  if (filling > 1 || level >= running.marks.high || is_set(options.drain)) return 0;
  const std::uint64_t next =
      std::min(running.maker.made().segment_bundles, running.marks.high - level);
  const Result<std::uint64_t> ahead = running.maker.bytes_ahead();
  if (!ahead.ok()) return 0;
  const std::uint64_t both = running.maker.bytes_of(count) + running.maker.bytes_of(next);
  const Result<std::string> missing = shortage(pools, space, both - std::min(both, *ahead));
  return missing.ok() && missing->empty() ? next : 0;
}

Result<void> Service::State::make(RunningClass& running, std::uint64_t count) {
  const auto made = running.maker.make_blocking(count, bundles_after(running, count), options.stop);
  if (!made.ok()) {
    running.discarded += count;
    emit(FactoryEvent::Kind::kDropped, &running, made.error().message);
    return made.error();
  }
  if (!paused_for.empty()) emit(FactoryEvent::Kind::kResumed, &running);
  paused_for.clear();
  running.produced += count;
  running.bytes += made->bytes;
  running.generation_seconds += made->generation_seconds;
  running.sync_seconds += made->sync_seconds;
  totals.bundles += count;
  totals.bytes += made->bytes;
  if (!options.on_event) return {};
  FactoryEvent event;
  event.name = running.name();
  event.segment = *made;
  event.level_bundles = made->level_bundles;
  options.on_event(event);
  return {};
}

void Service::State::pause(const RunningClass& running, const std::string& reason) {
  const bool news = paused_for.empty();
  paused_for = reason;
  if (news) emit(FactoryEvent::Kind::kPaused, &running, reason);
  sleep();
}

void Service::State::emit(FactoryEvent::Kind kind, const RunningClass* running,
                          std::string reason) {
  posted.reset();  // whoever hears of this finds it in the status soon
  if (!options.on_event) return;
  FactoryEvent event;
  event.kind = kind;
  if (running != nullptr) {
    event.name = running->name();
    event.level_bundles = running->survey.level_bundles;
  }
  event.reason = std::move(reason);
  options.on_event(event);
}

/// The folders are listed for the bytes; a few times a second is enough.
Result<void> Service::State::post(bool now) {
  const SteadyTime time = options.now();
  if (options.board == nullptr) return {};
  options.board->beat();
  constexpr std::chrono::milliseconds kSpacing{250};
  if (!now && posted.has_value() && time - *posted < kSpacing) return {};
  posted = time;
  FactoryStatus status;
  status.state = draining ? "draining" : paused_for.empty() ? "serving" : "paused";
  status.reason = paused_for;
  status.started_unix_seconds = started;
  status.now_unix_seconds = unix_seconds();
  BP_ASSIGN(status.used_bytes, pools.used_bytes());
  BP_ASSIGN(status.free_bytes, pools.free_bytes());
  status.budget_bytes = space.budget.value;
  status.reserve_bytes = space.reserve.value;
  status.cpu_seconds = factory_cpu_seconds() - cpu_at_start;
  for (const auto& running : classes) {
    running->remember(status.now_unix_seconds);
    status.classes.push_back(running->status(!paused_for.empty(), options.player_names));
  }
  options.board->post(std::move(status));
  return {};
}

void Service::State::sleep() const {
  const auto until = std::chrono::steady_clock::now() + options.poll_interval;
  while (!is_set(options.stop) && !is_set(options.drain) &&
         std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace beaverpond
