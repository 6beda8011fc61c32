#include "online/session/bundle_source.h"

#include <algorithm>

namespace beaverpond {

Result<std::uint64_t> bundles_ready(Pool& pool, const LaneKey& key) {
  BP_ASSIGN(const std::vector<PublishedRange> ranges, pool.ranges(key));
  BP_ASSIGN(const std::uint64_t watermark, pool.watermark(key));
  std::uint64_t count = 0;
  for (const PublishedRange& range : ranges) {
    count += range.end() - std::max(range.first, watermark);
  }
  return count;
}

Result<Bundle> PoolBundleSource::next_blocking(std::uint64_t step, std::uint64_t steps_left) {
  if (!lease_.has_value() || lease_->remaining() == 0) {
    lease_.reset();
    BP_ASSIGN(Lease lease, agreement_.acquire_blocking(
                               step, steps_left, std::chrono::steady_clock::now() + dry_timeout_));
    lease_.emplace(std::move(lease));
    BP_ASSIGN(published_, bundles_ready(pool_, key_));
  }
  return lease_->next();
}

std::uint64_t PoolBundleSource::left() const {
  return published_ + (lease_.has_value() ? lease_->remaining() : 0);
}

}  // namespace beaverpond
