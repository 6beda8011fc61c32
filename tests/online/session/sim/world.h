// A small world of players, their machines and a factory, which the test makes as unkind as it
// can: power losses, killed processes, torn and reordered writes, full and failing disks, bit rot,
// cut connections, snapshots put back. The oracle watches what leases give.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "online/session/lease.h"
#include "tests/offline/pool/memory_disk.h"
#include "tests/offline/pool/pool_fixture.h"
#include "tests/online/session/sim/network.h"
#include "tests/online/session/sim/sim_storage.h"

namespace beaverpond::testing {

/// What happened, and what must not have.
struct WorldStats {
  std::uint64_t cycles = 0;
  std::uint64_t power_losses = 0;  ///< of one machine each
  std::uint64_t kills = 0;         ///< of one process each
  std::uint64_t rollbacks = 0;
  std::uint64_t rots = 0;
  std::uint64_t disk_errors = 0;
  std::uint64_t cuts = 0;
  std::uint64_t refusals = 0;  ///< sessions that ended with kPoolRolledBack
  std::uint64_t leases = 0;
  std::uint64_t spent = 0;  ///< bundles, each counted once

  std::uint64_t reused = 0;      ///< bundles that two sessions got, or a player twice
  std::uint64_t unreadable = 0;  ///< damage that no fault of the test explains
  std::uint64_t wrong = 0;       ///< bundles of other content, or sets that the players mix
  std::uint64_t stuck = 0;       ///< worlds that did not work again when left in peace
  std::string first_problem;

  std::uint64_t crashes() const { return power_losses + kills; }
  std::uint64_t problems() const { return reused + unreadable + wrong + stuck; }
  void add(const WorldStats& other);
};

struct WorldOptions {
  int players = 2;
  std::uint64_t seed = 1;
  int cycles = 60;
  bool faults = true;    ///< beyond crashes: errors of disks, rot, rollbacks, cut links
  bool subsets = false;  ///< live sets smaller than all
  int classes = 1;       ///< plans that a step needs, 1 or 2
  PoolMutant mutant = PoolMutant::kNone;
  bool torn_words = false;            ///< power losses tear at words: worse than disks are
  bool all_lose_power = false;        ///< in every cycle
  bool lose_power_in_claims = false;  ///< when all are between the write of a ledger and its sync
};

class World {
 public:
  explicit World(const WorldOptions& options);
  /// All cycles, then one in peace.
  WorldStats run();

 private:
  struct Process {
    bool alive = true;
    bool power = false;  ///< its crash is a power loss
    std::uint64_t events = 0;
    std::uint64_t crash_at = ~std::uint64_t{0};
  };
  struct Made {
    std::uint64_t tag = 0;
    std::uint64_t first = 0;
    std::uint64_t count = 0;
  };

  std::uint64_t random(std::uint64_t below) { return fibers_.random() % below; }
  bool chance(int percent) { return random(100) < static_cast<std::uint64_t>(percent); }
  std::string machine(int player) const { return sites_[0].machine(player); }
  LaneKey key(int of_class) const { return sites_[static_cast<std::size_t>(of_class)].key; }

  void cycle(bool in_peace);
  void choose_live(bool in_peace);
  void plan_crashes();
  void plan_faults();
  bool point(int process);  // the next event of a process; false once it is dead
  void player_main(int player, SimNetwork& network, int rank);
  Result<void> use(int player, Pool& pool, Transport& transport);
  Result<void> spend(int player, const Session& session, int of_class, Lease& lease);
  void factory_main();
  Result<void> produce(SimStorage& storage);
  void after_cycle();
  void damage();
  bool may_damage(int player) const;
  void rot_something(int player);
  void judge_error(int player, const Error& error);
  void repair(int player);
  void problem(std::uint64_t& counter, const std::string& what);

  WorldOptions options_;
  Fibers fibers_;
  MemoryDisk disk_;
  std::vector<TestSite> sites_;     // by class; the same machines
  std::vector<Process> processes_;  // players, then the factory
  std::vector<int> live_;
  std::vector<const SimStorage*> storages_;  // of the live players, while they run
  bool refuse_rollback_ = false;
  std::uint64_t events_ = 0;
  std::uint64_t all_crash_at_ = ~std::uint64_t{0};
  std::uint64_t usual_events_ = 200;
  std::uint64_t next_tag_ = 1;
  std::vector<std::vector<Made>> made_;  // by class

  // The oracle.
  std::map<std::pair<int, std::uint64_t>, std::uint64_t> session_of_;  // class, number
  std::set<std::tuple<int, int, std::uint64_t>> handed_;               // player, class, number
  std::map<std::pair<int, std::uint64_t>, std::uint64_t> tag_of_;      // class, number
  std::uint64_t spent_below_ = 0;
  std::vector<std::uint64_t> known_;  // by player: what its ledger surely remembers
  std::vector<MemoryDisk::Snapshot> snapshots_;
  std::vector<std::set<std::string>> rotted_;
  bool damaged_ = false;    // since the last lease, or not: some ledger was put back
  std::size_t served_ = 0;  // players that got a lease in this cycle
  std::string last_error_;
  WorldStats stats_;
};

}  // namespace beaverpond::testing
