#include "offline/pool/identity.h"

#include <cstring>

#include "offline/pool/block.h"

namespace beaverpond {
namespace {

// The table of offline/pool/README.md, "Identity".
constexpr char kMagic[9] = "BPPOOL01";
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kPlayerAt = 12;
constexpr std::size_t kPlayersAt = 16;
constexpr std::size_t kPoolIdAt = 24;
constexpr std::size_t kEpochAt = 40;
constexpr std::size_t kRosterAt = 48;
static_assert(kPoolIdAt + sizeof(PoolId) == kEpochAt && kEpochAt + 8 == kRosterAt);
static_assert(kRosterAt + sizeof(Hash256) == 80);

std::span<const std::uint8_t> magic_bytes() {
  return {reinterpret_cast<const std::uint8_t*>(kMagic), 8};
}

Block encode(const PoolIdentity& identity) {
  Block block{};
  store_bytes(block, 0, magic_bytes());
  store_le(block, kVersionAt, 1, 2);
  store_le(block, kPlayerAt, static_cast<std::uint64_t>(identity.player), 4);
  store_le(block, kPlayersAt, static_cast<std::uint64_t>(identity.players), 4);
  store_bytes(block, kPoolIdAt, identity.pool_id);
  store_le(block, kEpochAt, identity.epoch, 8);
  store_bytes(block, kRosterAt, identity.roster_hash);
  seal_block(block);
  return block;
}

Result<PoolIdentity> decode(const Block& block, std::size_t size, const std::string& path) {
  if (size != kBlockSize || std::memcmp(block.data(), kMagic, 8) != 0 || !is_sealed(block) ||
      load_le(block, kVersionAt, 2) != 1) {
    return make_error(ErrorCode::kPoolCorrupt,
                      "the pool identity " + path +
                          " is damaged; restore the file, or start an empty pool folder with a "
                          "new membership epoch");
  }
  PoolIdentity identity;
  identity.player = static_cast<int>(load_le(block, kPlayerAt, 4));
  identity.players = static_cast<int>(load_le(block, kPlayersAt, 4));
  load_bytes(block, kPoolIdAt, identity.pool_id);
  identity.epoch = load_le(block, kEpochAt, 8);
  load_bytes(block, kRosterAt, identity.roster_hash);
  return identity;
}

std::string differs(const char* what, const std::string& found, const std::string& expected) {
  return std::string(what) + " is " + found + ", expected " + expected;
}

}  // namespace

std::string describe_difference(const PoolIdentity& expected, const PoolIdentity& found) {
  if (expected.pool_id != found.pool_id) {
    return differs("its pool", to_hex(found.pool_id), to_hex(expected.pool_id));
  }
  if (expected.epoch != found.epoch) {
    return differs("its membership epoch", std::to_string(found.epoch),
                   std::to_string(expected.epoch));
  }
  if (expected.roster_hash != found.roster_hash) {
    return differs("its roster", to_hex(std::span(found.roster_hash).first(8)),
                   to_hex(std::span(expected.roster_hash).first(8)));
  }
  if (expected.player != found.player) {
    return differs("its player", std::to_string(found.player), std::to_string(expected.player));
  }
  if (expected.players != found.players) {
    return differs("its number of players", std::to_string(found.players),
                   std::to_string(expected.players));
  }
  return "";
}

Result<PoolIdentity> read_identity(Storage& storage, const std::string& directory) {
  const std::string path = directory + "/pool";
  BP_ASSIGN(const auto file, storage.open(path, Storage::Mode::kRead));
  Block block{};
  BP_ASSIGN(const std::size_t size, file->read_at(0, block));
  return decode(block, size, path);
}

namespace {

bool is_segment(const std::string& name) {
  return name.ends_with(kSegmentSuffix) || name.ends_with(kTemporarySuffix);
}

/// Overwrites the blocks of a file that hold keys: both slots of a ratchet, or the key block of a
/// segment. What is unlinked later may stay on the disk, and then cannot be opened.
Result<void> wipe_keys(Storage& storage, const std::string& path, std::uint64_t first_block,
                       std::uint64_t end_block) {
  BP_ASSIGN(const auto file, storage.open(path, Storage::Mode::kReadWrite));
  BP_ASSIGN(const std::uint64_t size, file->size());
  const Block zeros{};
  for (std::uint64_t block = first_block; block < end_block; ++block) {
    if (block * kBlockSize >= size) break;
    BP_TRY(file->write_at(block * kBlockSize, zeros));
  }
  return file->sync();
}

/// Removes the files of a lane: what could be spent first, then what says that it was.
Result<void> clear_lane(Storage& storage, const std::string& lane) {
  for (const bool segments : {true, false}) {
    BP_ASSIGN(const auto entries, storage.list(lane));
    for (const StorageEntry& entry : entries) {
      if (entry.is_directory || is_segment(entry.name) != segments) continue;
      const std::string path = lane + "/" + entry.name;
      if (segments) BP_TRY(wipe_keys(storage, path, 1, 2));
      if (entry.name == "keys") BP_TRY(wipe_keys(storage, path, 0, 2));
      BP_TRY(storage.unlink(path));
    }
    BP_TRY(storage.sync_directory(lane));
  }
  return {};
}

/// Removes what was on its way from the factory.
Result<void> clear_incoming(Storage& storage, const std::string& directory) {
  const std::string incoming = directory + "/incoming";
  BP_ASSIGN(const bool present, storage.exists(incoming));
  if (!present) return {};
  BP_ASSIGN(const auto entries, storage.list(incoming));
  for (const StorageEntry& entry : entries) {
    if (entry.is_directory) continue;
    const std::string path = incoming + "/" + entry.name;
    BP_TRY(wipe_keys(storage, path, 1, 2));
    BP_TRY(storage.unlink(path));
  }
  return storage.sync_directory(incoming);
}

/// Stands in the folder while an epoch is being started: what is left of ledgers says nothing then.
std::string epoch_marker(const std::string& directory) {
  return directory + "/pool.epoch" + kTemporarySuffix;
}

}  // namespace

Result<void> start_epoch_blocking(Storage& storage, const std::string& directory,
                                  const PoolIdentity& identity) {
  const std::string path = directory + "/pool";
  BP_TRY(ensure_pool_directory(storage, directory));
  BP_ASSIGN(const auto engine, storage.lock(directory + "/engine.lock"));
  BP_ASSIGN(const auto factory, storage.lock(directory + "/factory.lock"));
  BP_ASSIGN(const bool present, storage.exists(path));
  if (!present) return check_identity(storage, directory, identity, PoolUser::kEngine);
  BP_ASSIGN(const PoolIdentity found, read_identity(storage, directory));
  if (found == identity) return {};
  const bool same_place = found.pool_id == identity.pool_id && found.player == identity.player;
  if (!same_place || found.epoch >= identity.epoch) {
    return make_error(ErrorCode::kRosterMismatch,
                      "the folder " + directory + " cannot move to epoch " +
                          std::to_string(identity.epoch) +
                          " of this pool: " + describe_difference(identity, found) +
                          "; epochs only rise: give the same later epoch to all players");
  }
  const std::string temporary = epoch_marker(directory);
  BP_ASSIGN(const bool left_over, storage.exists(temporary));
  if (left_over) BP_TRY(storage.unlink(temporary));
  {
    BP_ASSIGN(const auto file, storage.open(temporary, Storage::Mode::kCreateNew));
    BP_TRY(file->write_at(0, encode(identity)));
    BP_TRY(file->sync());
  }
  BP_TRY(storage.sync_directory(directory));
  BP_TRY(clear_incoming(storage, directory));
  BP_ASSIGN(const auto plans, storage.list(directory));
  for (const StorageEntry& plan : plans) {
    if (!plan.is_directory) continue;
    BP_ASSIGN(const auto lanes, storage.list(directory + "/" + plan.name));
    for (const StorageEntry& lane : lanes) {
      if (!lane.is_directory) continue;
      BP_TRY(clear_lane(storage, directory + "/" + plan.name + "/" + lane.name));
    }
  }
  // Nothing is left that a copy of the folder could spend: it may be elsewhere, or under new keys.
  BP_ASSIGN(const bool sealed, storage.exists(directory + "/seal"));
  if (sealed) BP_TRY(storage.unlink(directory + "/seal"));
  BP_TRY(storage.rename(temporary, path));
  return storage.sync_directory(directory);
}

Result<void> check_identity(Storage& storage, const std::string& directory,
                            const PoolIdentity& identity, PoolUser user) {
  const std::string path = directory + "/pool";
  BP_ASSIGN(const bool unfinished, storage.exists(epoch_marker(directory)));
  if (unfinished) {
    return make_error(ErrorCode::kRosterMismatch,
                      "the folder " + directory +
                          " was being moved to a new membership epoch when that was cut short; "
                          "run `beaverpond epoch` again");
  }
  BP_ASSIGN(const bool present, storage.exists(path));
  if (!present) {
    const std::string temporary =
        path + (user == PoolUser::kEngine ? ".engine" : ".factory") + kTemporarySuffix;
    BP_TRY(create_file_atomically(storage, path, temporary, encode(identity)));
  }
  BP_ASSIGN(const PoolIdentity found, read_identity(storage, directory));
  const std::string difference = describe_difference(identity, found);
  if (!difference.empty()) {
    return make_error(
        ErrorCode::kRosterMismatch,
        "the folder " + directory + " holds another pool: " + difference +
            "; check the order of the pool folders and the roster file; after a new "
            "membership epoch run `beaverpond epoch` on every player, and give a factory that "
            "keeps a spool a new folder for it");
  }
  return {};
}

}  // namespace beaverpond
