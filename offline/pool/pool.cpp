#include "offline/pool/pool.h"

#include <atomic>
#include <map>
#include <mutex>

#include "offline/pool/lane.h"
#include "offline/pool/pool_key.h"

namespace beaverpond {

namespace {

/// A sync may have failed, and a second one would prove nothing.
bool is_of_the_disk(const Error& error) {
  return error.code == ErrorCode::kIo || error.code == ErrorCode::kNoSpace;
}

}  // namespace

Result<PoolKey> read_roster_key(const PoolOptions& options) {
  const std::string path =
      options.key_path.empty() ? pool_key_path(options.directory) : options.key_path;
  BP_ASSIGN(PoolKey key, PoolKey::read(*options.storage, path));
  if (key.public_key() == options.pool_key) return key;
  return make_error(ErrorCode::kRosterMismatch,
                    "the pool's key file " + path + " has the public half " +
                        to_hex(key.public_key()) + ", but the roster names " +
                        to_hex(options.pool_key) +
                        " for this player; put the right key file there, or give the roster the "
                        "right pool_key");
}

struct Pool::State {
  struct LockedLane {
    explicit LockedLane(PoolLane opened) : lane(std::move(opened)) {}
    std::mutex mutex;
    PoolLane lane;
  };

  State(PoolOptions given, PoolKeys own) : options(std::move(given)), keys(std::move(own)) {}

  const PoolOptions options;
  const PoolKeys keys;
  std::unique_ptr<StorageLock> lock;
  std::mutex mutex;  // of `lanes`
  std::map<LaneKey, std::unique_ptr<LockedLane>> lanes;
  std::atomic<bool> poisoned = false;

  Result<LockedLane*> lane_of(const LaneKey& key) {
    if (poisoned) {
      return make_error(ErrorCode::kIo, "the pool " + options.directory +
                                            " failed to make its ledger durable earlier; check the "
                                            "disk and start again");
    }
    const std::lock_guard<std::mutex> guard(mutex);
    std::unique_ptr<LockedLane>& entry = lanes[key];
    if (entry == nullptr) {
      auto opened =
          PoolLane::open(*options.storage, options.directory, options.identity, key, keys);
      if (!opened.ok()) {
        if (is_of_the_disk(opened.error())) poisoned = true;
        return std::move(opened).error();
      }
      entry = std::make_unique<LockedLane>(std::move(opened).value());
    }
    return entry.get();
  }
};

Pool::Pool(std::unique_ptr<State> state) : state_(std::move(state)) {}
Pool::Pool(Pool&&) noexcept = default;
Pool& Pool::operator=(Pool&&) noexcept = default;
Pool::~Pool() = default;

Result<Pool> Pool::open(const PoolOptions& options) {
  BP_CHECK(options.storage != nullptr, "a pool needs a storage");
  const PoolIdentity& identity = options.identity;
  BP_CHECK(identity.players >= 2 && identity.players <= kMaxPlayers && identity.player >= 0 &&
               identity.player < identity.players,
           "a player outside the roster");
  Storage& storage = *options.storage;
  BP_TRY(ensure_pool_directory(storage, options.directory));
  BP_ASSIGN(auto lock, storage.lock(options.directory + "/engine.lock"));
  BP_TRY(check_identity(storage, options.directory, identity, PoolUser::kEngine));
  BP_ASSIGN(PoolKey key, read_roster_key(options));
  BP_TRY(check_seal(storage, options.directory, key));
  auto state = std::make_unique<State>(options, PoolKeys{options.dealer_key, std::move(key)});
  state->lock = std::move(lock);
  return Pool(std::move(state));
}

const PoolIdentity& Pool::identity() const {
  return state_->options.identity;
}

Result<std::vector<PublishedRange>> Pool::ranges(const LaneKey& key) {
  BP_ASSIGN(State::LockedLane* const locked, state_->lane_of(key));
  const std::lock_guard<std::mutex> guard(locked->mutex);
  auto ranges = locked->lane.ranges();
  if (!ranges.ok() && is_of_the_disk(ranges.error())) state_->poisoned = true;
  return ranges;
}

Result<std::uint64_t> Pool::watermark(const LaneKey& key) {
  BP_ASSIGN(State::LockedLane* const locked, state_->lane_of(key));
  const std::lock_guard<std::mutex> guard(locked->mutex);
  return locked->lane.ledger().watermark();
}

Result<std::vector<std::uint64_t>> Pool::witnesses(const LaneKey& key) {
  BP_ASSIGN(State::LockedLane* const locked, state_->lane_of(key));
  const std::lock_guard<std::mutex> guard(locked->mutex);
  return locked->lane.witnesses();
}

Result<void> Pool::claim_blocking(const LaneKey& key, const Claim& claim) {
  BP_ASSIGN(State::LockedLane* const locked, state_->lane_of(key));
  const std::lock_guard<std::mutex> guard(locked->mutex);
  auto claimed = locked->lane.claim_blocking(claim);
  if (!claimed.ok()) state_->poisoned = true;
  return claimed;
}

Result<void> Pool::claim_all_blocking(const std::vector<LaneClaim>& claims) {
  for (std::size_t i = 0; i < claims.size(); ++i) {
    auto claimed = claim_blocking(claims[i].key, claims[i].claim);
    if (claimed.ok()) continue;
    for (std::size_t done = 0; done < i; ++done) release(claims[done].key, claims[done].claim.end);
    return claimed;
  }
  return {};
}

Result<void> Pool::see(const LaneKey& key, const std::vector<std::uint64_t>& watermarks) {
  BP_ASSIGN(State::LockedLane* const locked, state_->lane_of(key));
  const std::lock_guard<std::mutex> guard(locked->mutex);
  locked->lane.see(watermarks);
  return {};
}

Result<void> Pool::keep_witnesses_blocking(const LaneKey& key) {
  BP_ASSIGN(State::LockedLane* const locked, state_->lane_of(key));
  const std::lock_guard<std::mutex> guard(locked->mutex);
  auto kept = locked->lane.keep_witnesses_blocking();
  if (!kept.ok()) state_->poisoned = true;
  return kept;
}

Result<Bundle> Pool::read_bundle_blocking(const LaneKey& key, std::uint64_t number) {
  BP_ASSIGN(State::LockedLane* const locked, state_->lane_of(key));
  const std::lock_guard<std::mutex> guard(locked->mutex);
  return locked->lane.read_bundle_blocking(number);
}

void Pool::release(const LaneKey& key, std::uint64_t end) {
  const std::lock_guard<std::mutex> guard(state_->mutex);
  const auto entry = state_->lanes.find(key);
  if (entry == state_->lanes.end() || entry->second == nullptr) return;
  const std::lock_guard<std::mutex> lane_guard(entry->second->mutex);
  entry->second->lane.release(end);
}

}  // namespace beaverpond
