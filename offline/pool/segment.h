// A segment: a file of consecutive bundles of one plan for one player, immutable once published.
// The bytes are tabulated in offline/pool/README.md.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "beaverpond/bundle.h"
#include "beaverpond/units.h"
#include "offline/pool/block.h"
#include "offline/pool/buffer_cache.h"
#include "offline/pool/identity.h"

namespace beaverpond {

inline constexpr std::uint64_t kChunkSizeBytes = 64 * 1024;
inline constexpr std::uint64_t kMaxSegmentBundles = 1 << 16;
inline constexpr std::uint64_t kMaxCorrectionBytes = std::uint64_t{1} << 40;

/// What a segment says about itself.
struct SegmentHeader {
  PoolIdentity pool;
  LaneKey key;
  PublishedRange range;
  PrgKind prg = PrgKind::kAes128Ctr;
  ByteCount correction_size;  ///< of one bundle
  Hash256 root{};             ///< SHA-256 of the padded chunk table

  /// Bundles of the range whose correction lies in this file.
  std::uint64_t corrections() const;
  /// Place of the correction of bundle `number` in the payload; its player must be designated.
  std::uint64_t correction_offset(std::uint64_t number) const;
  std::uint64_t payload_size() const;
  std::uint64_t chunks() const { return (payload_size() + kChunkSizeBytes - 1) / kChunkSizeBytes; }
  /// The chunk table, padded with zeros to a multiple of 4 KiB; the payload follows it.
  std::uint64_t table_size() const;
  std::uint64_t payload_offset() const { return kBlockSize + table_size(); }
  std::uint64_t file_size() const { return payload_offset() + payload_size(); }
};

Block encode_segment_header(const SegmentHeader& header);
/// Errors: kPoolCorrupt; `file` is only for the message. Every derived size is in bounds after it.
Result<SegmentHeader> decode_segment_header(const Block& block, const std::string& file);

/// Reads one segment. One thread at a time.
class SegmentReader {
 public:
  /// Verifies the header, that the file is the one expected, its size and its chunk table. Errors:
  /// kPoolCorrupt, kRosterMismatch (another pool, epoch, roster, player or plan), kIo.
  static Result<SegmentReader> open(Storage& storage, const std::string& path,
                                    const PoolIdentity& pool, const LaneKey& key,
                                    const PublishedRange& range);
  SegmentReader(SegmentReader&&) = default;
  SegmentReader& operator=(SegmentReader&&) = default;

  const SegmentHeader& header() const { return header_; }

  /// Reads bundle `number` and verifies each chunk before its bytes are used. Aborts if `number` is
  /// outside the range or was read before. Errors: kPoolCorrupt names file and chunk; kIo.
  Result<Bundle> read_bundle_blocking(std::uint64_t number, BufferCache& buffers);

 private:
  SegmentReader(std::string path, std::unique_ptr<StorageFile> file, SegmentHeader header);
  Result<void> read_table();
  Result<void> read_seeds();
  /// The one place where payload bytes come in: whole chunks, each checked against the table.
  Result<void> read_chunks(std::uint64_t first_chunk, std::span<std::uint8_t> bytes);

  std::string path_;
  std::unique_ptr<StorageFile> file_;
  SegmentHeader header_;
  std::vector<std::uint8_t> table_;
  std::vector<Seed> seeds_;  // each wiped as it is handed out
  std::vector<bool> handed_out_;
};

/// Writes one segment: the seeds first, then the corrections in order of bundle. One thread.
class SegmentWriter {
 public:
  /// Creates the file and writes `seeds`, one per bundle. header.root is ignored.
  static Result<SegmentWriter> create(Storage& storage, const std::string& path,
                                      const SegmentHeader& header, std::span<const Seed> seeds);
  SegmentWriter(SegmentWriter&&) = default;
  SegmentWriter& operator=(SegmentWriter&&) = default;
  ~SegmentWriter();

  /// The correction of the next bundle whose designated player is this file's.
  Result<void> append_correction_blocking(std::span<const std::uint8_t> correction);
  /// Writes chunk table and header and syncs the file. Every correction must have been appended.
  Result<void> finish_blocking();

 private:
  SegmentWriter(std::unique_ptr<StorageFile> file, SegmentHeader header);
  Result<void> append(std::span<const std::uint8_t> bytes);
  Result<void> pad_to(std::uint64_t payload_position);
  /// The one place where payload bytes go out, a chunk at a time.
  Result<void> flush_chunk();
  std::uint64_t position() const;

  std::unique_ptr<StorageFile> file_;
  SegmentHeader header_;
  std::vector<std::uint8_t> chunk_;  // filled so far
  std::vector<std::uint8_t> table_;
  std::uint64_t appended_ = 0;
};

}  // namespace beaverpond
