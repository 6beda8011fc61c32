#include "offline/factory/spool.h"

#include <algorithm>

#include "offline/pool/export.h"
#include "offline/pool/ledger.h"

namespace beaverpond {

Spool::Spool(Storage& storage, std::vector<std::string> directories, const PoolIdentity& identity)
    : storage_(&storage), directories_(std::move(directories)), identity_(identity) {
  identity_.players = static_cast<int>(directories_.size());
}

void Spool::add_lanes(const std::vector<LaneKey>& lanes) {
  const std::lock_guard lock(mutex_);
  lanes_.insert(lanes_.end(), lanes.begin(), lanes.end());
  std::sort(lanes_.begin(), lanes_.end());
  lanes_.erase(std::unique(lanes_.begin(), lanes_.end()), lanes_.end());
}

std::string Spool::lane_of(int player, const LaneKey& key) const {
  return lane_directory(directories_[static_cast<std::size_t>(player)], key);
}

PoolIdentity Spool::identity_of(int player) const {
  PoolIdentity identity = identity_;
  identity.player = player;
  return identity;
}

Result<SyncAnswer> Spool::sync_blocking(int player, const SyncRequest& request) {
  BP_CHECK(player >= 0 && player < identity_.players, "a player of the roster");
  const std::lock_guard lock(mutex_);
  SyncAnswer answer;
  answer.lanes = lanes_;
  // A lane that was taken out of the configuration is served until its bundles are gone.
  std::vector<LaneKey> keys = lanes_;
  for (const LaneWatermark& lane : request.lanes) {
    BP_TRY(take_watermark(player, lane));
    keys.push_back(lane.key);
  }
  for (const LaneRange& what : request.staged) keys.push_back(what.key);
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  for (const LaneKey& key : keys) BP_TRY(answer_lane(player, key, request, answer));
  return answer;
}

/// What is spent needs no place any more; the ledger keeps its number for ever.
Result<void> Spool::take_watermark(int player, const LaneWatermark& lane) {
  if (lane.watermark == 0) return {};
  // A folder is named by a part of the plan's hash: only lanes that the factory fills, or filled,
  // get a ledger.
  if (std::find(lanes_.begin(), lanes_.end(), lane.key) == lanes_.end()) {
    BP_ASSIGN(const LedgerState known,
              Ledger::peek(*storage_, lane_of(player, lane.key), identity_of(player), lane.key));
    if (known.sequence == 0) return {};
  }
  BP_ASSIGN(
      const std::string folder,
      ensure_lane_directory(*storage_, directories_[static_cast<std::size_t>(player)], lane.key));
  BP_ASSIGN(Ledger ledger, Ledger::open(*storage_, folder, identity_of(player), lane.key));
  if (lane.watermark > ledger.watermark()) {
    BP_TRY(
        ledger.advance_blocking(lane.watermark, std::vector<std::uint64_t>(directories_.size())));
  }
  BP_ASSIGN(const auto ranges, list_ranges(*storage_, folder, kSegmentSuffix));
  for (const PublishedRange& range : ranges) {
    if (range.end() > ledger.watermark()) continue;
    BP_TRY(storage_->unlink(folder + "/" + segment_name(range, kSegmentSuffix)));
  }
  return storage_->sync_directory(folder);
}

Result<std::vector<Spool::Entry>> Spool::entries(int player, const LaneKey& key) {
  std::vector<Entry> found;
  const std::string folder = lane_of(player, key);
  BP_ASSIGN(const bool present, storage_->exists(folder));
  if (!present) return found;
  BP_ASSIGN(const auto listed, storage_->list(folder));
  for (const StorageEntry& file : listed) {
    if (file.is_directory) continue;
    if (const auto range = parse_segment_name(file.name, kSegmentSuffix)) {
      found.push_back({{key, *range}, file.size_bytes});
    }
  }
  std::sort(found.begin(), found.end(),
            [](const Entry& a, const Entry& b) { return a.what < b.what; });
  return found;
}

Result<void> Spool::acknowledge(int player, const LaneRange& what) {
  return leave_name_blocking(*storage_, lane_of(player, what.key), what.range);
}

Result<void> Spool::answer_lane(int player, const LaneKey& key, const SyncRequest& request,
                                SyncAnswer& answer) {
  std::vector<std::vector<Entry>> by_player;
  for (int other = 0; other < identity_.players; ++other) {
    BP_ASSIGN(auto found, entries(other, key));
    by_player.push_back(std::move(found));
  }
  // The other players' entry of a range, by player; nullptr where one has none.
  const auto entry_of = [&](int other, const LaneRange& what) -> const Entry* {
    for (const Entry& entry : by_player[static_cast<std::size_t>(other)]) {
      if (entry.what == what) return &entry;
    }
    return nullptr;
  };
  const auto all = [&](const LaneRange& what, auto holds) {
    for (int other = 0; other < identity_.players; ++other) {
      const Entry* const entry = entry_of(other, what);
      if (entry == nullptr || !holds(other, *entry)) return false;
    }
    return true;
  };
  const auto complete = [&](const LaneRange& what) {
    return all(what, [](int, const Entry&) { return true; });
  };
  for (const LaneRange& what : request.staged) {
    if (what.key != key) continue;
    // Not complete: the factory died while it published, or all is spent that could be.
    if (!complete(what)) {
      answer.drop.push_back(what);
      continue;
    }
    if (entry_of(player, what)->size_bytes != 0) {
      BP_TRY(acknowledge(player, what));
    } else {  // an earlier process may have died before this was durable
      BP_TRY(storage_->sync_directory(lane_of(player, key)));
    }
    const bool held = all(what, [player](int other, const Entry& entry) {
      return other == player || entry.size_bytes == 0;
    });
    if (held) answer.publish.push_back(what);
  }
  BP_ASSIGN(const LedgerState ledger,
            Ledger::peek(*storage_, lane_of(player, key), identity_of(player), key));
  for (const Entry& entry : by_player[static_cast<std::size_t>(player)]) {
    if (entry.what.range.first < ledger.watermark) continue;  // the player would refuse it
    const bool staged =
        std::find(request.staged.begin(), request.staged.end(), entry.what) != request.staged.end();
    if (entry.size_bytes == 0 || staged || !complete(entry.what)) continue;
    SegmentOffer offer;
    offer.what = entry.what;
    offer.size_bytes = entry.size_bytes;
    answer.offers.push_back(offer);
  }
  return {};
}

Result<std::unique_ptr<StorageFile>> Spool::open(int player, const LaneRange& what) {
  return storage_->open(lane_of(player, what.key) + "/" + segment_name(what.range, kSegmentSuffix),
                        Storage::Mode::kRead);
}

}  // namespace beaverpond
