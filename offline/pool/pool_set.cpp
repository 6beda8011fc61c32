#include "offline/pool/pool_set.h"

#include <algorithm>

#include "offline/pool/ledger.h"

namespace beaverpond {

std::vector<PublishedRange> common_ranges(
    const std::vector<std::vector<PublishedRange>>& by_player) {
  std::vector<PublishedRange> common;
  for (std::size_t i = 0; i < by_player.size(); ++i) {
    if (i == 0) {
      common = by_player[0];
      continue;
    }
    std::vector<PublishedRange> both;
    std::set_intersection(common.begin(), common.end(), by_player[i].begin(), by_player[i].end(),
                          std::back_inserter(both));
    common = std::move(both);
  }
  return common;
}

Result<PoolSet> PoolSet::open(const PoolSetOptions& options) {
  BP_CHECK(options.storage != nullptr, "a pool set needs a storage");
  const std::size_t players = options.directories.size();
  if (players < 2 || players > static_cast<std::size_t>(kMaxPlayers)) {
    return make_error(ErrorCode::kConfig, std::to_string(players) +
                                              " pool folders were given; a roster has 2 to 64 "
                                              "players, each with its own");
  }
  PoolSet set(options);
  for (int player = 0; player < set.players(); ++player) {
    const std::string& directory = set.directory(player);
    BP_TRY(ensure_pool_directory(*options.storage, directory));
    BP_ASSIGN(auto lock, options.storage->lock(directory + "/factory.lock"));
    set.locks_.push_back(std::move(lock));
    BP_TRY(check_identity(*options.storage, directory, set.identity(player), PoolUser::kFactory));
  }
  return set;
}

const std::string& PoolSet::directory(int player) const {
  return options_.directories[static_cast<std::size_t>(player)];
}

PoolIdentity PoolSet::identity(int player) const {
  PoolIdentity identity;
  identity.pool_id = options_.pool_id;
  identity.epoch = options_.epoch;
  identity.roster_hash = options_.roster_hash;
  identity.player = player;
  identity.players = players();
  return identity;
}

Result<SegmentSealing> PoolSet::sealing(int player) const {
  if (options_.dealer_key == nullptr || options_.pool_keys.size() != options_.directories.size()) {
    return make_error(ErrorCode::kConfig,
                      "pools were opened without the dealer's key and the players' pool keys, so "
                      "nothing can be made for them");
  }
  SegmentSealing sealing;
  sealing.dealer = options_.dealer_key;
  sealing.recipient = options_.pool_keys[static_cast<std::size_t>(player)];
  return sealing;
}

Result<std::vector<std::vector<PublishedRange>>> PoolSet::published(const LaneKey& key) {
  std::vector<std::vector<PublishedRange>> by_player;
  for (int player = 0; player < players(); ++player) {
    BP_ASSIGN(auto ranges,
              list_ranges(storage(), lane_directory(directory(player), key), kSegmentSuffix));
    by_player.push_back(std::move(ranges));
  }
  return by_player;
}

Result<void> PoolSet::read_watermarks(const LaneKey& key, LaneSurvey& survey) {
  survey.players.assign(options_.directories.size(), {});
  for (int player = 0; player < players(); ++player) {
    BP_ASSIGN(
        const LedgerState state,
        Ledger::peek(storage(), lane_directory(directory(player), key), identity(player), key));
    survey.players[static_cast<std::size_t>(player)].watermark = state.watermark;
    survey.watermark = std::max(survey.watermark, state.watermark);
    for (const std::uint64_t witness : state.witnesses) {
      survey.watermark = std::max(survey.watermark, witness);
    }
  }
  return {};
}

Result<LaneSurvey> PoolSet::survey(const LaneKey& key) {
  // Folders before ledgers: what an engine erases in between then lies below the watermark.
  BP_ASSIGN(const auto by_player, published(key));
  LaneSurvey survey;
  BP_TRY(read_watermarks(key, survey));
  const auto left = [](const PublishedRange& range, std::uint64_t watermark) {
    return range.end() <= watermark ? 0 : range.end() - std::max(range.first, watermark);
  };
  survey.next_number = survey.watermark;
  for (std::size_t player = 0; player < by_player.size(); ++player) {
    for (const PublishedRange& range : by_player[player]) {
      survey.next_number = std::max(survey.next_number, range.end());
      PlayerSurvey& of_player = survey.players[player];
      of_player.available_bundles += left(range, of_player.watermark);
    }
  }
  for (const PublishedRange& range : common_ranges(by_player)) {
    survey.level_bundles += left(range, survey.watermark);
  }
  return survey;
}

Result<void> PoolSet::clean(const LaneKey& key) {
  BP_ASSIGN(const auto by_player, published(key));
  LaneSurvey survey;
  BP_TRY(read_watermarks(key, survey));
  const std::vector<PublishedRange> common = common_ranges(by_player);
  for (int player = 0; player < players(); ++player) {
    const std::string lane = lane_directory(directory(player), key);
    BP_ASSIGN(const auto unfinished, list_ranges(storage(), lane, kTemporarySuffix));
    for (const PublishedRange& range : unfinished) {
      BP_TRY(storage().unlink(lane + "/" + segment_name(range, kTemporarySuffix)));
    }
    for (const PublishedRange& range : by_player[static_cast<std::size_t>(player)]) {
      if (range.first < survey.watermark) continue;
      if (std::binary_search(common.begin(), common.end(), range)) continue;
      BP_TRY(storage().unlink(lane + "/" + segment_name(range, kSegmentSuffix)));
    }
  }
  return {};
}

Result<std::uint64_t> PoolSet::used_bytes() {
  std::uint64_t used = 0;
  for (int player = 0; player < players(); ++player) {
    BP_ASSIGN(const auto plans, storage().list(directory(player)));
    for (const StorageEntry& plan : plans) {
      if (!plan.is_directory) continue;
      const std::string plan_directory = directory(player) + "/" + plan.name;
      BP_ASSIGN(const auto lanes, storage().list(plan_directory));
      for (const StorageEntry& lane : lanes) {
        if (!lane.is_directory) continue;
        BP_ASSIGN(const auto files, storage().list(plan_directory + "/" + lane.name));
        for (const StorageEntry& file : files) used += file.size_bytes;
      }
    }
  }
  return used;
}

Result<std::uint64_t> PoolSet::free_bytes() {
  std::uint64_t smallest = ~std::uint64_t{0};
  for (const std::string& directory : options_.directories) {
    BP_ASSIGN(const std::uint64_t free, storage().free_bytes(directory));
    smallest = std::min(smallest, free);
  }
  return smallest;
}

}  // namespace beaverpond
