#include "offline/pool/segment_header.h"

#include <cstring>
#include <string_view>
#include <vector>

#include "beaverpond/bundle.h"

namespace beaverpond {
namespace {

// The table of offline/pool/README.md, "Segment".
constexpr char kMagic[9] = "BPSEGM02";
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kPrgAt = 10;
constexpr std::size_t kPlayerAt = 12;
constexpr std::size_t kPlayersAt = 16;
constexpr std::size_t kLaneAt = 20;
constexpr std::size_t kPoolIdAt = 24;
constexpr std::size_t kEpochAt = 40;
constexpr std::size_t kRosterAt = 48;
constexpr std::size_t kPlanAt = 80;
constexpr std::size_t kSetIdAt = 112;
constexpr std::size_t kFirstAt = 128;
constexpr std::size_t kCountAt = 136;
constexpr std::size_t kCorrectionSizeAt = 144;
constexpr std::size_t kPayloadSizeAt = 152;
constexpr std::size_t kChunkSizeAt = 160;
constexpr std::size_t kSchemeAt = 164;
constexpr std::size_t kSaltAt = 168;
constexpr std::size_t kCommitmentAt = 200;
constexpr std::size_t kRootAt = 232;
constexpr std::size_t kSignatureAt = 264;
constexpr std::uint64_t kVersion = 2;
constexpr std::uint64_t kAlignment = 64;
constexpr std::uint64_t kTagSize = 16;

static_assert(kPoolIdAt + sizeof(PoolId) == kEpochAt && kEpochAt + 8 == kRosterAt);
static_assert(kRosterAt + sizeof(Hash256) == kPlanAt && kPlanAt + sizeof(Hash256) == kSetIdAt);
static_assert(kSetIdAt + sizeof(SetId) == kFirstAt && kCountAt + 8 == kCorrectionSizeAt);
static_assert(kPayloadSizeAt + 8 == kChunkSizeAt && kChunkSizeAt + 4 == kSchemeAt);
static_assert(kSchemeAt + 4 == kSaltAt && kSaltAt + sizeof(Hash256) == kCommitmentAt);
static_assert(kCommitmentAt + sizeof(Hash256) == kRootAt);
static_assert(kRootAt + sizeof(Hash256) == kSignatureAt);
static_assert(kSignatureAt + sizeof(Signature) <= kBlockHashOffset);
static_assert(kChunkSizeBytes % kAlignment == 0 && kBlockSize % kAlignment == 0);
static_assert(Seed::kSize == 32);

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

std::uint64_t holders_of(const SegmentHeader& header) {
  return static_cast<std::uint64_t>(share_holders(header.scheme, header.pool.players));
}

/// The first number of the range that its player, who holds shares, is designated for.
std::uint64_t first_designated(const SegmentHeader& header) {
  const std::uint64_t n = holders_of(header);
  const std::uint64_t first = header.range.first;
  return first + (static_cast<std::uint64_t>(header.pool.player) + n - first % n) % n;
}

bool fields_in_bounds(const SegmentHeader& header) {
  return header.pool.players >= 2 && header.pool.players <= kMaxPlayers &&
         header.pool.player >= 0 && header.pool.player < header.pool.players &&
         header.range.count >= 1 && header.range.count <= kMaxSegmentBundles &&
         header.range.first < (std::uint64_t{1} << 62) &&
         header.correction_size.value <= kMaxCorrectionBytes &&
         (header.scheme == Scheme::kAllPlayers ||
          (header.scheme == Scheme::kFirstTwo && header.pool.players == 3)) &&
         (header.prg == PrgKind::kAes128Ctr || header.prg == PrgKind::kChaCha20);
}

/// A purpose and the first `size` bytes of the encoded header.
std::vector<std::uint8_t> tagged_bytes(std::string_view purpose, const SegmentHeader& header,
                                       std::size_t size) {
  const Block block = encode_segment_header(header);
  std::vector<std::uint8_t> bytes(purpose.begin(), purpose.end());
  bytes.push_back(0);
  bytes.insert(bytes.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(size));
  return bytes;
}

std::vector<std::uint8_t> signed_bytes(const SegmentHeader& header) {
  return tagged_bytes("beaverpond segment signature v2", header, kSignatureAt);
}

}  // namespace

std::uint64_t SegmentHeader::corrections() const {
  if (static_cast<std::uint64_t>(pool.player) >= holders_of(*this)) return 0;
  const std::uint64_t first = first_designated(*this);
  if (first >= range.end()) return 0;
  return (range.end() - 1 - first) / holders_of(*this) + 1;
}

std::uint64_t SegmentHeader::correction_offset(std::uint64_t number) const {
  BP_CHECK(designated_player(number, pool.players, scheme) == pool.player,
           "no correction in this file");
  const std::uint64_t index = (number - first_designated(*this)) / holders_of(*this);
  return round_up(range.count * Seed::kSize, kAlignment) +
         index * round_up(correction_size.value, kAlignment);
}

std::uint64_t SegmentHeader::payload_size() const {
  return round_up(range.count * Seed::kSize, kAlignment) +
         corrections() * round_up(correction_size.value, kAlignment);
}

std::uint64_t SegmentHeader::table_size() const {
  return round_up(chunks() * kTagSize, kBlockSize);
}

Hash256 SegmentHeader::context() const {
  return sha256(tagged_bytes("beaverpond segment context v2", *this, kRootAt));
}

void SegmentHeader::sign(const DealerKey& dealer) {
  signature = dealer.sign(signed_bytes(*this));
}

bool SegmentHeader::is_signed_by(const PublicKey& dealer) const {
  return verify_signature(dealer, signed_bytes(*this), signature);
}

Block encode_segment_header(const SegmentHeader& header) {
  BP_CHECK(fields_in_bounds(header), "a segment header outside its bounds");
  Block block{};
  store_bytes(block, 0, {reinterpret_cast<const std::uint8_t*>(kMagic), 8});
  store_le(block, kVersionAt, kVersion, 2);
  store_le(block, kPrgAt, static_cast<std::uint64_t>(header.prg), 2);
  store_le(block, kPlayerAt, static_cast<std::uint64_t>(header.pool.player), 4);
  store_le(block, kPlayersAt, static_cast<std::uint64_t>(header.pool.players), 4);
  store_le(block, kLaneAt, header.key.lane, 4);
  store_bytes(block, kPoolIdAt, header.pool.pool_id);
  store_le(block, kEpochAt, header.pool.epoch, 8);
  store_bytes(block, kRosterAt, header.pool.roster_hash);
  store_bytes(block, kPlanAt, header.key.plan);
  store_bytes(block, kSetIdAt, header.range.set_id);
  store_le(block, kFirstAt, header.range.first, 8);
  store_le(block, kCountAt, header.range.count, 8);
  store_le(block, kCorrectionSizeAt, header.correction_size.value, 8);
  store_le(block, kPayloadSizeAt, header.payload_size(), 8);
  store_le(block, kChunkSizeAt, kChunkSizeBytes, 4);
  store_le(block, kSchemeAt, static_cast<std::uint64_t>(header.scheme), 4);
  store_bytes(block, kSaltAt, header.salt);
  store_bytes(block, kCommitmentAt, header.key_commitment);
  store_bytes(block, kRootAt, header.root);
  store_bytes(block, kSignatureAt, header.signature);
  seal_block(block);
  return block;
}

Result<SegmentHeader> decode_segment_header(const Block& block, const std::string& file) {
  const auto corrupt = [&file](const char* what) {
    return make_error(ErrorCode::kPoolCorrupt,
                      "the header of segment " + file + " " + what +
                          "; run `triple-factory repair`, which burns its bundles");
  };
  if (std::memcmp(block.data(), kMagic, 8) != 0) return corrupt("is not one of ours");
  if (!is_sealed(block)) return corrupt("is damaged");
  if (load_le(block, kVersionAt, 2) != kVersion) return corrupt("has another format version");
  SegmentHeader header;
  header.prg = static_cast<PrgKind>(load_le(block, kPrgAt, 2));
  header.pool.player = static_cast<int>(load_le(block, kPlayerAt, 4));
  header.pool.players = static_cast<int>(load_le(block, kPlayersAt, 4));
  header.key.lane = static_cast<std::uint32_t>(load_le(block, kLaneAt, 4));
  load_bytes(block, kPoolIdAt, header.pool.pool_id);
  header.pool.epoch = load_le(block, kEpochAt, 8);
  load_bytes(block, kRosterAt, header.pool.roster_hash);
  load_bytes(block, kPlanAt, header.key.plan);
  load_bytes(block, kSetIdAt, header.range.set_id);
  header.range.first = load_le(block, kFirstAt, 8);
  header.range.count = load_le(block, kCountAt, 8);
  header.correction_size.value = load_le(block, kCorrectionSizeAt, 8);
  load_bytes(block, kSaltAt, header.salt);
  load_bytes(block, kCommitmentAt, header.key_commitment);
  load_bytes(block, kRootAt, header.root);
  load_bytes(block, kSignatureAt, header.signature);
  header.scheme = static_cast<Scheme>(load_le(block, kSchemeAt, 4));
  if (header.scheme != Scheme::kAllPlayers && header.scheme != Scheme::kFirstTwo) {
    return corrupt("is of another sharing scheme");
  }
  if (!fields_in_bounds(header)) return corrupt("holds impossible values");
  if (load_le(block, kPayloadSizeAt, 8) != header.payload_size() ||
      load_le(block, kChunkSizeAt, 4) != kChunkSizeBytes) {
    return corrupt("holds impossible sizes");
  }
  if (encode_segment_header(header) != block) return corrupt("has bytes that no factory writes");
  return header;
}

}  // namespace beaverpond
