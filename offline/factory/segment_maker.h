// Makes and publishes the segments of one class.
#pragma once

#include <atomic>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "beaverpond/units.h"
#include "offline/factory/dealing_line.h"
#include "offline/factory/seeds.h"
#include "offline/pool/buffer_cache.h"
#include "offline/pool/pool_set.h"
#include "offline/pool/segment_set.h"

namespace beaverpond {

/// One lane of one plan, and who deals for it.
struct FactoryClass {
  std::string name;  ///< for messages and metrics
  LaneKey key;
  PrgKind prg = PrgKind::kAes128Ctr;
  ByteCount correction_size;
  Scheme scheme = Scheme::kAllPlayers;
  /// Each deals one bundle at a time, all of them at once; at least one.
  std::vector<DealFunction> dealers;
  BufferCache::Allocator allocate;    ///< memory for corrections; may be empty
  std::uint64_t segment_bundles = 0;  ///< 0: about 64 MiB of corrections per player and file
};

/// A segment that was published on every player.
struct MadeSegment {
  PublishedRange range;
  std::uint64_t level_bundles = 0;  ///< of the lane, this range included
  std::uint64_t bytes = 0;          ///< of this range, all players
  double generation_seconds = 0;    ///< wall time of dealing and writing
  double sync_seconds = 0;          ///< wall time of syncs and renames, in part of the next one's
};

/// One thread, besides the threads that deal, one that writes and one that syncs and publishes. The
/// pools outlive it. Segments are written and published one after the other; where a next one was
/// announced, it is dealt, sealed and written, to temporary files, while one is published.
class SegmentMaker {
 public:
  /// Errors: kConfig (more bundles a segment than the format allows).
  static Result<SegmentMaker> create(PoolSet& pools, FactoryClass made, EntropySource entropy);

  const FactoryClass& made() const { return class_; }
  /// Bytes that `bundles` more take in all pools together.
  std::uint64_t bytes_of(std::uint64_t bundles) const;
  /// Refuses a number of bundles whose bytes could not even be counted. Errors: kConfig.
  Result<void> check_count(std::uint64_t bundles, const std::string& field) const;

  /// Numbers, deals and publishes one segment. `next`: bundles of the one that will likely follow,
  /// of which some are dealt and written already when this one is out, so there must be room for
  /// both; 0: none. `stop` (may be null) is looked at between bundles. Errors: kCancelled,
  /// kNoSpace, kIo, kOutOfMemory, kDeviceFailed; then the segment is dropped, and what was dealt
  /// ahead. What fails of the next segment is no error of this one, but
  /// of the next call, if it comes.
  Result<MadeSegment> make_blocking(std::uint64_t count, std::uint64_t next,
                                    const std::atomic<bool>* stop);
  /// Drops what was dealt and written ahead, and the memory for corrections.
  void rest_blocking();
  /// Bytes that the pools hold of what was written ahead: the next segment needs so much less, or
  /// gives them back. Errors: kIo.
  Result<std::uint64_t> bytes_ahead();

 private:
  /// A segment that the dealers work on.
  struct Begun {
    PublishedRange range;
    std::vector<std::vector<Seed>> seeds;      ///< by player and bundle
    std::unique_ptr<SegmentSetWriter> writer;  ///< null: nothing of it is on a disk
    std::uint64_t written = 0;                 ///< bundles
    double seconds = 0;                        ///< that writing ahead took
  };
  SegmentMaker(PoolSet& pools, FactoryClass made, EntropySource entropy);
  Result<Begun> begin(std::uint64_t first, std::uint64_t count);
  Result<MadeSegment> make(std::uint64_t count, std::uint64_t next, const std::atomic<bool>* stop);
  SegmentSetSpec spec_of(const PublishedRange& range) const;
  Result<void> write_bundle(Begun& begun);
  void write_ahead(const std::future<Result<void>>& published, const std::atomic<bool>* stop);
  Result<void> publish(SegmentSetWriter& writer, double& seconds, const std::atomic<bool>* stop);

  PoolSet* pools_;
  FactoryClass class_;
  SeedMaker seeds_;
  std::unique_ptr<DealingLine> line_;  // stays where it is when this moves
  std::optional<Begun> ahead_;
  std::optional<Error> ahead_failure_;  // of what was written ahead; that segment's
};

/// Room for files: the disk's free bytes and a budget over all pools.
struct SpaceLimits {
  ByteCount budget;   ///< files of all given pools together; 0: no limit
  ByteCount reserve;  ///< left free on the disk
};

/// Empty if `bytes` more may be written, otherwise what is short. Errors: kIo.
Result<std::string> shortage(PoolSet& pools, const SpaceLimits& limits, std::uint64_t bytes);

}  // namespace beaverpond
