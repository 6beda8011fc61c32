// The player's side of delivery: segments on their way into a pool. DIR/incoming holds what is
// being downloaded (.part) and what is complete and durable but not published yet (.whole).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "offline/factory/delivery_messages.h"
#include "offline/pool/identity.h"
#include "offline/pool/segment_file.h"

namespace beaverpond {

struct IncomingOptions {
  Storage* storage = nullptr;  ///< outlives the object
  std::string pool_directory;
  PoolIdentity identity;
  /// Judges a complete file before it is acknowledged; its error ends the pull.
  std::function<Result<void>(const std::string& file, const LaneRange& what)> check;
  /// Brings a complete file into the pool, durably; afterwards it may be gone. Called again after a
  /// crash, also where it had succeeded.
  std::function<Result<void>(const std::string& file, const LaneRange& what)> place;
};

/// Everything that can be known of a segment before it is spent: owner, dealer's signature, place,
/// size, and every chunk authenticated. Errors: those of open_segment_file(), open_file_key().
Result<void> check_segment(Storage& storage, const PoolIdentity& identity,
                           const SegmentAccess& access, const std::string& file,
                           const LaneRange& what);
/// Renamed into its lane, and the folder synced. The engine puts it under the pool's own keys.
Result<void> place_segment(Storage& storage, const std::string& pool_directory,
                           const std::string& file, const LaneRange& what);

/// Holds the factory's lock of the pool: one process delivers at a time. The engine may run.
class Incoming {
 public:
  /// Errors: kPoolBusy, kConfig (folder mode), kRosterMismatch, kPoolCorrupt, kIo, kNoSpace.
  static Result<Incoming> open(IncomingOptions options);

  /// What to tell the factory about the lanes it named.
  Result<SyncRequest> report(const std::vector<LaneKey>& lanes);

  /// Refuses what this pool holds or has spent under any name: a set id that it knows, or numbers
  /// that it holds or gave up. Errors: kPoolCorrupt.
  Result<void> check_new(const SegmentOffer& offer);

  /// A file that grows by append(); begins where an earlier one was cut off.
  struct Part {
    std::string path;
    std::unique_ptr<StorageFile> file;
    std::uint64_t size_bytes = 0;
    bool resumed = false;  ///< some of it came from an earlier attempt
  };
  Result<Part> begin(const SegmentOffer& offer);
  Result<void> append(Part& part, std::span<const std::uint8_t> bytes);
  /// Checks and stages a complete file. One that is damaged is removed, and what had been resumed
  /// is then downloaded anew, since a power loss may have hurt it. Errors: kIo (that), those of
  /// `check`, kNoSpace.
  Result<void> finish(Part part, const SegmentOffer& offer);

  Result<void> publish(const LaneRange& what);
  Result<void> drop(const LaneRange& what);

 private:
  explicit Incoming(IncomingOptions options) : options_(std::move(options)) {}
  std::string directory() const { return options_.pool_directory + "/incoming"; }
  std::string path(const LaneRange& what, const char* suffix) const;

  IncomingOptions options_;
  std::unique_ptr<StorageLock> lock_;
};

}  // namespace beaverpond
