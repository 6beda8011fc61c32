// Bringing segments into a pool: from a file that travelled, and under the pool's own keys.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "offline/pool/segment_file.h"

namespace beaverpond {

/// Moves the key of a published segment from the dealer's envelope under key `number` of the lane's
/// ratchet, durably, and overwrites the envelope. The payload is not touched. Does nothing to a
/// segment that was imported before; finishes one that a crash cut short. The engine does this when
/// it first sees a file, however the file came here. Returns the number of the key that it is
/// under. The caller holds the engine's lock. Errors: those of open_segment_file() and
/// open_file_key(); kIo after a failed sync: never retry, the process must end.
Result<std::uint64_t> import_segment_blocking(Storage& storage, const std::string& path,
                                              const PoolIdentity& pool, const LaneKey& key,
                                              const PublishedRange& range,
                                              const SegmentAccess& access, std::uint64_t number);

/// The number of the ratchet's key that `path` needs; nothing while its key travels. Looks at the
/// key block only. Errors: kPoolCorrupt, kIo.
Result<std::optional<std::uint64_t>> ratchet_number_of(Storage& storage, const std::string& path);

/// Overwrites the envelope of the dealer where it is still there, durably.
Result<void> forget_transport_blocking(Storage& storage, const std::string& path);

/// Copies `source` to the new file `target`, which is durable then, but for its folder's entry. One
/// that an earlier attempt left under that name is replaced. Errors: kNoSpace, kIo.
Result<void> copy_file_blocking(Storage& storage, const std::string& source,
                                const std::string& target);

/// Why bundles of `range` must not enter a lane that holds `present` and has given up all numbers
/// below `watermark`: a set id or a number that comes twice is one pad under two names. Nothing
/// where they may.
std::optional<std::string> seen_before(const std::vector<PublishedRange>& present,
                                       const PublishedRange& range, std::uint64_t watermark);

struct DeliveryOptions {
  Storage* storage = nullptr;
  std::string pool_directory;
  PoolIdentity identity;
  PublicKey dealer{};
  const PoolKey* key = nullptr;
};

/// Takes a segment that came over the network or on a medium: verifies all of it, chunk by chunk,
/// copies it into its lane and publishes it (temporary file, sync, rename, sync of the folder). A
/// file that is there already, byte for byte the same range and set, is success. Holds no lock: the
/// engine may run; the caller sees to it that one process delivers at a time. Errors: kPoolCorrupt
/// (damaged, forged, or a set id or numbers that this pool has spent or holds already),
/// kRosterMismatch, kNoSpace, kIo.
Result<PublishedRange> deliver_segment_blocking(const DeliveryOptions& options,
                                                const std::string& source);

}  // namespace beaverpond
