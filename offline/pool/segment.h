// A segment: a file of consecutive bundles of one plan for one player, immutable once published but
// for the two sectors that hold its key. The bytes are tabulated in offline/pool/README.md.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "beaverpond/bundle.h"
#include "beaverpond/units.h"
#include "offline/pool/buffer_cache.h"
#include "offline/pool/cipher.h"
#include "offline/pool/dealer_key.h"
#include "offline/pool/random.h"
#include "offline/pool/segment_file.h"
#include "offline/pool/write_behind.h"

namespace beaverpond {

/// Reads one segment. One thread at a time.
class SegmentReader {
 public:
  /// Verifies the header, its signature, that the file is the one expected, its size and its table
  /// of tags, and opens its key. Errors: kPoolCorrupt, kRosterMismatch (another pool, epoch,
  /// roster, player or plan), kIo.
  static Result<SegmentReader> open(Storage& storage, const std::string& path,
                                    const PoolIdentity& pool, const LaneKey& key,
                                    const PublishedRange& range, const SegmentAccess& access);
  SegmentReader(SegmentReader&&) = default;
  SegmentReader& operator=(SegmentReader&&) = default;

  const SegmentHeader& header() const { return header_; }

  /// Reads bundle `number`; each chunk is authenticated before its bytes are used. Aborts if
  /// `number` is outside the range or was read before. Errors: kPoolCorrupt names file and chunk;
  /// kIo.
  Result<Bundle> read_bundle_blocking(std::uint64_t number, BufferCache& buffers);

  /// Authenticates every chunk; hands nothing out. Errors: those of read_bundle_blocking().
  Result<void> verify_blocking();

 private:
  SegmentReader(std::string path, SegmentFile segment, const SecretKey& file_key);
  Result<void> read_seeds();
  /// The one place where payload bytes come in: whole chunks, each authenticated.
  Result<void> read_chunks(std::uint64_t first_chunk, std::span<std::uint8_t> bytes);

  std::string path_;
  std::unique_ptr<StorageFile> file_;
  SegmentHeader header_;
  std::vector<std::uint8_t> tags_;
  ChunkCipher cipher_;
  std::vector<Seed> seeds_;  // each wiped as it is handed out
  std::vector<bool> handed_out_;
};

/// Who signs a segment, and who alone can open it.
struct SegmentSealing {
  const DealerKey* dealer = nullptr;  ///< outlives the writer
  PublicKey recipient{};              ///< the player's PoolKey::public_key()
  EntropySource entropy = fill_random_blocking;
};

/// Writes one segment: the seeds first, then the corrections in order of bundle. What is sealed is
/// written in pieces, behind. One thread at a time.
class SegmentWriter {
 public:
  /// Creates the file and writes `seeds`, one per bundle. Of `header`, salt, commitment, root and
  /// signature are ignored. `behind` may serve the files of one set and outlives every call of
  /// this. Errors: kConfig (a recipient that is no key), kIo, kNoSpace.
  static Result<SegmentWriter> create(Storage& storage, const std::string& path,
                                      const SegmentHeader& header, std::span<const Seed> seeds,
                                      const SegmentSealing& sealing, WriteBehind& behind);
  SegmentWriter(SegmentWriter&&) = default;
  SegmentWriter& operator=(SegmentWriter&&) = default;

  /// The correction of the next bundle whose designated player is this file's. Errors: also those
  /// of what was written before, of any file of `behind`.
  Result<void> append_correction_blocking(std::span<const std::uint8_t> correction);
  /// Writes tags, key and signed header, and syncs the file. Every correction must have been
  /// appended.
  Result<void> finish_blocking();
  /// Size of the file as it is now. Errors: kIo.
  Result<std::uint64_t> written_bytes() { return file_->size(); }

 private:
  SegmentWriter(std::unique_ptr<StorageFile> file, SegmentHeader header, const Block& key_block,
                const SecretKey& file_key, const DealerKey* dealer, WriteBehind* behind);
  Result<void> append(std::span<const std::uint8_t> bytes);
  Result<void> pad_to(std::uint64_t payload_position);
  void finish_chunk();
  /// The one place where payload bytes go out, in sealed chunks.
  Result<void> flush_piece();
  std::uint64_t position() const { return piece_start_ + filled_; }

  std::shared_ptr<StorageFile> file_;  // also of what is written behind
  SegmentHeader header_;
  Block key_block_;
  const DealerKey* dealer_;
  ChunkCipher cipher_;
  WriteBehind* behind_;
  BufferCache::Buffer piece_;      // sealed already; empty between pieces
  std::size_t filled_ = 0;         // of piece_
  std::uint64_t piece_start_ = 0;  // in the payload
  std::vector<std::uint8_t> tags_;
  std::uint64_t appended_ = 0;
};

}  // namespace beaverpond
