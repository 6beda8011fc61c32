// A network of simulated players on one thread and a clock of its own, which delays, drops,
// corrupts, reorders, cuts, resets and freezes by a plan.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "online/transport/transport.h"
#include "tests/online/session/sim/fibers.h"

namespace beaverpond::testing {

/// Milliseconds of the simulation.
using SimTime = std::int64_t;

enum class Fault : std::uint8_t {
  kDelay,      ///< the next messages of a player to another come `time` later
  kDrop,       ///< the next message of a player to another never comes
  kCorrupt,    ///< the next message is altered on its way: the connection finds out and ends
  kForge,      ///< the next message says it is of another operation: the peer is out of control
  kPartition,  ///< nothing passes between a player and all others for `time`
  kReset,      ///< the connection between two players ends
  kFreeze,     ///< a player stands still for `time`
  kKill,       ///< a player's process dies, and starts again after `time`; never if it is < 0
};
inline constexpr int kFaults = 8;

struct FaultEvent {
  Fault fault = Fault::kDelay;
  std::uint64_t at = 0;  ///< when so many messages were sent, in all
  int player = 0;
  int other = 0;
  SimTime time = 0;
};

std::string describe(const FaultEvent& event);

class ChaosNet {
 public:
  static constexpr SimTime kPeerTimeout = 3500;

  ChaosNet(Fibers& fibers, int players, std::vector<FaultEvent> plan);

  SimTime now() const { return now_; }
  /// In a fiber: until `ready` or the clock says `until`. True if ready.
  bool wait_until(SimTime until, const std::function<bool()>& ready);
  /// Whether the clock could not go on although somebody waited: a hang.
  bool stuck() const { return stuck_; }
  /// When the last fault came or ended.
  SimTime last_fault() const { return last_fault_; }
  std::uint64_t messages() const { return sent_; }
  std::uint64_t faults() const { return happened_; }

  /// As connect_tls_blocking(): when all players are there, before `until`. Errors: kTimeout;
  /// kCancelled once the player is killed.
  Result<std::unique_ptr<Transport>> connect(int player, SimTime until);
  /// Whether the process of `player` lives. Asked before it does anything that others may see.
  bool alive(int player) const { return !players_[index(player)].dead; }
  /// When a killed process starts again; never: nothing.
  std::optional<SimTime> comes_back(int player) const;
  /// In a fiber: a new process in place of the killed one.
  void start_again(int player);

  /// The judge: called with everything that a player sends.
  std::function<void(int player, const Tag& tag, std::span<const std::uint8_t>)> on_sent;

 private:
  friend class ChaosTransport;
  struct Message {
    Tag tag;
    std::vector<std::uint8_t> bytes;
    SimTime arrives = 0;
    bool dropped = false;
    bool corrupt = false;
  };
  struct Player {
    bool dead = false;
    SimTime back_at = -1;
    bool present = false;  // waits for all others
    SimTime frozen_until = 0;
    SimTime frozen_since = 0;
    SimTime alone_until = 0;  // partitioned
    SimTime alone_since = 0;
    std::uint64_t generation = 0;  // of the session it is in
  };
  /// One session's connections.
  struct Session {
    std::map<std::tuple<int, int, std::uint32_t>, std::deque<Message>> channels;
    std::vector<bool> closed;              // by player
    std::vector<std::optional<int>> lost;  // whom this player has lost: its failure
    std::vector<std::set<int>> reset;      // by player: connections that ended
  };
  static std::size_t index(int player) { return static_cast<std::size_t>(player); }
  void tick_faults(int from, int to, Message& message);
  void begin(const FaultEvent& event);
  /// Since when nothing comes from `peer`, heartbeats neither.
  std::optional<SimTime> silent_since(int player, int peer) const;
  void freeze(int player);
  bool advance();
  void wake_at(SimTime time) { timers_.insert(time); }

  Fibers& fibers_;
  std::vector<Player> players_;
  std::vector<FaultEvent> plan_;
  std::vector<FaultEvent> armed_;  // wait for a message that they fit
  std::size_t next_event_ = 0;
  std::map<std::uint64_t, std::shared_ptr<Session>> sessions_;
  std::uint64_t generation_ = 0;
  SimTime now_ = 0;
  SimTime last_fault_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t happened_ = 0;
  bool stuck_ = false;
  std::set<SimTime> timers_;
};

}  // namespace beaverpond::testing
