#include "offline/pool/segment_file.h"

namespace beaverpond {
namespace {

Error foreign(const std::string& path, const std::string& what) {
  return make_error(ErrorCode::kRosterMismatch,
                    "segment " + path + " does not belong here: " + what +
                        "; remove it, and check which pool folders the factory was given");
}

Result<void> check_expected(const SegmentHeader& header, const std::string& path,
                            const PoolIdentity& pool, const LaneKey& key,
                            const PublishedRange& range) {
  const std::string difference = describe_difference(pool, header.pool);
  if (!difference.empty()) return foreign(path, difference);
  if (header.key.plan != key.plan) {
    return foreign(path, "its plan is " + to_hex(std::span(header.key.plan).first(8)) +
                             ", expected " + to_hex(std::span(key.plan).first(8)));
  }
  if (header.key.lane != key.lane) {
    return foreign(path, "its lane is " + std::to_string(header.key.lane) + ", expected " +
                             std::to_string(key.lane));
  }
  if (header.range.set_id == range.set_id && header.range != range) {
    return corrupt_segment(path, "its set id is that of " + header.range.str() +
                                     ", it was given another name to be spent again");
  }
  if (header.range != range) return corrupt_segment(path, "its header and its name differ");
  return {};
}

}  // namespace

Error corrupt_segment(const std::string& path, const std::string& what) {
  return make_error(ErrorCode::kPoolCorrupt,
                    "segment " + path + ": " + what +
                        "; its bundles are lost: run `triple-factory repair`, which burns them, "
                        "and start the job again on all players");
}

Result<SegmentHeader> read_segment_header(StorageFile& file, const std::string& path) {
  Block block{};
  BP_ASSIGN(const std::size_t read, file.read_at(0, block));
  if (read != block.size()) return corrupt_segment(path, "it is shorter than a header");
  return decode_segment_header(block, path);
}

Result<SegmentFile> open_segment_file(Storage& storage, const std::string& path, Storage::Mode mode,
                                      const PoolIdentity& pool, const LaneKey& key,
                                      const PublishedRange& range, const PublicKey& dealer) {
  SegmentFile segment;
  BP_ASSIGN(segment.file, storage.open(path, mode));
  BP_ASSIGN(segment.header, read_segment_header(*segment.file, path));
  const SegmentHeader& header = segment.header;
  BP_TRY(check_expected(header, path, pool, key, range));
  if (!header.is_signed_by(dealer)) {
    return corrupt_segment(path,
                           "the dealer of the roster did not sign its header, so it is "
                           "forged or damaged");
  }
  BP_ASSIGN(const std::uint64_t size, segment.file->size());
  if (size != header.file_size()) {
    return corrupt_segment(path, "it has " + std::to_string(size) + " bytes instead of " +
                                     std::to_string(header.file_size()));
  }
  Block block{};
  BP_ASSIGN(std::size_t read, segment.file->read_at(kBlockSize, block));
  if (read != block.size()) return corrupt_segment(path, "its key block cannot be read");
  BP_ASSIGN(segment.keys, decode_key_block(block, path));
  segment.tags.resize(header.table_size());
  BP_ASSIGN(read, segment.file->read_at(SegmentHeader::kTableOffset, segment.tags));
  if (read != segment.tags.size() || sha256(segment.tags) != header.root) {
    return corrupt_segment(path, "its table of chunk tags is damaged");
  }
  return segment;
}

Result<SecretKey> open_file_key(const SegmentFile& segment, const SegmentAccess& access,
                                const std::string& path) {
  // No signature covers the envelope at rest: who has no ratchet takes only what has none.
  if (access.ratchet == nullptr && segment.keys.rest) {
    return corrupt_segment(path, "it was imported under keys that are not here");
  }
  // With both there, an import was cut short; either will do.
  if (segment.keys.transport) {
    return open_transport(*segment.keys.transport, segment.header, *access.key, path);
  }
  return open_at_rest(*segment.keys.rest, segment.header, *access.ratchet, path);
}

}  // namespace beaverpond
