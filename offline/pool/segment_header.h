// The header of a segment: what its dealer says about it, signed.
#pragma once

#include <string>

#include "beaverpond/bundle.h"
#include "beaverpond/seed.h"
#include "beaverpond/units.h"
#include "offline/pool/block.h"
#include "offline/pool/dealer_key.h"
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
  Scheme scheme = Scheme::kAllPlayers;
  ByteCount correction_size;  ///< of one bundle
  Hash256 salt{};             ///< fresh for every file
  Hash256 key_commitment{};   ///< of the file key
  Hash256 root{};             ///< SHA-256 of the padded table of tags
  Signature signature{};

  /// Bundles of the range whose correction lies in this file.
  std::uint64_t corrections() const;
  /// Place of the correction of bundle `number` in the payload; its player must be designated.
  std::uint64_t correction_offset(std::uint64_t number) const;
  std::uint64_t payload_size() const;
  std::uint64_t chunks() const { return (payload_size() + kChunkSizeBytes - 1) / kChunkSizeBytes; }
  /// The table of tags, padded with zeros to a multiple of 4 KiB.
  std::uint64_t table_size() const;
  /// The key block lies at kBlockSize, the table follows it, and the payload the table.
  static constexpr std::uint64_t kTableOffset = 2 * kBlockSize;
  std::uint64_t payload_offset() const { return kTableOffset + table_size(); }
  std::uint64_t file_size() const { return payload_offset() + payload_size(); }

  /// Names everything but root and signature, which are made after the chunks: the associated data
  /// of every chunk and of the wrapped key.
  Hash256 context() const;
  void sign(const DealerKey& dealer);
  bool is_signed_by(const PublicKey& dealer) const;
};

Block encode_segment_header(const SegmentHeader& header);
/// Errors: kPoolCorrupt; `file` is only for the message. Every derived size is in bounds after it.
/// Does not look at the signature.
Result<SegmentHeader> decode_segment_header(const Block& block, const std::string& file);

}  // namespace beaverpond
