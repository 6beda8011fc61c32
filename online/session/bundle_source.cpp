#include "online/session/bundle_source.h"

#include <algorithm>

namespace beaverpond {

Result<Bundle> PoolBundleSource::next_blocking(std::uint64_t step, std::uint64_t steps_left) {
  if (!lease_.has_value() || lease_->remaining() == 0) {
    lease_.reset();
    BP_ASSIGN(Lease lease, agreement_.acquire_blocking(
                               step, steps_left, std::chrono::steady_clock::now() + dry_timeout_));
    lease_.emplace(std::move(lease));
    BP_ASSIGN(const std::vector<PublishedRange> ranges, pool_.ranges(key_));
    published_ = 0;
    for (const PublishedRange& range : ranges) {
      const std::uint64_t first = std::max(range.first, lease_->end());
      if (range.end() > first) published_ += range.end() - first;
    }
  }
  return lease_->next();
}

std::uint64_t PoolBundleSource::left() const {
  return published_ + (lease_.has_value() ? lease_->remaining() : 0);
}

}  // namespace beaverpond
