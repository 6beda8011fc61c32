#include "offline/pool/lane.h"

#include <algorithm>

#include "offline/pool/import.h"

namespace beaverpond {
namespace {

void check_covers(const Claim& claim) {
  std::uint64_t covered = claim.first;
  for (const PublishedRange& range : claim.segments) {
    BP_CHECK(range.first <= covered && covered < range.end(), "segments do not cover the claim");
    covered = range.end();
  }
  BP_CHECK(covered >= claim.end, "segments do not cover the claim");
}

}  // namespace

PoolLane::PoolLane(Storage& storage, std::string directory, PoolIdentity pool, LaneKey key,
                   const PoolKeys& keys, Ledger ledger, LaneRatchet ratchet)
    : storage_(&storage),
      directory_(std::move(directory)),
      pool_(pool),
      key_(key),
      ledger_(std::move(ledger)),
      seen_(ledger_.witnesses()),
      ratchet_(std::move(ratchet)),
      keys_(&keys) {}

Result<PoolLane> PoolLane::open(Storage& storage, const std::string& pool_directory,
                                const PoolIdentity& pool, const LaneKey& key,
                                const PoolKeys& keys) {
  BP_ASSIGN(const std::string directory, ensure_lane_directory(storage, pool_directory, key));
  BP_ASSIGN(Ledger ledger, Ledger::open(storage, directory, pool, key));
  BP_ASSIGN(LaneRatchet ratchet, LaneRatchet::open(storage, directory, pool, key, keys.key));
  PoolLane lane(storage, directory, pool, key, keys, std::move(ledger), std::move(ratchet));
  BP_TRY(lane.find_numbers());
  lane.erase_spent();
  if (lane.failed_) return *lane.failed_;
  return lane;
}

std::string PoolLane::path_of(const PublishedRange& range) const {
  return directory_ + "/" + segment_name(range, kSegmentSuffix);
}

Result<void> PoolLane::find_numbers() {
  next_key_ = ratchet_.base();
  BP_ASSIGN(const auto listed, list_ranges(*storage_, directory_, kSegmentSuffix));
  for (const PublishedRange& range : listed) {
    const auto number = ratchet_number_of(*storage_, path_of(range));
    // A damaged file is named when it is used; its number cannot matter to others.
    if (!number.ok() || !number.value()) continue;
    if (**number >= ratchet_.base() + LaneRatchet::kMaxSteps) continue;
    next_key_ = std::max(next_key_, **number + 1);
  }
  return {};
}

Result<void> PoolLane::import(const PublishedRange& range) {
  BP_ASSIGN(const std::uint64_t number, import_segment_blocking(*storage_, path_of(range), pool_,
                                                                key_, range, access(), next_key_));
  imported_[range] = number;
  next_key_ = std::max(next_key_, number + 1);
  return {};
}

bool PoolLane::was_erased(const PublishedRange& range) {
  const auto number = ratchet_number_of(*storage_, path_of(range));
  if (!number.ok() || !number.value() || **number >= ratchet_.base()) return false;
  (void)storage_->unlink(path_of(range));
  return true;
}

Result<std::vector<PublishedRange>> PoolLane::ranges() {
  BP_ASSIGN(const auto listed, list_ranges(*storage_, directory_, kSegmentSuffix));
  std::vector<PublishedRange> usable;
  for (const PublishedRange& range : listed) {
    if (range.end() <= ledger_.watermark()) continue;
    if (!imported_.contains(range)) {
      if (was_erased(range)) continue;
      const auto imported = import(range);
      if (!imported.ok()) {
        // The factory removes a range that it could not publish on every player.
        const auto present = storage_->exists(path_of(range));
        if (present.ok() && !present.value()) continue;
        return imported.error();
      }
    }
    usable.push_back(range);
  }
  return usable;
}

Result<void> PoolLane::claim_blocking(const Claim& claim) {
  if (failed_) return *failed_;
  BP_CHECK(claim.first < claim.end, "an empty claim");
  BP_CHECK(claim.first >= ledger_.watermark(), "a bundle would be claimed twice");
  check_covers(claim);
  see(claim.witnesses);
  BP_TRY(ledger_.advance_blocking(claim.end, seen_));
  BP_CHECK(ledger_.watermark() == claim.end, "the ledger disagrees with the claim");
  claims_.push_back({claim.first, claim.end, claim.segments});
  erase_spent();
  return {};
}

void PoolLane::see(const std::vector<std::uint64_t>& watermarks) {
  BP_CHECK(watermarks.size() == seen_.size(), "one watermark per player");
  for (std::size_t i = 0; i < seen_.size(); ++i) seen_[i] = std::max(seen_[i], watermarks[i]);
}

Result<void> PoolLane::keep_witnesses_blocking() {
  if (seen_ == ledger_.witnesses()) return {};
  return ledger_.advance_blocking(ledger_.watermark(), seen_);
}

Result<Bundle> PoolLane::read_bundle_blocking(std::uint64_t number) {
  BP_CHECK(number < ledger_.watermark(), "a bundle is read before its claim is durable");
  const auto claim = std::find_if(claims_.begin(), claims_.end(), [number](const OpenClaim& c) {
    return c.next <= number && number < c.end;
  });
  BP_CHECK(claim != claims_.end(), "a bundle is read that is not claimed, or was read before");
  const auto range = std::find_if(
      claim->segments.begin(), claim->segments.end(),
      [number](const PublishedRange& r) { return r.first <= number && number < r.end(); });
  BP_CHECK(range != claim->segments.end(), "a claimed bundle without a segment");
  const PublishedRange wanted = *range;
  claim->next = number + 1;  // spent from here on, whatever the read below returns
  if (claim->next == claim->end) claims_.erase(claim);
  BP_ASSIGN(SegmentReader* const reader, reader_of(wanted));
  BP_ASSIGN(Bundle bundle, reader->read_bundle_blocking(number, buffers_));
  BP_CHECK(bundle.number() == number, "another bundle than the one asked for");
  if (erasable_below() >= wanted.end()) erase_spent();
  return bundle;
}

void PoolLane::release(std::uint64_t end) {
  const auto claim = std::find_if(claims_.begin(), claims_.end(),
                                  [end](const OpenClaim& c) { return c.end == end; });
  if (claim == claims_.end()) return;
  claims_.erase(claim);
  erase_spent();
}

Result<SegmentReader*> PoolLane::reader_of(const PublishedRange& range) {
  if (reader_ == nullptr || reader_->header().range != range) {
    BP_ASSIGN(SegmentReader reader,
              SegmentReader::open(*storage_, path_of(range), pool_, key_, range, access()));
    reader_ = std::make_unique<SegmentReader>(std::move(reader));
  }
  return reader_.get();
}

std::uint64_t PoolLane::erasable_below() const {
  std::uint64_t floor = ledger_.watermark();
  for (const OpenClaim& claim : claims_) floor = std::min(floor, claim.next);
  return floor;
}

void PoolLane::erase_spent() {
  const std::uint64_t floor = erasable_below();
  if (reader_ != nullptr && reader_->header().range.end() <= floor) reader_.reset();
  const auto listed = list_ranges(*storage_, directory_, kSegmentSuffix);
  if (!listed.ok() || failed_) return;
  auto erased = erase(listed.value(), floor);
  if (!erased.ok()) failed_ = std::move(erased).error();
}

Result<void> PoolLane::erase(const std::vector<PublishedRange>& listed, std::uint64_t floor) {
  std::vector<PublishedRange> spent;
  std::uint64_t keep_from = next_key_;  // lowest key that an unspent segment needs
  for (const PublishedRange& range : listed) {
    if (range.end() <= floor) {
      spent.push_back(range);
      continue;
    }
    const auto known = imported_.find(range);
    if (known != imported_.end()) {
      keep_from = std::min(keep_from, known->second);
      continue;
    }
    const auto number = ratchet_number_of(*storage_, path_of(range));
    if (number.ok() && number.value()) keep_from = std::min(keep_from, **number);
    if (!number.ok() && storage_->exists(path_of(range)).ok()) keep_from = ratchet_.base();
  }
  if (spent.empty()) return {};
  BP_TRY(ratchet_.erase_below_blocking(std::max(keep_from, ratchet_.base())));
  for (const PublishedRange& range : spent) {
    const auto number = ratchet_number_of(*storage_, path_of(range));
    if (number.ok()) BP_TRY(forget_transport_blocking(*storage_, path_of(range)));
    // One whose key is still needed, since files came out of order, stays until that is spent too.
    if (number.ok() && number.value() && **number >= ratchet_.base()) continue;
    if (storage_->unlink(path_of(range)).ok()) imported_.erase(range);
  }
  return {};
}

}  // namespace beaverpond
