// The agreement of all players on what they spend next.
//
// Every player tells the others what it has and what was ever spent (HELLO); all compute the same
// range; each makes its end durable and says so (DURABLE). Only when all have said the same does
// anyone read a bundle. A player that dies in between has burned bundles; nothing ever resumes.
#pragma once

#include <chrono>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "beaverpond/bundle.h"
#include "offline/pool/pool.h"
#include "online/session/lease_messages.h"
#include "online/session/session.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// Bundles [first, end) of one lane, each to be spent once by this process. Move-only; what is left
/// when it is dropped is burned.
class Lease {
 public:
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  Lease(const Lease&) = delete;             // a copy could be spent twice
  Lease& operator=(const Lease&) = delete;  // a copy could be spent twice
  ~Lease();

  std::uint64_t first() const { return first_; }
  std::uint64_t end() const { return end_; }
  std::uint64_t remaining() const { return end_ - next_; }

  /// The next bundle, in order of number. Aborts if none remains. After an error the number is
  /// spent all the same. Errors: kPoolCorrupt, kRosterMismatch, kIo, kOutOfMemory.
  Result<Bundle> next();

 private:
  friend class LeaseAgreement;
  Lease(Pool& pool, const LaneKey& key, std::uint64_t first, std::uint64_t end)
      : pool_(&pool), key_(key), first_(first), end_(end), next_(first) {}
  void burn();

  Pool* pool_;
  LaneKey key_;
  std::uint64_t first_;
  std::uint64_t end_;
  std::uint64_t next_;
};

struct LeaseNotice {
  enum class Kind : std::uint8_t {
    kWaiting,   ///< no bundle that all have; one notice per poll
    kRollback,  ///< the ledger of `player` is older than what was seen of it
  };
  Kind kind = Kind::kWaiting;
  int player = -1;
  std::string message;
};

/// Bundles of a second plan that each step needs as well, from the same lane.
struct ClassNeed {
  Hash256 plan{};
  std::uint64_t per_step = 1;
};

/// What to do when a pool was put back to an earlier state. One player that refuses is enough.
enum class OnRollback : std::uint8_t {
  kBurn,    ///< say so, and go on above the largest number that any live player remembers
  kRefuse,  ///< kPoolRolledBack
};

struct LeaseOptions {
  LaneKey key;                  ///< one bundle of it a step
  std::vector<ClassNeed> more;  ///< other plans, each named once
  std::vector<int> live;        ///< rank in the roster of each rank of the transport; empty: all
  OnRollback on_rollback = OnRollback::kBurn;
  /// k: steps of one lease, which costs one sync; a crash burns the bundles of up to k steps.
  std::uint64_t max_bundles = 16;
  std::chrono::milliseconds poll_interval{50};        ///< while the pool is dry
  std::chrono::milliseconds peer_timeout{60000};      ///< how much later than us a peer may ask
  std::function<void(const LeaseNotice&)> on_notice;  ///< called on the acquiring thread
};

/// One per lane and session. One thread. Pool, transport and session outlive it; the pool also
/// outlives the leases, and is not moved meanwhile. Its destructor makes durable what it last saw
/// of the others.
class LeaseAgreement {
 public:
  LeaseAgreement(Pool& pool, Transport& transport, const Session& session, LeaseOptions options);
  LeaseAgreement(const LeaseAgreement&) = delete;             // one per lane and session
  LeaseAgreement& operator=(const LeaseAgreement&) = delete;  // one per lane and session
  ~LeaseAgreement();

  /// A collective: all live players call it for the same step. Leases 1 to min(k, steps_left)
  /// bundles. While nothing is available, all poll together until one player's deadline has passed,
  /// then all return kPoolDry. Other errors: kPeerLost, kTimeout, kRosterMismatch and
  /// kProtocolMismatch (each names the player), kPoolRolledBack, kConfig (the lane's owner is not
  /// live), kPoolCorrupt, kIo, kNoSpace. Only where options.more is empty.
  Result<Lease> acquire_blocking(std::uint64_t step, std::uint64_t steps_left, Deadline deadline);

  /// The same for all plans at once: leases of the same number of steps, options.key first, then
  /// options.more in their order; or none of any, and nothing is held while it waits, so that jobs
  /// cannot block each other.
  Result<std::vector<Lease>> acquire_all_blocking(std::uint64_t step, std::uint64_t steps_left,
                                                  Deadline deadline);

 private:
  using Messages = std::vector<std::vector<std::uint8_t>>;
  Result<Messages> exchange(std::span<const std::uint8_t> mine, std::uint32_t operation);
  Hello start_hello(std::uint64_t step) const;
  Result<Hello> make_hello(std::uint64_t step, std::uint64_t steps, bool gave_up);
  Result<std::vector<Hello>> exchange_hellos(const Hello& mine, Messages& messages);
  Result<void> remember(const std::vector<Hello>& hellos);
  Result<void> judge_rollbacks(const std::vector<Hello>& hellos);
  Result<std::vector<Lease>> claim(const LeaseDecision& decision, const std::vector<Hello>& hellos,
                                   const Messages& messages);
  Result<void> exchange_durable(const Durable& mine);
  void report_waiting(const std::vector<Hello>& hellos, const LeaseDecision& decision);
  Error dry(const std::vector<Hello>& hellos, const LeaseDecision& decision) const;

  /// One plan of the agreement.
  struct Class {
    LaneKey key;
    std::uint64_t per_step = 1;
    std::size_t place = 0;  ///< in the caller's order
  };

  Pool* pool_;
  Transport* transport_;
  std::uint64_t session_;
  std::uint64_t epoch_;  // of the membership, for errors
  LeaseOptions options_;
  std::vector<Class> classes_;  // in rising order of key
  std::uint64_t round_ = 0;
  std::set<std::pair<int, std::uint64_t>> told_;  // rollbacks that were reported: player, number
};

}  // namespace beaverpond
