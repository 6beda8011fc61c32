// One lane of an open pool; internal to offline/pool.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "offline/pool/ledger.h"
#include "offline/pool/pool.h"
#include "offline/pool/ratchet.h"
#include "offline/pool/segment.h"

namespace beaverpond {

/// What a pool opens its segments with.
struct PoolKeys {
  PublicKey dealer{};
  PoolKey key;
};

/// The ledger, the ratchet, the claims of this process and the segment being read. One thread at a
/// time.
class PoolLane {
 public:
  /// `keys` outlives the lane.
  static Result<PoolLane> open(Storage& storage, const std::string& pool_directory,
                               const PoolIdentity& pool, const LaneKey& key, const PoolKeys& keys);

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

  PoolLane(Storage& storage, std::string directory, PoolIdentity pool, LaneKey key,
           const PoolKeys& keys, Ledger ledger, LaneRatchet ratchet);
  std::string path_of(const PublishedRange& range) const;
  SegmentAccess access() const { return {keys_->dealer, &keys_->key, &ratchet_}; }
  /// Finds out under which keys the files of the folder are.
  Result<void> find_numbers();
  /// Whether the ratchet has stepped past the key of a file: it was spent, even if the ledger that
  /// said so was lost, and power failed before its removal. Removes it.
  bool was_erased(const PublishedRange& range);
  Result<void> import(const PublishedRange& range);
  Result<SegmentReader*> reader_of(const PublishedRange& range);
  /// No number below this can be read any more, by anyone.
  std::uint64_t erasable_below() const;
  /// Steps the ratchet beyond what is spent, then removes those files. What cannot be removed now
  /// is left for the next time: neither its numbers nor its keys come back.
  void erase_spent();
  Result<void> erase(const std::vector<PublishedRange>& listed, std::uint64_t floor);

  Storage* storage_;
  std::string directory_;
  PoolIdentity pool_;
  LaneKey key_;
  Ledger ledger_;
  std::vector<std::uint64_t> seen_;  // by rank; never below the ledger's witnesses
  std::vector<OpenClaim> claims_;
  LaneRatchet ratchet_;
  const PoolKeys* keys_;
  std::map<PublishedRange, std::uint64_t> imported_;  // and the number of the key each is under
  std::uint64_t next_key_ = 0;                        // above all numbers in use
  std::optional<Error> failed_;                       // of the ratchet: nothing is claimed any more
  std::unique_ptr<SegmentReader> reader_;
  BufferCache buffers_{2};  // one in use by the engine, one being filled
};

}  // namespace beaverpond
