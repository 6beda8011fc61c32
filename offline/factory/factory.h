// Makes a given number of bundles of one class.
#pragma once

#include <memory>

#include "offline/factory/segment_maker.h"

namespace beaverpond {

struct FactoryEvent {
  enum class Kind : std::uint8_t {
    kSegment,    ///< a range was published on every player
    kPaused,     ///< below the mark, but there is no room; `reason` says of what
    kResumed,    ///< there is room again
    kFull,       ///< the high mark is reached
    kDropped,    ///< a segment could not be finished; `reason` says why
    kDraining,   ///< asked to stop; what is being made is finished first
    kReloaded,   ///< the configuration was read again; `reason` says what became of it
    kListening,  ///< status or delivery is served; `reason` is the address
    kDelivery,   ///< a player's request failed; `reason` says how
    kDevice,     ///< what deals, when the program starts; `reason` is its name
  };
  Kind kind = Kind::kSegment;
  std::string name;  ///< of the class; empty where all are meant
  MadeSegment segment;
  std::uint64_t level_bundles = 0;
  std::string reason;
};

struct FactoryOptions {
  PoolSetOptions pools;
  LaneKey key;
  PrgKind prg = PrgKind::kAes128Ctr;
  ByteCount correction_size;
  Scheme scheme = Scheme::kAllPlayers;
  /// Each deals one bundle at a time, all of them at once; at least one.
  std::vector<DealFunction> dealers;
  BufferCache::Allocator allocate;    ///< memory for corrections; may be empty
  std::uint64_t segment_bundles = 0;  ///< 0: about 64 MiB of corrections per player and file
  ByteCount disk_budget;              ///< files of all given pools together; 0: no limit
  ByteCount disk_reserve;             ///< left free on the disk
  EntropySource entropy = fill_random_blocking;
  const std::atomic<bool>* stop = nullptr;  ///< set to stop; may be null
  std::function<void(const FactoryEvent&)> on_event;
};

struct FactoryTotals {
  std::uint64_t bundles = 0;
  std::uint64_t bytes = 0;  ///< written to all pools
  double cpu_seconds = 0;   ///< of this process since open()
};

/// CPU seconds, user and system, that this process has taken.
double factory_cpu_seconds();

/// One thread, besides the threads that deal.
class Factory {
 public:
  /// Takes the factory's locks and removes what an earlier one left unfinished. Errors: those of
  /// PoolSet::open(), and kConfig.
  static Result<Factory> open(FactoryOptions options);
  Factory(Factory&&) = default;

  /// Adds `bundles` to every pool. Errors: kNoSpace (before anything is written where it can be
  /// foreseen), kCancelled, kIo, kOutOfMemory, kDeviceFailed. What was published before an error
  /// stays.
  Result<void> make_blocking(std::uint64_t bundles);

  FactoryTotals totals() const;

 private:
  Factory(FactoryOptions options, std::unique_ptr<PoolSet> pools, SegmentMaker maker);

  FactoryOptions options_;
  std::unique_ptr<PoolSet> pools_;  // the maker points to it
  SegmentMaker maker_;
  FactoryTotals totals_;
  double cpu_at_start_ = 0;
};

}  // namespace beaverpond
