#include <algorithm>
#include <utility>

#include "offline/pool/segment.h"

namespace beaverpond {
namespace {

/// Fresh for this file: random bytes, and its first seed, which is as secret and differs in every
/// segment even where the generator of a cloned machine repeats.
Result<SecretKey> draw_file_key(const SegmentHeader& header, const Seed& first,
                                const EntropySource& entropy) {
  SecretKey drawn;
  BP_TRY(entropy(drawn.mutable_bytes()));
  const SecretKey mixed = hkdf(drawn.bytes(), first.bytes(), "beaverpond file key mix v1");
  return hkdf(mixed.bytes(), header.salt, "beaverpond file key v1", header.range.set_id);
}

}  // namespace

SegmentWriter::SegmentWriter(std::unique_ptr<StorageFile> file, SegmentHeader header,
                             const Block& key_block, const SecretKey& file_key,
                             const DealerKey* dealer, WriteBehind* behind)
    : file_(std::move(file)),
      header_(header),
      key_block_(key_block),
      dealer_(dealer),
      cipher_(ChunkCipher::Direction::kSeal, file_key, header_.context()),
      behind_(behind) {
  BP_CHECK(behind->piece_bytes() % kChunkSizeBytes == 0, "pieces of whole chunks");
  tags_.reserve(header_.table_size());
}

Result<SegmentWriter> SegmentWriter::create(Storage& storage, const std::string& path,
                                            const SegmentHeader& header,
                                            std::span<const Seed> seeds,
                                            const SegmentSealing& sealing, WriteBehind& behind) {
  BP_CHECK(seeds.size() == header.range.count, "one seed per bundle");
  BP_CHECK(sealing.dealer != nullptr, "somebody signs");
  SegmentHeader sealed = header;
  sealed.root = {};
  sealed.signature = {};
  BP_TRY(sealing.entropy(sealed.salt));
  BP_ASSIGN(const SecretKey file_key, draw_file_key(sealed, seeds[0], sealing.entropy));
  sealed.key_commitment = key_commitment(file_key, sealed.salt);
  BP_ASSIGN(const Block key_block,
            seal_for_transport(file_key, sealed, sealing.recipient, sealing.entropy));
  BP_ASSIGN(auto file, storage.open(path, Storage::Mode::kCreateNew));
  file->bypass_cache();
  SegmentWriter writer(std::move(file), sealed, key_block, file_key, sealing.dealer, &behind);
  for (const Seed& seed : seeds) BP_TRY(writer.append(seed.bytes()));
  return writer;
}

Result<void> SegmentWriter::append_correction_blocking(std::span<const std::uint8_t> correction) {
  BP_CHECK(appended_ < header_.corrections(), "more corrections than the segment holds");
  BP_CHECK(correction.size() == header_.correction_size.value, "a correction of another size");
  const std::uint64_t all = header_.payload_size();
  const std::uint64_t stride = (correction.size() + 63) / 64 * 64;
  BP_TRY(pad_to(all - (header_.corrections() - appended_) * stride));
  ++appended_;
  return append(correction);
}

Result<void> SegmentWriter::finish_blocking() {
  BP_CHECK(appended_ == header_.corrections(), "a segment is finished before it is full");
  BP_TRY(pad_to(header_.payload_size()));
  if (filled_ % kChunkSizeBytes != 0) finish_chunk();
  if (filled_ != 0) BP_TRY(flush_piece());
  BP_CHECK(tags_.size() == header_.chunks() * sizeof(CipherTag), "one tag per chunk");
  tags_.resize(header_.table_size());
  header_.root = sha256(tags_);
  header_.sign(*dealer_);
  BP_TRY(behind_->drain_blocking());
  BP_TRY(file_->write_at(SegmentHeader::kTableOffset, tags_));
  BP_TRY(file_->write_at(kBlockSize, key_block_));
  BP_TRY(file_->write_at(0, encode_segment_header(header_)));
  return file_->sync();
}

Result<void> SegmentWriter::append(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    if (piece_.owner == nullptr) {
      BP_ASSIGN(piece_, behind_->take());
    }
    const std::size_t in_chunk = filled_ % kChunkSizeBytes;
    if (in_chunk == 0) cipher_.start(tags_.size() / sizeof(CipherTag));
    const std::size_t size = std::min(bytes.size(), kChunkSizeBytes - in_chunk);
    cipher_.update(bytes.first(size), piece_.bytes.data() + filled_);
    filled_ += size;
    bytes = bytes.subspan(size);
    if (filled_ % kChunkSizeBytes == 0) finish_chunk();
    if (filled_ == piece_.bytes.size()) BP_TRY(flush_piece());
  }
  return {};
}

Result<void> SegmentWriter::pad_to(std::uint64_t payload_position) {
  const std::uint64_t at = position();
  BP_CHECK(at <= payload_position && payload_position - at < 64, "padding is less than 64 bytes");
  const std::vector<std::uint8_t> zeros(payload_position - at);
  return append(zeros);
}

void SegmentWriter::finish_chunk() {
  const CipherTag tag = cipher_.finish();
  tags_.insert(tags_.end(), tag.begin(), tag.end());
}

Result<void> SegmentWriter::flush_piece() {
  const std::uint64_t at = header_.payload_offset() + piece_start_;
  piece_start_ += filled_;
  return behind_->write_blocking(file_, at, std::exchange(piece_, {}), std::exchange(filled_, 0));
}

}  // namespace beaverpond
