// Where an application's bundles come from.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "beaverpond/bundle.h"
#include "beaverpond/result.h"
#include "online/session/lease.h"

namespace beaverpond {

/// Bundles of a lane that `pool` holds and never claimed. Errors: those of Pool::ranges().
Result<std::uint64_t> bundles_ready(Pool& pool, const LaneKey& key);

/// Hands all players the same bundle for the same step. A collective.
class BundleSource {
 public:
  virtual ~BundleSource() = default;
  /// Errors: those of LeaseAgreement::acquire_blocking() and Pool::read_bundle_blocking().
  virtual Result<Bundle> next_blocking(std::uint64_t step, std::uint64_t steps_left) = 0;
  /// Bundles that this player could still spend now, for progress lines; an estimate.
  virtual std::uint64_t left() const = 0;
};

/// Bundles of one lane of a pool, leased a few at a time.
class PoolBundleSource final : public BundleSource {
 public:
  /// pool, transport and session outlive the source. `dry_timeout`: how long to wait for a factory.
  PoolBundleSource(Pool& pool, Transport& transport, const Session& session,
                   const LeaseOptions& options, std::chrono::milliseconds dry_timeout)
      : pool_(pool),
        key_(options.key),
        agreement_(pool, transport, session, options),
        dry_timeout_(dry_timeout) {}

  Result<Bundle> next_blocking(std::uint64_t step, std::uint64_t steps_left) override;
  std::uint64_t left() const override;

 private:
  Pool& pool_;
  LaneKey key_;
  LeaseAgreement agreement_;
  std::chrono::milliseconds dry_timeout_;
  std::optional<Lease> lease_;
  std::uint64_t published_ = 0;  ///< beyond the lease, when it was taken
};

}  // namespace beaverpond
