#include "offline/factory/factory.h"

#include <sys/resource.h>

#include <algorithm>

namespace beaverpond {

double factory_cpu_seconds() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Factory::Factory(FactoryOptions options, std::unique_ptr<PoolSet> pools, SegmentMaker maker)
    : options_(std::move(options)),
      pools_(std::move(pools)),
      maker_(std::move(maker)),
      cpu_at_start_(factory_cpu_seconds()) {}

Result<Factory> Factory::open(FactoryOptions options) {
  BP_ASSIGN(PoolSet opened, PoolSet::open(options.pools));
  auto pools = std::make_unique<PoolSet>(std::move(opened));
  BP_TRY(pools->clean(options.key));
  FactoryClass made;
  made.key = options.key;
  made.prg = options.prg;
  made.correction_size = options.correction_size;
  made.scheme = options.scheme;
  made.dealers = options.dealers;
  made.allocate = options.allocate;
  made.segment_bundles = options.segment_bundles;
  BP_ASSIGN(SegmentMaker maker, SegmentMaker::create(*pools, std::move(made), options.entropy));
  return Factory(std::move(options), std::move(pools), std::move(maker));
}

Result<void> Factory::make_blocking(std::uint64_t bundles) {
  BP_TRY(maker_.check_count(bundles, "--bundles"));
  const SpaceLimits limits{options_.disk_budget, options_.disk_reserve};
  BP_ASSIGN(const std::string missing, shortage(*pools_, limits, maker_.bytes_of(bundles)));
  if (!missing.empty()) {
    return make_error(ErrorCode::kNoSpace, "cannot make " + std::to_string(bundles) +
                                               " bundles: " + missing +
                                               "; make fewer, or give the pools more room");
  }
  const std::uint64_t most = maker_.made().segment_bundles;
  for (std::uint64_t made = 0; made < bundles;) {
    const std::uint64_t count = std::min(bundles - made, most);
    const std::uint64_t next = std::min(bundles - made - count, most);
    FactoryEvent event;
    BP_ASSIGN(event.segment, maker_.make_blocking(count, next, options_.stop));
    event.level_bundles = event.segment.level_bundles;
    totals_.bundles += count;
    totals_.bytes += event.segment.bytes;
    if (options_.on_event) options_.on_event(event);
    made += count;
  }
  maker_.rest_blocking();
  return {};
}

FactoryTotals Factory::totals() const {
  FactoryTotals totals = totals_;
  totals.cpu_seconds = factory_cpu_seconds() - cpu_at_start_;
  return totals;
}

}  // namespace beaverpond
