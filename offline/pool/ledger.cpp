#include "offline/pool/ledger.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "offline/pool/lane_block.h"

namespace beaverpond {
namespace {

// The table of offline/pool/README.md, "Ledger".
constexpr char kMagic[9] = "BPLEDG01";
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kSequenceAt = kLaneFieldsSize;
constexpr std::size_t kWatermarkAt = 88;
constexpr std::size_t kWitnessesAt = 96;
constexpr std::uint64_t kVersion = 1;
constexpr int kSlots = 2;

static_assert(kSequenceAt + 8 == kWatermarkAt && kWatermarkAt + 8 == kWitnessesAt);
static_assert(kWitnessesAt + kMaxPlayers * 8 <= kBlockHashOffset);

Block encode(const LedgerState& state, const PoolIdentity& pool, const LaneKey& key) {
  Block block = lane_block(kMagic, kVersion, pool, key);
  store_le(block, kSequenceAt, state.sequence, 8);
  store_le(block, kWatermarkAt, state.watermark, 8);
  for (std::size_t i = 0; i < state.witnesses.size(); ++i) {
    store_le(block, kWitnessesAt + 8 * i, state.witnesses[i], 8);
  }
  seal_block(block);
  return block;
}

bool is_slot(const Block& block) {
  if (std::memcmp(block.data(), kMagic, 8) != 0 || !is_sealed(block)) return false;
  for (std::size_t at = kWatermarkAt; at < kWitnessesAt + kMaxPlayers * 8; at += 8) {
    if (load_le(block, at, 8) >= kMaxBundleNumber) return false;
  }
  return load_le(block, kVersionAt, 2) == kVersion;
}

bool belongs_here(const Block& block, const PoolIdentity& pool, const LaneKey& key) {
  LedgerState none;
  const Block expected = encode(none, pool, key);
  return std::equal(expected.begin(), expected.begin() + kSequenceAt, block.begin());
}

LedgerState decode(const Block& block, int players) {
  LedgerState state;
  state.sequence = load_le(block, kSequenceAt, 8);
  state.watermark = load_le(block, kWatermarkAt, 8);
  for (int i = 0; i < players; ++i) {
    state.witnesses.push_back(load_le(block, kWitnessesAt + 8 * static_cast<std::size_t>(i), 8));
  }
  return state;
}

struct Slots {
  LedgerState state;
  int newer = 0;
};

Result<Slots> read_slots(StorageFile& file, const std::string& path, const PoolIdentity& pool,
                         const LaneKey& key) {
  std::optional<Slots> best;
  for (int slot = 0; slot < kSlots; ++slot) {
    Block block{};
    BP_ASSIGN(const std::size_t read,
              file.read_at(static_cast<std::uint64_t>(slot) * kBlockSize, block));
    if (read != block.size() || !is_slot(block)) continue;
    if (!belongs_here(block, pool, key)) {
      return make_error(ErrorCode::kRosterMismatch,
                        "the ledger " + path +
                            " belongs to another pool, player or lane; do not "
                            "copy ledgers: put the right one back");
    }
    LedgerState state = decode(block, pool.players);
    if (!best || state.sequence > best->state.sequence) best = Slots{std::move(state), slot};
  }
  if (!best) {
    return make_error(ErrorCode::kPoolCorrupt,
                      "both slots of the ledger " + path +
                          " are damaged, so it is not known which bundles were spent; remove the "
                          "file only if another player still has its ledger: the watermarks of "
                          "the others then decide. Otherwise start a new membership epoch");
  }
  return std::move(*best);
}

Result<void> create_ledger(Storage& storage, const std::string& path, const PoolIdentity& pool,
                           const LaneKey& key) {
  LedgerState state;
  state.sequence = 1;
  const Block slot = encode(state, pool, key);
  std::vector<std::uint8_t> bytes;
  for (int i = 0; i < kSlots; ++i) bytes.insert(bytes.end(), slot.begin(), slot.end());
  return create_file_atomically(storage, path, path + kTemporarySuffix, bytes);
}

}  // namespace

Ledger::Ledger(std::unique_ptr<StorageFile> file, std::string path, PoolIdentity pool, LaneKey key)
    : file_(std::move(file)), path_(std::move(path)), pool_(pool), key_(key) {}

Result<Ledger> Ledger::open(Storage& storage, const std::string& directory,
                            const PoolIdentity& pool, const LaneKey& key) {
  const std::string path = directory + "/ledger";
  BP_ASSIGN(const bool present, storage.exists(path));
  if (!present) BP_TRY(create_ledger(storage, path, pool, key));
  BP_ASSIGN(auto file, storage.open(path, Storage::Mode::kReadWrite));
  Ledger ledger(std::move(file), path, pool, key);
  BP_ASSIGN(Slots slots, read_slots(*ledger.file_, path, pool, key));
  ledger.state_ = std::move(slots.state);
  ledger.newer_slot_ = slots.newer;
  // An earlier process may have died between its write and its sync, or its sync may have failed
  // and the kernel forgotten about the write. The next write goes to the other slot, so what was
  // read here must be on the disk before that: it is written again, for a sync alone might not.
  BP_TRY(ledger.file_->write_at(static_cast<std::uint64_t>(slots.newer) * kBlockSize,
                                encode(ledger.state_, pool, key)));
  BP_TRY(ledger.file_->sync());
  return ledger;
}

Result<LedgerState> Ledger::peek(Storage& storage, const std::string& directory,
                                 const PoolIdentity& pool, const LaneKey& key) {
  const std::string path = directory + "/ledger";
  LedgerState none;
  none.witnesses.resize(static_cast<std::size_t>(pool.players));
  BP_ASSIGN(const bool present, storage.exists(path));
  if (!present) return none;
  BP_ASSIGN(const auto file, storage.open(path, Storage::Mode::kRead));
  BP_ASSIGN(Slots slots, read_slots(*file, path, pool, key));
  return std::move(slots.state);
}

Result<void> Ledger::advance_blocking(std::uint64_t watermark,
                                      const std::vector<std::uint64_t>& witnesses) {
  if (poisoned_) {
    return make_error(ErrorCode::kIo, "the ledger " + path_ +
                                          " failed earlier and what it holds is unknown; check "
                                          "the disk and start again");
  }
  BP_CHECK(watermark >= state_.watermark, "a watermark never falls");
  LedgerState next = state_;
  ++next.sequence;
  next.watermark = watermark;
  BP_CHECK(witnesses.size() == next.witnesses.size(), "one witness per player");
  for (std::size_t i = 0; i < witnesses.size(); ++i) {
    next.witnesses[i] = std::max(next.witnesses[i], witnesses[i]);
  }
  const int slot = 1 - newer_slot_;
  poisoned_ = true;  // until both calls below have succeeded
  BP_TRY(file_->write_at(static_cast<std::uint64_t>(slot) * kBlockSize, encode(next, pool_, key_)));
  BP_TRY(file_->sync());
  poisoned_ = false;
  state_ = std::move(next);
  newer_slot_ = slot;
  return {};
}

}  // namespace beaverpond
