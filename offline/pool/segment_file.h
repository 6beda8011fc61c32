// Opening a segment: everything that must hold before its payload is looked at.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "offline/pool/envelope.h"

namespace beaverpond {

/// What a player needs to open segments. `key` and `ratchet` outlive it; without a ratchet only
/// segments that were not imported open.
struct SegmentAccess {
  PublicKey dealer{};
  const PoolKey* key = nullptr;
  const LaneRatchet* ratchet = nullptr;
};

struct SegmentFile {
  std::unique_ptr<StorageFile> file;
  SegmentHeader header;
  KeyBlock keys;
  std::vector<std::uint8_t> tags;  ///< the padded table
};

/// Verifies header, owner, signature, size, key block and table of tags. Errors: kPoolCorrupt
/// (damaged or forged), kRosterMismatch (another pool, epoch, roster, player, plan or lane), kIo.
Result<SegmentFile> open_segment_file(Storage& storage, const std::string& path, Storage::Mode mode,
                                      const PoolIdentity& pool, const LaneKey& key,
                                      const PublishedRange& range, const PublicKey& dealer);

/// Header alone, as any reader may see it; nothing but its own checksum is verified.
Result<SegmentHeader> read_segment_header(StorageFile& file, const std::string& path);

/// From whichever envelope is there. Errors: those of open_transport() and open_at_rest().
Result<SecretKey> open_file_key(const SegmentFile& segment, const SegmentAccess& access,
                                const std::string& path);

/// "segment PATH: WHAT; REMEDY", kPoolCorrupt.
Error corrupt_segment(const std::string& path, const std::string& what);

}  // namespace beaverpond
