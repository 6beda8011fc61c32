#include <openssl/crypto.h>

#include <algorithm>

#include "offline/pool/segment.h"

namespace beaverpond {

SegmentWriter::SegmentWriter(std::unique_ptr<StorageFile> file, SegmentHeader header)
    : file_(std::move(file)), header_(header) {
  chunk_.reserve(kChunkSizeBytes);
  table_.reserve(header_.table_size());
}

SegmentWriter::~SegmentWriter() {
  if (chunk_.capacity() != 0) OPENSSL_cleanse(chunk_.data(), chunk_.capacity());
}

Result<SegmentWriter> SegmentWriter::create(Storage& storage, const std::string& path,
                                            const SegmentHeader& header,
                                            std::span<const Seed> seeds) {
  BP_CHECK(seeds.size() == header.range.count, "one seed per bundle");
  BP_ASSIGN(auto file, storage.open(path, Storage::Mode::kCreateNew));
  SegmentWriter writer(std::move(file), header);
  for (const Seed& seed : seeds) BP_TRY(writer.append(seed.bytes()));
  return writer;
}

std::uint64_t SegmentWriter::position() const {
  return table_.size() / sizeof(Hash256) * kChunkSizeBytes + chunk_.size();
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
  if (!chunk_.empty()) BP_TRY(flush_chunk());
  BP_CHECK(table_.size() == header_.chunks() * sizeof(Hash256), "one hash per chunk");
  table_.resize(header_.table_size());
  header_.root = sha256(table_);
  BP_TRY(file_->write_at(kBlockSize, table_));
  BP_TRY(file_->write_at(0, encode_segment_header(header_)));
  return file_->sync();
}

Result<void> SegmentWriter::append(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const std::size_t size = std::min(bytes.size(), kChunkSizeBytes - chunk_.size());
    chunk_.insert(chunk_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    bytes = bytes.subspan(size);
    if (chunk_.size() == kChunkSizeBytes) BP_TRY(flush_chunk());
  }
  return {};
}

Result<void> SegmentWriter::pad_to(std::uint64_t payload_position) {
  const std::uint64_t at = position();
  BP_CHECK(at <= payload_position && payload_position - at < 64, "padding is less than 64 bytes");
  const std::vector<std::uint8_t> zeros(payload_position - at);
  return append(zeros);
}

Result<void> SegmentWriter::flush_chunk() {
  const std::uint64_t at = table_.size() / sizeof(Hash256) * kChunkSizeBytes;
  const Hash256 hash = sha256(chunk_);
  BP_TRY(file_->write_at(header_.payload_offset() + at, chunk_));
  table_.insert(table_.end(), hash.begin(), hash.end());
  chunk_.clear();
  return {};
}

}  // namespace beaverpond
