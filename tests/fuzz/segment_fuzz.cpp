// Everything of a pool that is read from a disk or a medium: headers, key blocks, chunks, keys.
//
// The first byte chooses what the others are. A segment that differs in one bit from what its
// dealer made, and is taken for sound, is a failure; so is any crash.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "offline/pool/import.h"
#include "offline/pool/ledger.h"
#include "offline/pool/segment.h"
#include "offline/pool/write_behind.h"
#include "tests/offline/pool/memory_disk.h"

namespace beaverpond::testing {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr char kSegment[] = "/m0/segment";
constexpr PublishedRange kRange{4, 3, {7}};

void require(bool condition) {
  if (!condition) std::abort();
}

template <class T>
T must(Result<T> result) {
  require(result.ok());
  return std::move(result).value();
}

void put(MemoryDisk& disk, const std::string& path, Bytes bytes) {
  (void)disk.unlink(path);
  const auto file = must(disk.open(path, Storage::Mode::kCreateNew));
  require(file->write_at(0, bytes).ok());
}

/// What stays the same from one input to the next.
struct Site {
  MemoryDisk disk;
  PoolIdentity identity;
  LaneKey lane;
  DealerKey dealer = must(DealerKey::generate());
  std::vector<PoolKey> key;  // one
  std::vector<LaneRatchet> ratchet;
  std::vector<std::uint8_t> travelling;
  std::vector<std::uint8_t> imported;
  std::vector<std::uint8_t> keys;

  Site() {
    identity.players = 2;
    require(disk.make_directory("/m0").ok());
    std::array<std::uint8_t, 32> secret{};
    secret.fill(3);
    put(disk, "/m0/pool.key", encode_pool_key(secret));
    key.push_back(must(PoolKey::read(disk, "/m0/pool.key")));
    ratchet.push_back(must(LaneRatchet::open(disk, "/m0", identity, lane, key[0])));
    keys = disk.content("/m0/keys");
    SegmentHeader header;
    header.pool = identity;
    header.key = lane;
    header.range = kRange;
    header.correction_size.value = 40000;
    const std::vector<Seed> seeds(kRange.count);
    WriteBehind behind(kChunkSizeBytes, 1);
    SegmentWriter writer = must(SegmentWriter::create(disk, kSegment, header, seeds,
                                                      {&dealer, key[0].public_key()}, behind));
    const std::vector<std::uint8_t> correction(40000, 5);
    for (std::uint64_t i = 0; i < header.corrections(); ++i) {
      require(writer.append_correction_blocking(correction).ok());
    }
    require(writer.finish_blocking().ok());
    travelling = disk.content(kSegment);
    require(import().ok());
    imported = disk.content(kSegment);
  }

  SegmentAccess access() const { return {dealer.public_key(), &key[0], &ratchet[0]}; }
  Result<std::uint64_t> import() {
    return import_segment_blocking(disk, kSegment, identity, lane, kRange, access(), 0);
  }

  /// Whether everything in the file is taken for the dealer's.
  bool is_sound() {
    auto reader = SegmentReader::open(disk, kSegment, identity, lane, kRange, access());
    if (!reader.ok() || !reader->verify_blocking().ok()) return false;
    BufferCache buffers(1);
    for (std::uint64_t n = kRange.first; n < kRange.end(); ++n) {
      if (!reader->read_bundle_blocking(n, buffers).ok()) return false;
    }
    return import().ok();
  }
};

Site& site() {
  static Site* const kSite = new Site;
  return *kSite;
}

/// Three bytes of where, one of what, again and again.
void edit(std::vector<std::uint8_t>& bytes, Bytes edits) {
  for (std::size_t i = 0; i + 4 <= edits.size(); i += 4) {
    bytes[load_le(edits, i, 3) % bytes.size()] ^= edits[i + 3];
  }
}

Block block_of(Bytes bytes) {
  Block block{};
  std::copy_n(bytes.begin(), std::min(bytes.size(), block.size()), block.begin());
  return block;
}

/// A header that passes its checksum, signed by the dealer of the roster if `sign`.
void reseal(std::vector<std::uint8_t>& file, bool sign) {
  Block block = block_of(file);
  seal_block(block);
  auto header = decode_segment_header(block, "x");
  if (header.ok() && sign) {
    header->sign(site().dealer);
    block = encode_segment_header(*header);
  }
  std::copy(block.begin(), block.end(), file.begin());
}

void fuzz_edits(Bytes input, bool after_import, int forge) {
  const std::vector<std::uint8_t>& good = after_import ? site().imported : site().travelling;
  std::vector<std::uint8_t> bytes = good;
  edit(bytes, input);
  if (forge > 0) reseal(bytes, forge > 1);
  const bool same = bytes == good;
  put(site().disk, kSegment, bytes);
  const bool sound = site().is_sound();
  // What the dealer itself signs is its affair; all else must be as it was.
  if (forge < 2) require(sound == same);
}

void fuzz_file(Bytes input) {
  put(site().disk, kSegment, input);
  require(!site().is_sound());
}

void fuzz_blocks(Bytes input) {
  Block block = block_of(input);
  (void)decode_key_block(block, "x");
  for (const bool sealed : {false, true}) {
    if (sealed) {
      std::copy_n("BPSEGM02", 8, block.begin());
      seal_block(block);
    }
    const auto header = decode_segment_header(block, "x");
    if (header.ok()) require(encode_segment_header(*header) == block);
  }
}

/// Two slots under checksums that fit, since a disk may hold anything.
void fuzz_slots(Bytes input) {
  MemoryDisk disk;
  require(disk.make_directory("/m0").ok());
  std::vector<std::uint8_t> bytes = site().keys;
  edit(bytes, input);
  for (std::size_t at = 0; at < bytes.size() && input.size() % 2 == 0; at += kBlockSize) {
    Block block = block_of(Bytes(bytes).subspan(at));
    seal_block(block);
    std::copy(block.begin(), block.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
  }
  put(disk, "/m0/keys", bytes);
  put(disk, "/m0/ledger", bytes);
  (void)LaneRatchet::peek(disk, "/m0", site().identity, site().lane, site().key[0]);
  (void)Ledger::peek(disk, "/m0", site().identity, site().lane);
}

void fuzz_small_files(Bytes input) {
  MemoryDisk disk;
  require(disk.make_directory("/m0").ok());
  for (const char* name : {"/m0/pool", "/m0/seal", "/m0/pool.key", "/m0/ledger"}) {
    put(disk, name, input);
  }
  (void)read_identity(disk, "/m0");
  require(!check_seal(disk, "/m0", site().key[0]).ok());
  (void)PoolKey::read(disk, "/m0/pool.key");
  (void)Ledger::peek(disk, "/m0", site().identity, site().lane);
  (void)parse_segment_name(std::string(input.begin(), input.end()), kSegmentSuffix);
}

}  // namespace
}  // namespace beaverpond::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace beaverpond::testing;
  if (size == 0) return 0;
  const Bytes input(data + 1, size - 1);
  switch (data[0] % 10) {
    case 0: fuzz_blocks(input); break;
    case 1: fuzz_file(input); break;
    case 2: fuzz_slots(input); break;
    case 3: fuzz_small_files(input); break;
    case 4: fuzz_edits(input, false, 0); break;
    case 5: fuzz_edits(input, true, 0); break;
    case 6: fuzz_edits(input, false, 1); break;
    case 7: fuzz_edits(input, true, 1); break;
    case 8: fuzz_edits(input, false, 2); break;
    default: fuzz_edits(input, true, 2); break;
  }
  return 0;
}
