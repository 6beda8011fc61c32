// One lane of an open pool; internal to offline/pool.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "offline/pool/ledger.h"
#include "offline/pool/pool.h"
#include "offline/pool/segment.h"

namespace beaverpond {

/// The ledger, the claims of this process and the segment being read. One thread at a time.
class PoolLane {
 public:
  static Result<PoolLane> open(Storage& storage, const std::string& pool_directory,
                               const PoolIdentity& pool, const LaneKey& key);

  const Ledger& ledger() const { return ledger_; }
  /// Watermarks seen of the players: what the ledger holds, and what was seen since.
  const std::vector<std::uint64_t>& witnesses() const { return seen_; }
  void see(const std::vector<std::uint64_t>& watermarks);
  Result<void> keep_witnesses_blocking();
  Result<std::vector<PublishedRange>> ranges();
  Result<void> claim_blocking(const Claim& claim);
  Result<Bundle> read_bundle_blocking(std::uint64_t number);
  void release(std::uint64_t end);

 private:
  /// A claim of which [next, end) has not been handed out.
  struct OpenClaim {
    std::uint64_t next = 0;
    std::uint64_t end = 0;
    std::vector<PublishedRange> segments;
  };

  PoolLane(Storage& storage, std::string directory, PoolIdentity pool, LaneKey key, Ledger ledger);
  Result<SegmentReader*> reader_of(const PublishedRange& range);
  /// No number below this can be read any more, by anyone.
  std::uint64_t erasable_below() const;
  void erase_spent();

  Storage* storage_;
  std::string directory_;
  PoolIdentity pool_;
  LaneKey key_;
  Ledger ledger_;
  std::vector<std::uint64_t> seen_;  // by rank; never below the ledger's witnesses
  std::vector<OpenClaim> claims_;
  std::set<PublishedRange> verified_;
  std::unique_ptr<SegmentReader> reader_;
  BufferCache buffers_{2};  // one in use by the engine, one being filled
};

}  // namespace beaverpond
