#include "offline/pool/ratchet.h"

#include <cstring>
#include <optional>

#include "offline/pool/cipher.h"
#include "offline/pool/lane_block.h"
#include "offline/pool/random.h"

namespace beaverpond {
namespace {

// The table of offline/pool/README.md, "Ratchet".
constexpr char kMagic[9] = "BPKEYS01";
constexpr std::size_t kSequenceAt = kLaneFieldsSize;
constexpr std::size_t kBaseAt = 88;
constexpr std::size_t kNonceAt = 96;
constexpr std::size_t kWrappedAt = 108;
constexpr std::size_t kTagAt = 140;
constexpr std::uint64_t kVersion = 1;
static_assert(kSequenceAt + 8 == kBaseAt && kBaseAt + 8 == kNonceAt);
static_assert(kNonceAt + sizeof(WrapNonce) == kWrappedAt);
static_assert(kWrappedAt + SecretKey::kSize == kTagAt);

/// Everything up to the sequence.
Block owner_fields(const PoolIdentity& pool, const LaneKey& lane) {
  return lane_block(kMagic, kVersion, pool, lane);
}

bool is_slot(const Block& slot, std::size_t size) {
  return size == slot.size() && std::memcmp(slot.data(), kMagic, 8) == 0 && is_sealed(slot);
}

Result<Block> encode(const PoolIdentity& pool, const LaneKey& lane, std::uint64_t sequence,
                     std::uint64_t base, const SecretKey& key, const SecretKey& wrap) {
  Block block = owner_fields(pool, lane);
  store_le(block, kSequenceAt, sequence, 8);
  store_le(block, kBaseAt, base, 8);
  WrapNonce nonce{};
  BP_TRY(fill_random_blocking(nonce));  // a ledger of sequences could be rolled back
  store_bytes(block, kNonceAt, nonce);
  const WrappedKey wrapped = wrap_key(wrap, nonce, std::span(block).first(kNonceAt), key);
  store_bytes(block, kWrappedAt, wrapped.bytes);
  store_bytes(block, kTagAt, wrapped.tag);
  seal_block(block);
  return block;
}

SecretKey next_key(const SecretKey& key) {
  return hkdf(key.bytes(), {}, "next");
}

Error foreign(const std::string& path, const char* what) {
  return make_error(ErrorCode::kRosterMismatch, "the keys " + path + " belong to " + what +
                                                    "; do not copy them: put the right file back");
}

constexpr char kRemedy[] =
    "; the segments of this lane cannot be opened: run `triple-factory repair`, which burns them";

SecretKey wrap_of(const PoolKey& key, const PoolIdentity& pool, const LaneKey& lane) {
  const Block owner = owner_fields(pool, lane);
  return key.ratchet_key(std::span(owner).first(kSequenceAt));
}

}  // namespace

LaneRatchet::LaneRatchet(std::unique_ptr<StorageFile> file, std::string path, PoolIdentity pool,
                         LaneKey lane, SecretKey wrap)
    : file_(std::move(file)),
      path_(std::move(path)),
      pool_(pool),
      lane_(lane),
      wrap_(std::move(wrap)) {}

Result<LaneRatchet> LaneRatchet::open(Storage& storage, const std::string& directory,
                                      const PoolIdentity& pool, const LaneKey& lane,
                                      const PoolKey& key) {
  const std::string path = directory + "/keys";
  SecretKey wrap = wrap_of(key, pool, lane);
  BP_ASSIGN(const bool present, storage.exists(path));
  if (!present) {
    SecretKey first;
    BP_TRY(fill_random_blocking(first.mutable_bytes()));
    BP_ASSIGN(const Block slot, encode(pool, lane, 1, 0, first, wrap));
    std::vector<std::uint8_t> both(slot.begin(), slot.end());
    both.insert(both.end(), slot.begin(), slot.end());
    BP_TRY(create_file_atomically(storage, path, path + kTemporarySuffix, both));
  }
  BP_ASSIGN(auto file, storage.open(path, Storage::Mode::kReadWrite));
  LaneRatchet ratchet(std::move(file), path, pool, lane, std::move(wrap));
  // An earlier process may have died between its write and its sync, or its sync may have failed:
  // what is read here is written again before the other slot is touched, and then that one too.
  BP_TRY(ratchet.load());
  BP_TRY(ratchet.write_slot(ratchet.newer_slot_, ratchet.newest_));
  BP_TRY(ratchet.write_slot(1 - ratchet.newer_slot_, ratchet.newest_));
  return ratchet;
}

Result<LaneRatchet> LaneRatchet::peek(Storage& storage, const std::string& directory,
                                      const PoolIdentity& pool, const LaneKey& lane,
                                      const PoolKey& key) {
  const std::string path = directory + "/keys";
  BP_ASSIGN(const bool present, storage.exists(path));
  if (!present) {
    return make_error(ErrorCode::kPoolCorrupt, "the keys " + path + " are missing" + kRemedy);
  }
  BP_ASSIGN(auto file, storage.open(path, Storage::Mode::kRead));
  LaneRatchet ratchet(std::move(file), path, pool, lane, wrap_of(key, pool, lane));
  BP_TRY(ratchet.load());
  ratchet.poisoned_ = true;  // a reader never writes
  return ratchet;
}

Result<bool> LaneRatchet::has_valid_slot(Storage& storage, const std::string& directory) {
  BP_ASSIGN(const auto file, storage.open(directory + "/keys", Storage::Mode::kRead));
  for (std::uint64_t i = 0; i < 2; ++i) {
    Block slot{};
    BP_ASSIGN(const std::size_t size, file->read_at(i * kBlockSize, slot));
    if (is_slot(slot, size)) return true;
  }
  return false;
}

Result<void> LaneRatchet::load() {
  const Block owner = owner_fields(pool_, lane_);
  std::array<Block, 2> slots{};
  std::optional<int> best;
  for (int i = 0; i < 2; ++i) {
    Block& slot = slots[static_cast<std::size_t>(i)];
    BP_ASSIGN(const std::size_t size,
              file_->read_at(static_cast<std::uint64_t>(i) * kBlockSize, slot));
    if (!is_slot(slot, size)) continue;
    if (!std::equal(owner.begin(), owner.begin() + kSequenceAt, slot.begin())) {
      return foreign(path_, "another pool, player or lane");
    }
    const std::uint64_t sequence = load_le(slot, kSequenceAt, 8);
    if (best && sequence <= sequence_) continue;
    best = i;
    sequence_ = sequence;
  }
  if (!best) {
    return make_error(ErrorCode::kPoolCorrupt,
                      "both slots of the keys " + path_ + " are damaged" + kRemedy);
  }
  newer_slot_ = *best;
  newest_ = slots[static_cast<std::size_t>(*best)];
  base_ = load_le(newest_, kBaseAt, 8);
  WrapNonce nonce{};
  WrappedKey wrapped;
  load_bytes(newest_, kNonceAt, nonce);
  load_bytes(newest_, kWrappedAt, wrapped.bytes);
  load_bytes(newest_, kTagAt, wrapped.tag);
  auto key = unwrap_key(wrap_, nonce, std::span(newest_).first(kNonceAt), wrapped);
  if (!key) return foreign(path_, "a pool with another key file");
  key_ = std::move(*key);
  return {};
}

Result<SecretKey> LaneRatchet::key_at(std::uint64_t number) const {
  if (number < base_ || number - base_ > kMaxSteps) {
    return make_error(ErrorCode::kPoolCorrupt,
                      "key " + std::to_string(number) + " of " + path_ +
                          (number < base_ ? " was erased: its segment was spent before"
                                          : " is out of reach: its segment is damaged"));
  }
  SecretKey key = key_.copy();
  for (std::uint64_t i = base_; i < number; ++i) key = next_key(key);
  return key;
}

Result<void> LaneRatchet::write_slot(int slot, const Block& block) {
  poisoned_ = true;  // until both calls have succeeded
  BP_TRY(file_->write_at(static_cast<std::uint64_t>(slot) * kBlockSize, block));
  BP_TRY(file_->sync());
  poisoned_ = false;
  return {};
}

Result<void> LaneRatchet::erase_below_blocking(std::uint64_t number) {
  if (poisoned_) {
    return make_error(ErrorCode::kIo, "the keys " + path_ +
                                          " failed earlier and what the file holds is unknown; "
                                          "check the disk and start again");
  }
  if (number <= base_) return {};
  BP_ASSIGN(SecretKey key, key_at(number));
  BP_ASSIGN(const Block block, encode(pool_, lane_, sequence_ + 1, number, key, wrap_));
  const int older = 1 - newer_slot_;
  // The older slot first: until it is whole on the disk, the newer one is the only good one.
  BP_TRY(write_slot(older, block));
  BP_TRY(write_slot(newer_slot_, block));
  ++sequence_;
  base_ = number;
  key_ = std::move(key);
  newest_ = block;
  newer_slot_ = older;
  return {};
}

}  // namespace beaverpond
