// Makes bundles and keeps pools filled.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/units.h"
#include "offline/factory/seeds.h"
#include "offline/pool/pool_set.h"
#include "offline/pool/segment_set.h"

namespace beaverpond {

/// The dealing step: one seed per player in, the designated player's correction out.
using DealFunction = std::function<void(std::span<const Seed> seeds, int designated,
                                        std::span<std::uint8_t> correction)>;

struct FactoryEvent {
  enum class Kind : std::uint8_t {
    kSegment,  ///< a range was published on every player
    kPaused,   ///< below the mark, but there is no room; `reason` says of what
    kFull,     ///< the high mark is reached
  };
  Kind kind = Kind::kSegment;
  PublishedRange range;
  std::uint64_t level_bundles = 0;
  std::uint64_t bytes = 0;  ///< of this range, all players
  std::string reason;
};

struct FactoryOptions {
  PoolSetOptions pools;
  LaneKey key;
  PrgKind prg = PrgKind::kAes128Ctr;
  ByteCount correction_size;
  /// Each deals one bundle at a time, all of them at once; at least one.
  std::vector<DealFunction> dealers;
  std::uint64_t segment_bundles = 0;  ///< 0: about 64 MiB of corrections per player and file
  ByteCount disk_budget;              ///< files of all given pools together; 0: no limit
  ByteCount disk_reserve;             ///< left free on the disk
  std::chrono::milliseconds poll_interval{100};
  EntropySource entropy = fill_random_blocking;
  const std::atomic<bool>* stop = nullptr;  ///< set to stop; may be null
  std::function<void(const FactoryEvent&)> on_event;
};

struct FactoryTotals {
  std::uint64_t bundles = 0;
  std::uint64_t bytes = 0;  ///< written to all pools
  double cpu_seconds = 0;   ///< of this process since open()
};

/// One thread, besides the threads that deal.
class Factory {
 public:
  /// Takes the factory's locks and removes what an earlier one left unfinished. Errors: those of
  /// PoolSet::open(), and kConfig.
  static Result<Factory> open(FactoryOptions options);
  Factory(Factory&&) = default;

  /// Adds `bundles` to every pool. Errors: kNoSpace (before anything is written where it can be
  /// foreseen), kCancelled, kIo. What was published before an error stays.
  Result<void> make_blocking(std::uint64_t bundles);

  /// Fills to `high` bundles whenever fewer than `low` are left, until `stop` is set; that is
  /// success. A full disk or budget is a pause, not an error. Errors: kConfig, kNoSpace (the
  /// budget cannot hold `low` bundles), kIo.
  Result<void> serve_blocking(std::uint64_t low, std::uint64_t high);

  FactoryTotals totals() const;

 private:
  Factory(FactoryOptions options, PoolSet pools);
  bool stopped() const { return options_.stop != nullptr && options_.stop->load(); }
  /// Refuses a number of bundles whose bytes could not even be counted.
  Result<void> check_count(std::uint64_t bundles, const char* flag) const;
  std::uint64_t bytes_of(std::uint64_t bundles) const;
  /// Empty if `bytes` more may be written, otherwise what is short.
  Result<std::string> shortage(std::uint64_t bytes);
  Result<void> make_segment(std::uint64_t count);
  Result<void> deal_all(SegmentSetWriter& writer, const PublishedRange& range,
                        const std::vector<std::vector<Seed>>& seeds);
  Result<void> fill_step(std::uint64_t level, std::uint64_t high);
  void pause(const std::string& reason, std::uint64_t level);
  void emit(const FactoryEvent& event) const;
  void sleep() const;

  FactoryOptions options_;
  PoolSet pools_;
  SeedMaker seeds_;
  FactoryTotals totals_;
  double cpu_at_start_ = 0;
  std::string paused_for_;
};

}  // namespace beaverpond
