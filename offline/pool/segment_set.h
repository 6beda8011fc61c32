// Writes one range of bundles for all players at once and publishes it.
#pragma once

#include <span>
#include <vector>

#include "offline/pool/pool_set.h"
#include "offline/pool/segment.h"

namespace beaverpond {

/// What all players' files of a range have in common.
struct SegmentSetSpec {
  LaneKey key;
  PublishedRange range;
  PrgKind prg = PrgKind::kAes128Ctr;
  ByteCount correction_size;
  Scheme scheme = Scheme::kAllPlayers;
};

/// Bytes that all players' files of the range take together.
std::uint64_t segment_set_bytes(const SegmentSetSpec& spec, int players);

/// Temporary files until publish_blocking(); dropped before that, it removes them. One thread.
class SegmentSetWriter {
 public:
  /// `seeds[player]` holds one seed per bundle of the range. `pools` outlives the writer.
  /// Errors: kNoSpace, kIo.
  static Result<SegmentSetWriter> create_blocking(PoolSet& pools, const SegmentSetSpec& spec,
                                                  const std::vector<std::vector<Seed>>& seeds);
  SegmentSetWriter(SegmentSetWriter&& other) noexcept;
  SegmentSetWriter& operator=(SegmentSetWriter&&) = delete;  // never needed
  ~SegmentSetWriter();

  /// The correction of the next bundle, stored with its designated player. The disk may be some
  /// pieces behind. Errors: kNoSpace, kIo, also of what was appended before.
  Result<void> append_blocking(std::span<const std::uint8_t> correction);

  /// Syncs every file, then renames them in order of player and syncs each folder. A crash in
  /// between leaves the range on some players only: no lease ever covers it, and PoolSet::clean()
  /// removes it. After an error the same holds. May run on another thread than the calls before.
  Result<void> publish_blocking();

  /// Bytes that the files take as they are now. Not while or after they are published. Errors: kIo.
  Result<std::uint64_t> written_bytes();

 private:
  SegmentSetWriter(PoolSet& pools, const SegmentSetSpec& spec) : pools_(&pools), spec_(spec) {}
  std::string path(int player, const char* suffix) const;
  void remove_temporaries();

  PoolSet* pools_;
  SegmentSetSpec spec_;
  std::vector<SegmentWriter> writers_;
  std::unique_ptr<WriteBehind> behind_;
  std::uint64_t appended_ = 0;
  int created_ = 0;  // temporary files that may exist
};

}  // namespace beaverpond
