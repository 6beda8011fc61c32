// What the factory is doing, for everyone who asks: metrics, status page, `triple-factory status`.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace beaverpond {

struct PlayerStatus {
  std::string name;
  std::uint64_t available_bundles = 0;  ///< published in this pool, not leased by this player
  std::uint64_t watermark = 0;          ///< first bundle that this player never leased
  std::uint64_t consumed_bundles = 0;   ///< growth of the watermark since the factory started
};

/// One moment of a class.
struct HistoryPoint {
  double unix_seconds = 0;
  std::uint64_t level_bundles = 0;
  std::uint64_t produced_bundles = 0;
  std::uint64_t consumed_bundles = 0;
};

struct ClassStatus {
  std::string name;
  std::string plan;  ///< first 16 hexadecimal digits of the hash, as in the pool's folders
  std::uint32_t lane = 0;
  std::string state;  ///< "filling", "full" or "paused"
  std::uint64_t level_bundles = 0;
  std::uint64_t low_bundles = 0;  ///< the marks that hold now
  std::uint64_t high_bundles = 0;
  double consumed_per_second = 0;  ///< over the last minute
  double seconds_left = -1;        ///< until the pool is dry at that rate; negative: for ever
  std::uint64_t correction_bytes = 0;
  // Since the factory started:
  std::uint64_t produced_bundles = 0;
  std::uint64_t consumed_bundles = 0;
  std::uint64_t discarded_bundles = 0;  ///< of segments that were not finished
  std::uint64_t produced_bytes = 0;
  double generation_seconds = 0;
  double sync_seconds = 0;
  std::vector<PlayerStatus> players;
  std::vector<HistoryPoint> history;  ///< oldest first
};

struct FactoryStatus {
  std::string state = "starting";  ///< then "serving", "paused" or "draining"
  std::string reason;              ///< why it is paused
  double started_unix_seconds = 0;
  double now_unix_seconds = 0;
  std::uint64_t used_bytes = 0;  ///< files of all pools
  std::uint64_t free_bytes = 0;  ///< on the fullest of their disks
  std::uint64_t budget_bytes = 0;
  std::uint64_t reserve_bytes = 0;
  double cpu_seconds = 0;
  std::vector<ClassStatus> classes;
};

/// The newest status, put up by the serving thread and read by all others.
class StatusBoard {
 public:
  /// Points of history that are kept, one a second.
  static constexpr std::size_t kHistory = 600;

  void post(FactoryStatus status);
  /// The serving thread is alive; called whenever it turns.
  void beat();
  FactoryStatus read() const;
  double seconds_since_beat() const;

 private:
  mutable std::mutex mutex_;
  FactoryStatus status_;
  std::chrono::steady_clock::time_point beat_ = std::chrono::steady_clock::now();
};

/// Empty if jobs may count on the factory, otherwise why not: it starts, pauses or drains, or a
/// class has no bundle left.
std::string why_not_ready(const FactoryStatus& status);

}  // namespace beaverpond
