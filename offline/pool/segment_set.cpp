#include "offline/pool/segment_set.h"

#include <algorithm>
#include <utility>

namespace beaverpond {
namespace {

SegmentHeader header_for(const SegmentSetSpec& spec, const PoolIdentity& identity) {
  SegmentHeader header;
  header.pool = identity;
  header.key = spec.key;
  header.range = spec.range;
  header.prg = spec.prg;
  header.correction_size = spec.correction_size;
  header.scheme = spec.scheme;
  return header;
}

}  // namespace

std::uint64_t segment_set_bytes(const SegmentSetSpec& spec, int players) {
  PoolIdentity identity;
  identity.players = players;
  std::uint64_t bytes = 0;
  for (identity.player = 0; identity.player < players; ++identity.player) {
    bytes += header_for(spec, identity).file_size();
  }
  return bytes;
}

namespace {

/// Large enough to keep a disk busy, small enough to stay in a cache and for one a player.
std::size_t piece_bytes(const SegmentSetSpec& spec, int players) {
  constexpr std::size_t kMost = 4 << 20;
  const std::size_t fair = 4 * kMost / static_cast<std::size_t>(players);
  const std::size_t of_file = segment_set_bytes(spec, players) / static_cast<std::size_t>(players);
  const std::size_t chunks = std::min({kMost, fair, of_file}) / kChunkSizeBytes;
  return std::max<std::size_t>(chunks, 1) * kChunkSizeBytes;
}

}  // namespace

SegmentSetWriter::SegmentSetWriter(SegmentSetWriter&& other) noexcept
    : pools_(other.pools_),
      spec_(other.spec_),
      writers_(std::move(other.writers_)),
      behind_(std::move(other.behind_)),
      appended_(other.appended_),
      created_(std::exchange(other.created_, 0)) {}

SegmentSetWriter::~SegmentSetWriter() {
  behind_.reset();  // nothing is written any more
  remove_temporaries();
}

std::string SegmentSetWriter::path(int player, const char* suffix) const {
  return lane_directory(pools_->directory(player), spec_.key) + "/" +
         segment_name(spec_.range, suffix);
}

void SegmentSetWriter::remove_temporaries() {
  for (int player = 0; player < created_; ++player) {
    // What cannot be removed now is removed by the next PoolSet::clean().
    (void)pools_->storage().unlink(path(player, kTemporarySuffix));
  }
  created_ = 0;
}

Result<SegmentSetWriter> SegmentSetWriter::create_blocking(
    PoolSet& pools, const SegmentSetSpec& spec, const std::vector<std::vector<Seed>>& seeds) {
  BP_CHECK(seeds.size() == static_cast<std::size_t>(pools.players()), "seeds of every player");
  SegmentSetWriter set(pools, spec);
  set.behind_ = std::make_unique<WriteBehind>(
      piece_bytes(spec, pools.players()),
      static_cast<std::size_t>(pools.players()) + WriteBehind::kMostWaiting);
  for (int player = 0; player < pools.players(); ++player) {
    BP_ASSIGN(const SegmentSealing sealing, pools.sealing(player));
    BP_TRY(ensure_lane_directory(pools.storage(), pools.directory(player), spec.key));
    set.created_ = player + 1;
    BP_ASSIGN(
        SegmentWriter writer,
        SegmentWriter::create(pools.storage(), set.path(player, kTemporarySuffix),
                              header_for(spec, pools.identity(player)),
                              seeds[static_cast<std::size_t>(player)], sealing, *set.behind_));
    set.writers_.push_back(std::move(writer));
  }
  return set;
}

Result<void> SegmentSetWriter::append_blocking(std::span<const std::uint8_t> correction) {
  BP_CHECK(appended_ < spec_.range.count, "more bundles than the range holds");
  const std::uint64_t number = spec_.range.first + appended_;
  ++appended_;
  const int designated = designated_player(number, pools_->players(), spec_.scheme);
  return writers_[static_cast<std::size_t>(designated)].append_correction_blocking(correction);
}

Result<std::uint64_t> SegmentSetWriter::written_bytes() {
  std::uint64_t bytes = 0;
  for (SegmentWriter& writer : writers_) {
    BP_ASSIGN(const std::uint64_t size, writer.written_bytes());
    bytes += size;
  }
  return bytes;
}

Result<void> SegmentSetWriter::publish_blocking() {
  BP_CHECK(appended_ == spec_.range.count, "a range is published before it is full");
  for (SegmentWriter& writer : writers_) BP_TRY(writer.finish_blocking());
  behind_.reset();
  writers_.clear();
  Storage& storage = pools_->storage();
  Result<void> outcome;
  int renamed = 0;
  for (int player = 0; player < pools_->players() && outcome.ok(); ++player) {
    renamed = player + 1;
    outcome = storage.rename(path(player, kTemporarySuffix), path(player, kSegmentSuffix));
    if (outcome.ok()) {
      outcome = storage.sync_directory(lane_directory(pools_->directory(player), spec_.key));
    }
  }
  // Once the last rename was tried, engines may have leased the range: leave it to clean().
  if (!outcome.ok() && renamed < pools_->players()) {
    for (int player = 0; player < renamed; ++player) {
      (void)storage.unlink(path(player, kSegmentSuffix));
    }
  }
  if (outcome.ok()) created_ = 0;
  return outcome;
}

}  // namespace beaverpond
