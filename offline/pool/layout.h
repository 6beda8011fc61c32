// Names of the folders and files of a pool:
//   DIR/pool                                      identity: whose pool this is
//   DIR/engine.lock, DIR/factory.lock             one engine and one factory at a time
//   DIR/<16 hex of plan hash>/lane-<n>/ledger     watermark and witnesses
//   DIR/<16 hex>/lane-<n>/<first>-<count>-<set id>.seg   a published segment (.tmp before that)
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "offline/plan/hash.h"
#include "offline/pool/storage.h"

namespace beaverpond {

using PoolId = std::array<std::uint8_t, 16>;
using SetId = std::array<std::uint8_t, 16>;

inline constexpr int kMaxPlayers = 64;
/// Numbers of bundles are below this, so that no sum of two overflows.
inline constexpr std::uint64_t kMaxBundleNumber = std::uint64_t{1} << 62;

/// An independent sequence of bundles of one plan.
struct LaneKey {
  Hash256 plan{};
  std::uint32_t lane = 0;
  friend auto operator<=>(const LaneKey&, const LaneKey&) = default;
  /// "plan 0123456789abcdef lane 0".
  std::string str() const;
};

/// The player that owns a lane. Its bundles are spent only by live players among whom the owner is:
/// any two such groups share it, and its ledger keeps them apart.
inline int lane_owner(std::uint32_t lane, int players) {
  return static_cast<int>(lane % static_cast<std::uint32_t>(players));
}

/// Consecutive bundles published together. All players' files of one range share the set id.
struct PublishedRange {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  SetId set_id{};
  std::uint64_t end() const { return first + count; }
  friend auto operator<=>(const PublishedRange&, const PublishedRange&) = default;
  /// "[0, 16)".
  std::string str() const;
};

std::string lane_directory(const std::string& pool_directory, const LaneKey& key);
std::string segment_name(const PublishedRange& range, const char* suffix);
inline constexpr char kSegmentSuffix[] = ".seg";
inline constexpr char kTemporarySuffix[] = ".tmp";
/// The range that a file name states; nothing if `name` is not such a name, byte for byte.
std::optional<PublishedRange> parse_segment_name(const std::string& name, const char* suffix);

/// Creates the folder of a lane and makes it and all folders above it, down to the pool's parent,
/// durable. Syncs what exists too: an earlier process may have died before its own sync.
Result<std::string> ensure_lane_directory(Storage& storage, const std::string& pool_directory,
                                          const LaneKey& key);
/// Creates the pool's folder if it is missing and checks that only its owner may enter it.
/// Errors: kConfig where others may.
Result<void> ensure_pool_directory(Storage& storage, const std::string& directory);

/// The lane's published ranges, sorted; empty if the folder does not exist.
Result<std::vector<PublishedRange>> list_ranges(Storage& storage, const std::string& directory,
                                                const char* suffix);

/// A lane as its folder names it.
struct LaneFolder {
  std::string plan_name;  ///< 16 hexadecimal digits
  std::uint32_t lane = 0;
  std::string path;
};

/// All lanes of a pool, sorted by path. Other folders are left out. Errors: kIo.
Result<std::vector<LaneFolder>> list_lanes(Storage& storage, const std::string& pool_directory);

/// Writes `bytes` to the file `temporary` in the folder of `path`, syncs it, renames it to `path`
/// and syncs the folder: after a crash the file is there whole, or not at all. A file that exists
/// is left as it is, which is no error. No other process may use the same temporary name: it
/// belongs to the holder of a lock.
Result<void> create_file_atomically(Storage& storage, const std::string& path,
                                    const std::string& temporary,
                                    std::span<const std::uint8_t> bytes);

}  // namespace beaverpond
