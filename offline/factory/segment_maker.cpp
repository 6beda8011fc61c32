#include "offline/factory/segment_maker.h"

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

namespace beaverpond {
namespace {

std::uint64_t default_segment_bundles(ByteCount correction_size, std::uint64_t players) {
  constexpr std::uint64_t kTargetBytes = 64 << 20;
  const std::uint64_t size = std::max<std::uint64_t>(correction_size.value, 4096);
  return players * std::clamp<std::uint64_t>(kTargetBytes / size, 1, 256);
}

Error cancelled() {
  return make_error(ErrorCode::kCancelled,
                    "stopped on request; the unfinished segment was dropped");
}

bool is_set(const std::atomic<bool>* flag) {
  return flag != nullptr && flag->load();
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

SegmentMaker::SegmentMaker(PoolSet& pools, FactoryClass made, EntropySource entropy)
    : pools_(&pools),
      class_(std::move(made)),
      seeds_(std::move(entropy)),
      line_(std::make_unique<DealingLine>(class_.dealers, class_.correction_size.value,
                                          class_.allocate)) {}

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

Result<MadeSegment> SegmentMaker::make_blocking(std::uint64_t count, std::uint64_t next,
                                                const std::atomic<bool>* stop) {
  Result<MadeSegment> made = make(count, next, stop);
  if (!made.ok()) rest_blocking();
  return made;
}

Result<std::uint64_t> SegmentMaker::bytes_ahead() {
  if (!ahead_ || ahead_->writer == nullptr) return std::uint64_t{0};
  return ahead_->writer->written_bytes();
}

void SegmentMaker::rest_blocking() {
  line_->clear_blocking();
  ahead_.reset();
  ahead_failure_.reset();
}

/// Draws a segment's set id and seeds, and orders its bundles.
Result<SegmentMaker::Begun> SegmentMaker::begin(std::uint64_t first, std::uint64_t count) {
  Begun begun;
  begun.range.first = first;
  begun.range.count = count;
  BP_ASSIGN(begun.range.set_id, seeds_.make_set_id());
  BP_ASSIGN(begun.seeds, seeds_.make_seeds(begun.range.set_id, pools_->players(), count));
  std::vector<DealingLine::Order> orders(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    for (const std::vector<Seed>& of_player : begun.seeds) orders[i].seeds.push_back(of_player[i]);
    orders[i].designated = designated_player(first + i, pools_->players(), class_.scheme);
  }
  line_->order(std::move(orders));
  return begun;
}

Result<MadeSegment> SegmentMaker::make(std::uint64_t count, std::uint64_t next,
                                       const std::atomic<bool>* stop) {
  const auto start = std::chrono::steady_clock::now();
  if (ahead_failure_) return *ahead_failure_;
  BP_ASSIGN(const LaneSurvey survey, pools_->survey(class_.key));
  // Begun before it was known how many there will be, and which numbers are free.
  if (ahead_ && (ahead_->range.first != survey.next_number || ahead_->range.count != count)) {
    rest_blocking();
  }
  if (!ahead_) {
    BP_ASSIGN(ahead_, begin(survey.next_number, count));
  }
  Begun begun = std::move(*ahead_);
  ahead_.reset();
  if (next != 0) {  // an error is that of the next segment, which will draw again
    Result<Begun> ahead = begin(begun.range.first + count, next);
    if (ahead.ok()) ahead_ = std::move(ahead).value();
  }
  while (begun.written < count) {
    if (is_set(stop)) return cancelled();
    BP_TRY(write_bundle(begun));
  }
  MadeSegment segment;
  segment.generation_seconds = begun.seconds + seconds_since(start);
  BP_TRY(publish(*begun.writer, segment.sync_seconds, stop));
  segment.range = begun.range;
  segment.level_bundles = survey.level_bundles + count;
  segment.bytes = segment_set_bytes(spec_of(begun.range), pools_->players());
  return segment;
}

SegmentSetSpec SegmentMaker::spec_of(const PublishedRange& range) const {
  SegmentSetSpec spec;
  spec.key = class_.key;
  spec.prg = class_.prg;
  spec.correction_size = class_.correction_size;
  spec.scheme = class_.scheme;
  spec.range = range;
  return spec;
}

Result<void> SegmentMaker::write_bundle(Begun& begun) {
  if (begun.writer == nullptr) {
    BP_ASSIGN(SegmentSetWriter writer,
              SegmentSetWriter::create_blocking(*pools_, spec_of(begun.range), begun.seeds));
    begun.writer = std::make_unique<SegmentSetWriter>(std::move(writer));
  }
  BP_ASSIGN(const BufferCache::Buffer correction, line_->take_blocking());
  BP_TRY(begun.writer->append_blocking(correction.bytes));
  ++begun.written;
  return {};
}

/// Syncs and publishes on a thread of its own, while the next segment is written.
Result<void> SegmentMaker::publish(SegmentSetWriter& writer, double& seconds,
                                   const std::atomic<bool>* stop) {
  const auto work = [&writer, &seconds]() -> Result<void> {
    const auto start = std::chrono::steady_clock::now();
    Result<void> outcome = writer.publish_blocking();
    seconds = seconds_since(start);
    return outcome;
  };
  std::future<Result<void>> published;
  try {
    published = std::async(std::launch::async, work);
  } catch (const std::system_error&) {
    return work();  // no thread is left: one after the other, then
  }
  write_ahead(published, stop);
  return published.get();
}

/// Until the segment before is published. An error is that of the next segment, and kept for it.
void SegmentMaker::write_ahead(const std::future<Result<void>>& published,
                               const std::atomic<bool>* stop) {
  constexpr std::chrono::milliseconds kGlance{1};
  const auto start = std::chrono::steady_clock::now();
  while (published.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    if (!ahead_ || ahead_->written == ahead_->range.count || is_set(stop)) return;
    if (!line_->is_ready()) {  // who waits for the segment before must not wait for a dealer
      published.wait_for(kGlance);
      continue;
    }
    Result<void> written = write_bundle(*ahead_);
    if (!written.ok()) {
      rest_blocking();
      ahead_failure_ = std::move(written).error();
      return;
    }
    ahead_->seconds = seconds_since(start);
  }
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
