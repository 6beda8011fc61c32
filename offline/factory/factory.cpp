#include "offline/factory/factory.h"

#include <sys/resource.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <future>
#include <new>
#include <system_error>
#include <thread>

namespace beaverpond {
namespace {

double cpu_seconds() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::uint64_t default_segment_bundles(ByteCount correction_size, std::uint64_t players) {
  constexpr std::uint64_t kTargetBytes = 64 << 20;
  const std::uint64_t size = std::max<std::uint64_t>(correction_size.value, 4096);
  return players * std::clamp<std::uint64_t>(kTargetBytes / size, 1, 256);
}

/// Waits for a dealer. What one that failed left in its buffer must not be published.
Result<void> result_of(std::future<void>& dealt) {
  try {
    dealt.get();
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory,
                      "not enough memory to deal a bundle; the unfinished segment was dropped: "
                      "lower --threads or --segment-bundles, or give the factory more memory");
  } catch (const std::exception& failure) {
    return make_error(ErrorCode::kIo, std::string("dealing failed: ") + failure.what() +
                                          "; the unfinished segment was dropped");
  }
  return {};
}

Error cancelled() {
  return make_error(ErrorCode::kCancelled,
                    "stopped on request; the unfinished segment was dropped");
}

}  // namespace

Factory::Factory(FactoryOptions options, PoolSet pools)
    : options_(std::move(options)),
      pools_(std::move(pools)),
      seeds_(options_.entropy),
      cpu_at_start_(cpu_seconds()) {}

Result<Factory> Factory::open(FactoryOptions options) {
  BP_CHECK(!options.dealers.empty(), "a factory needs a dealer");
  if (options.segment_bundles > kMaxSegmentBundles) {
    return make_error(ErrorCode::kConfig, "a segment holds at most " +
                                              std::to_string(kMaxSegmentBundles) +
                                              " bundles; lower --segment-bundles");
  }
  BP_ASSIGN(PoolSet pools, PoolSet::open(options.pools));
  BP_TRY(pools.clean(options.key));
  if (options.segment_bundles == 0) {
    options.segment_bundles = default_segment_bundles(options.correction_size,
                                                      static_cast<std::uint64_t>(pools.players()));
  }
  return Factory(std::move(options), std::move(pools));
}

Result<void> Factory::make_blocking(std::uint64_t bundles) {
  BP_TRY(check_count(bundles, "--bundles"));
  BP_ASSIGN(const std::string missing, shortage(bytes_of(bundles)));
  if (!missing.empty()) {
    return make_error(ErrorCode::kNoSpace, "cannot make " + std::to_string(bundles) +
                                               " bundles: " + missing +
                                               "; make fewer, or give the pools more room");
  }
  for (std::uint64_t made = 0; made < bundles;) {
    if (stopped()) return cancelled();
    const std::uint64_t count = std::min(bundles - made, options_.segment_bundles);
    BP_TRY(make_segment(count));
    made += count;
  }
  return {};
}

Result<void> Factory::serve_blocking(std::uint64_t low, std::uint64_t high) {
  if (low < 1 || high < low) {
    return make_error(ErrorCode::kConfig,
                      "the marks must satisfy 1 <= low <= high; check --low and --high");
  }
  BP_TRY(check_count(high, "--high"));
  if (options_.disk_budget.value != 0 && bytes_of(low) > options_.disk_budget.value) {
    return make_error(ErrorCode::kNoSpace, std::to_string(low) + " bundles need " +
                                               std::to_string(bytes_of(low)) +
                                               " bytes, more than the disk budget of " +
                                               std::to_string(options_.disk_budget.value) +
                                               "; raise --disk-budget or lower --low");
  }
  bool filling = true;
  while (!stopped()) {
    BP_ASSIGN(const LaneSurvey survey, pools_.survey(options_.key));
    if (filling && survey.level_bundles >= high) {
      filling = false;
      FactoryEvent event;
      event.kind = FactoryEvent::Kind::kFull;
      event.level_bundles = survey.level_bundles;
      emit(event);
    }
    if (survey.level_bundles < low) filling = true;
    if (!filling) {
      sleep();
      continue;
    }
    auto filled = fill_step(survey.level_bundles, high);
    if (filled.ok()) continue;
    if (filled.error().code == ErrorCode::kCancelled) break;
    if (filled.error().code != ErrorCode::kNoSpace) return filled;
    pause(filled.error().message, survey.level_bundles);
  }
  return {};
}

/// Publishes one segment, a smaller one where there is no room for a whole one, or waits.
Result<void> Factory::fill_step(std::uint64_t level, std::uint64_t high) {
  std::string missing;
  for (std::uint64_t count = std::min(options_.segment_bundles, high - level); count > 0;
       count /= 2) {
    BP_ASSIGN(missing, shortage(bytes_of(count)));
    if (missing.empty()) {
      paused_for_.clear();
      return make_segment(count);
    }
  }
  pause(missing, level);
  return {};
}

void Factory::pause(const std::string& reason, std::uint64_t level) {
  if (paused_for_.empty()) {
    FactoryEvent event;
    event.kind = FactoryEvent::Kind::kPaused;
    event.level_bundles = level;
    event.reason = reason;
    emit(event);
  }
  paused_for_ = reason;
  sleep();
}

Result<void> Factory::check_count(std::uint64_t bundles, const char* flag) const {
  constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 60;
  const std::uint64_t most = kMaxBytes / std::max<std::uint64_t>(bytes_of(1), 1);
  if (bundles <= most) return {};
  return make_error(ErrorCode::kConfig, std::string(flag) + " " + std::to_string(bundles) +
                                            " is more than any disk holds; at most " +
                                            std::to_string(most) + " for this plan");
}

std::uint64_t Factory::bytes_of(std::uint64_t bundles) const {
  SegmentSetSpec spec;
  spec.correction_size = options_.correction_size;
  spec.range.count = std::min(bundles, options_.segment_bundles);
  const std::uint64_t whole = segment_set_bytes(spec, pools_.players());
  std::uint64_t bytes = bundles / spec.range.count * whole;
  spec.range.count = bundles % spec.range.count;
  if (spec.range.count != 0) bytes += segment_set_bytes(spec, pools_.players());
  return bytes;
}

Result<std::string> Factory::shortage(std::uint64_t bytes) {
  if (options_.disk_budget.value != 0) {
    BP_ASSIGN(const std::uint64_t used, pools_.used_bytes());
    if (used + bytes > options_.disk_budget.value) {
      return "the disk budget is " + std::to_string(options_.disk_budget.value) +
             " bytes, the pools hold " + std::to_string(used) + " and need " +
             std::to_string(bytes) + " more";
    }
  }
  // As if all pools were on the fullest of their disks: safe, and exact where they share one.
  BP_ASSIGN(const std::uint64_t free, pools_.free_bytes());
  if (free < bytes || free - bytes < options_.disk_reserve.value) {
    return "the disk has " + std::to_string(free) + " bytes free, " + std::to_string(bytes) +
           " are needed and " + std::to_string(options_.disk_reserve.value) + " are reserved";
  }
  return std::string();
}

Result<void> Factory::make_segment(std::uint64_t count) {
  SegmentSetSpec spec;
  spec.key = options_.key;
  spec.prg = options_.prg;
  spec.correction_size = options_.correction_size;
  spec.range.count = count;
  BP_ASSIGN(const LaneSurvey survey, pools_.survey(options_.key));
  spec.range.first = survey.next_number;
  BP_ASSIGN(spec.range.set_id, seeds_.make_set_id());
  BP_ASSIGN(const auto seeds, seeds_.make_seeds(spec.range.set_id, pools_.players(), count));
  BP_ASSIGN(SegmentSetWriter writer, SegmentSetWriter::create_blocking(pools_, spec, seeds));
  BP_TRY(deal_all(writer, spec.range, seeds));
  BP_TRY(writer.publish_blocking());
  FactoryEvent event;
  event.range = spec.range;
  event.level_bundles = survey.level_bundles + count;
  event.bytes = segment_set_bytes(spec, pools_.players());
  totals_.bundles += count;
  totals_.bytes += event.bytes;
  emit(event);
  return {};
}

Result<void> Factory::deal_all(SegmentSetWriter& writer, const PublishedRange& range,
                               const std::vector<std::vector<Seed>>& seeds) {
  const std::size_t workers = options_.dealers.size();
  // One more than there are dealers: it is written while the others are filled.
  BufferCache cache(workers + 1);
  struct Job {
    BufferCache::Buffer buffer;
    std::future<void> dealt;
  };
  std::deque<Job> jobs;  // declared after the cache and the seeds: waits for its threads first
  const auto start = [&](std::uint64_t index) -> Result<void> {
    BP_ASSIGN(auto buffer, cache.take(options_.correction_size.value));
    std::vector<Seed> bundle_seeds;
    for (const auto& of_player : seeds) bundle_seeds.push_back(of_player[index]);
    const int designated = designated_player(range.first + index, pools_.players());
    try {
      jobs.push_back(
          {buffer, std::async(std::launch::async,
                              [&deal = options_.dealers[index % workers], designated,
                               bytes = buffer.bytes, own_seeds = std::move(bundle_seeds)] {
                                deal(own_seeds, designated, bytes);
                              })});
    } catch (const std::system_error& refused) {
      return make_error(ErrorCode::kIo, std::string("cannot start a dealing thread: ") +
                                            refused.what() +
                                            "; lower --threads or raise the limit of processes "
                                            "(ulimit -u)");
    }
    return {};
  };
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(workers, range.count); ++i) {
    BP_TRY(start(i));
  }
  for (std::uint64_t i = 0; i < range.count; ++i) {
    if (stopped()) return cancelled();
    Job job = std::move(jobs.front());
    jobs.pop_front();
    BP_TRY(result_of(job.dealt));
    if (i + workers < range.count) BP_TRY(start(i + workers));
    BP_TRY(writer.append_blocking(job.buffer.bytes));
  }
  return {};
}

void Factory::emit(const FactoryEvent& event) const {
  if (options_.on_event) options_.on_event(event);
}

void Factory::sleep() const {
  const auto until = std::chrono::steady_clock::now() + options_.poll_interval;
  while (!stopped() && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

FactoryTotals Factory::totals() const {
  FactoryTotals totals = totals_;
  totals.cpu_seconds = cpu_seconds() - cpu_at_start_;
  return totals;
}

}  // namespace beaverpond
