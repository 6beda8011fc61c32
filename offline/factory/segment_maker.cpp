#include "offline/factory/segment_maker.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <exception>
#include <future>
#include <new>
#include <system_error>

namespace beaverpond {
namespace {

std::uint64_t default_segment_bundles(ByteCount correction_size, std::uint64_t players) {
  constexpr std::uint64_t kTargetBytes = 64 << 20;
  const std::uint64_t size = std::max<std::uint64_t>(correction_size.value, 4096);
  return players * std::clamp<std::uint64_t>(kTargetBytes / size, 1, 256);
}

/// Waits for a dealer. What one that failed left in its buffer must not be published.
Result<void> result_of(std::future<Result<void>>& dealt) {
  try {
    Result<void> outcome = dealt.get();
    if (outcome.ok()) return outcome;
    Error error = std::move(outcome).error();
    error.message = "dealing failed: " + error.message + "; the unfinished segment was dropped";
    return error;
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory,
                      "not enough memory to deal a bundle; the unfinished segment was dropped: "
                      "lower --threads or --segment-bundles, or give the factory more memory");
  } catch (const std::exception& failure) {
    return make_error(ErrorCode::kIo, std::string("dealing failed: ") + failure.what() +
                                          "; the unfinished segment was dropped");
  }
}

Error cancelled() {
  return make_error(ErrorCode::kCancelled,
                    "stopped on request; the unfinished segment was dropped");
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Result<SegmentMaker> SegmentMaker::create(PoolSet& pools, FactoryClass made,
                                          EntropySource entropy) {
  BP_CHECK(!made.dealers.empty(), "a class needs a dealer");
  if (made.segment_bundles > kMaxSegmentBundles) {
    return make_error(ErrorCode::kConfig, "a segment holds at most " +
                                              std::to_string(kMaxSegmentBundles) +
                                              " bundles; lower segment_bundles");
  }
  if (made.segment_bundles == 0) {
    made.segment_bundles =
        default_segment_bundles(made.correction_size, static_cast<std::uint64_t>(pools.players()));
  }
  return SegmentMaker(pools, std::move(made), std::move(entropy));
}

Result<void> SegmentMaker::check_count(std::uint64_t bundles, const std::string& field) const {
  constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 60;
  const std::uint64_t most = kMaxBytes / std::max<std::uint64_t>(bytes_of(1), 1);
  if (bundles <= most) return {};
  return make_error(ErrorCode::kConfig, field + " " + std::to_string(bundles) +
                                            " is more than any disk holds; at most " +
                                            std::to_string(most) + " for this plan");
}

std::uint64_t SegmentMaker::bytes_of(std::uint64_t bundles) const {
  SegmentSetSpec spec;
  spec.correction_size = class_.correction_size;
  spec.scheme = class_.scheme;
  spec.range.count = std::min(bundles, class_.segment_bundles);
  const std::uint64_t whole = segment_set_bytes(spec, pools_->players());
  std::uint64_t bytes = bundles / spec.range.count * whole;
  spec.range.count = bundles % spec.range.count;
  if (spec.range.count != 0) bytes += segment_set_bytes(spec, pools_->players());
  return bytes;
}

Result<MadeSegment> SegmentMaker::make_blocking(std::uint64_t count,
                                                const std::atomic<bool>* stop) {
  const auto start = std::chrono::steady_clock::now();
  SegmentSetSpec spec;
  spec.key = class_.key;
  spec.prg = class_.prg;
  spec.correction_size = class_.correction_size;
  spec.scheme = class_.scheme;
  spec.range.count = count;
  BP_ASSIGN(const LaneSurvey survey, pools_->survey(class_.key));
  spec.range.first = survey.next_number;
  BP_ASSIGN(spec.range.set_id, seeds_.make_set_id());
  BP_ASSIGN(const auto seeds, seeds_.make_seeds(spec.range.set_id, pools_->players(), count));
  BP_ASSIGN(SegmentSetWriter writer, SegmentSetWriter::create_blocking(*pools_, spec, seeds));
  BP_TRY(deal_all(writer, spec.range, seeds, stop));
  MadeSegment segment;
  segment.generation_seconds = seconds_since(start);
  const auto dealt = std::chrono::steady_clock::now();
  BP_TRY(writer.publish_blocking());
  segment.sync_seconds = seconds_since(dealt);
  segment.range = spec.range;
  segment.level_bundles = survey.level_bundles + count;
  segment.bytes = segment_set_bytes(spec, pools_->players());
  return segment;
}

Result<void> SegmentMaker::deal_all(SegmentSetWriter& writer, const PublishedRange& range,
                                    const std::vector<std::vector<Seed>>& seeds,
                                    const std::atomic<bool>* stop) {
  const std::size_t workers = class_.dealers.size();
  // One more than there are dealers: it is written while the others are filled.
  BufferCache cache(workers + 1, class_.allocate);
  struct Job {
    BufferCache::Buffer buffer;
    std::future<Result<void>> dealt;
  };
  std::deque<Job> jobs;  // declared after the cache and the seeds: waits for its threads first
  const auto start = [&](std::uint64_t index) -> Result<void> {
    BP_ASSIGN(auto buffer, cache.take(class_.correction_size.value));
    std::vector<Seed> bundle_seeds;
    for (const auto& of_player : seeds) bundle_seeds.push_back(of_player[index]);
    const int designated = 
        designated_player(range.first + index, pools_->players(), class_.scheme);
    try {
      jobs.push_back(
          {buffer, std::async(std::launch::async,
                              [&deal = class_.dealers[index % workers], designated,
                               bytes = buffer.bytes, own_seeds = std::move(bundle_seeds)] {
                                return deal(own_seeds, designated, bytes);
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
    if (stop != nullptr && stop->load()) return cancelled();
    Job job = std::move(jobs.front());
    jobs.pop_front();
    BP_TRY(result_of(job.dealt));
    if (i + workers < range.count) BP_TRY(start(i + workers));
    BP_TRY(writer.append_blocking(job.buffer.bytes));
  }
  return {};
}

Result<std::string> shortage(PoolSet& pools, const SpaceLimits& limits, std::uint64_t bytes) {
  if (limits.budget.value != 0) {
    BP_ASSIGN(const std::uint64_t used, pools.used_bytes());
    if (used + bytes > limits.budget.value) {
      return "the disk budget is " + std::to_string(limits.budget.value) +
             " bytes, the pools hold " + std::to_string(used) + " and need " +
             std::to_string(bytes) + " more";
    }
  }
  // As if all pools were on the fullest of their disks: safe, and exact where they share one.
  BP_ASSIGN(const std::uint64_t free, pools.free_bytes());
  if (free < bytes || free - bytes < limits.reserve.value) {
    return "the disk has " + std::to_string(free) + " bytes free, " + std::to_string(bytes) +
           " are needed and " + std::to_string(limits.reserve.value) + " are reserved";
  }
  return std::string();
}

}  // namespace beaverpond
