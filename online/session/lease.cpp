#include "online/session/lease.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace beaverpond {
namespace {

std::uint64_t available(const ClassState& state, std::uint64_t floor) {
  std::uint64_t count = 0;
  for (const PublishedRange& range : state.published) {
    if (range.end() > floor) count += range.end() - std::max(range.first, floor);
  }
  return count;
}

std::string describe_levels(const std::vector<Hello>& hellos, std::size_t index,
                            std::uint64_t floor) {
  std::string text;
  for (const Hello& hello : hellos) {
    if (!text.empty()) text += ", ";
    text += "player " + std::to_string(hello.pool.player) + " has " +
            std::to_string(available(hello.classes[index], floor));
  }
  return text;
}

/// Of one plan: "plan 01 lane 0 from number 7 on: player 0 has 2, player 1 has 0".
std::string describe_class(const std::vector<Hello>& hellos, const LeaseDecision& decision,
                           std::size_t index) {
  const std::uint64_t floor = decision.classes[index].floor;
  return hellos.front().classes[index].key.str() + " from number " + std::to_string(floor) +
         " on: " + describe_levels(hellos, index, floor);
}

std::uint64_t smallest_wish(const std::vector<Hello>& hellos) {
  std::uint64_t steps = ~std::uint64_t{0};
  for (const Hello& hello : hellos) steps = std::min(steps, hello.steps);
  return steps;
}

}  // namespace

Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      key_(other.key_),
      first_(other.first_),
      end_(other.end_),
      next_(std::exchange(other.next_, other.end_)) {}

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    burn();
    pool_ = std::exchange(other.pool_, nullptr);
    key_ = other.key_;
    first_ = other.first_;
    end_ = other.end_;
    next_ = std::exchange(other.next_, other.end_);
  }
  return *this;
}

Lease::~Lease() {
  burn();
}

void Lease::burn() {
  if (pool_ != nullptr && next_ != end_) pool_->release(key_, end_);
  next_ = end_;
}

Result<Bundle> Lease::next() {
  BP_CHECK(pool_ != nullptr && next_ < end_, "a lease gives each of its bundles once");
  const std::uint64_t number = next_;
  ++next_;
  return pool_->read_bundle_blocking(key_, number);
}

LeaseAgreement::LeaseAgreement(Pool& pool, Transport& transport, const Session& session,
                               LeaseOptions options)
    : pool_(&pool),
      transport_(&transport),
      session_(session.id()),
      epoch_(session.epoch()),
      options_(std::move(options)) {
  BP_CHECK(options_.max_bundles >= 1, "a lease is for at least one step");
  if (options_.live.empty()) {
    for (int player = 0; player < pool.identity().players; ++player) {
      options_.live.push_back(player);
    }
  }
  BP_CHECK(std::is_sorted(options_.live.begin(), options_.live.end()), "live players by rank");
  BP_CHECK(options_.live.size() == static_cast<std::size_t>(transport.size()),
           "pool and transport differ in players");
  BP_CHECK(options_.live[static_cast<std::size_t>(transport.rank())] == pool.identity().player,
           "pool and transport differ in rank");
  classes_.push_back({options_.key, 1, 0});
  for (const ClassNeed& need : options_.more) {
    BP_CHECK(need.per_step >= 1, "a step spends at least one bundle of each plan");
    classes_.push_back({{need.plan, options_.key.lane}, need.per_step, classes_.size()});
  }
  BP_CHECK(classes_.size() <= kMaxLeaseClasses, "more plans than a lease can name");
  std::sort(classes_.begin(), classes_.end(),
            [](const Class& a, const Class& b) { return a.key < b.key; });
  const auto twice =
      std::adjacent_find(classes_.begin(), classes_.end(),
                         [](const Class& a, const Class& b) { return a.key == b.key; });
  BP_CHECK(twice == classes_.end(), "a lease names each plan once");
}

LeaseAgreement::~LeaseAgreement() {
  // Best effort: what is lost only makes a later rollback harder to name, not to survive.
  for (const Class& one : classes_) (void)pool_->keep_witnesses_blocking(one.key);
}

Result<Lease> LeaseAgreement::acquire_blocking(std::uint64_t step, std::uint64_t steps_left,
                                               Deadline deadline) {
  BP_CHECK(classes_.size() == 1, "an agreement on several plans leases them together");
  BP_ASSIGN(std::vector<Lease> leases, acquire_all_blocking(step, steps_left, deadline));
  return std::move(leases.front());
}

Result<std::vector<Lease>> LeaseAgreement::acquire_all_blocking(std::uint64_t step,
                                                                std::uint64_t steps_left,
                                                                Deadline deadline) {
  BP_CHECK(steps_left >= 1, "a lease is for at least one step");
  const std::uint64_t steps = std::min(options_.max_bundles, steps_left);
  while (true) {
    ++round_;
    const bool late = std::chrono::steady_clock::now() >= deadline;
    auto hello = make_hello(step, steps, late);
    Messages messages;
    if (!hello.ok()) {
      // Tell the peers, who would otherwise wait for their time limit. Ours is the error to show.
      Hello refusal = start_hello(step);
      refusal.failed = static_cast<std::uint8_t>(hello.error().code);
      (void)exchange(encode_hello(refusal), kHelloOperation);
      return std::move(hello).error();
    }
    BP_ASSIGN(const std::vector<Hello> hellos, exchange_hellos(hello.value(), messages));
    BP_TRY(judge_rollbacks(hellos));
    BP_TRY(remember(hellos));
    const LeaseDecision decision = decide_lease(hellos);
    if (!decision.empty()) return claim(decision, hellos, messages);
    // All see the same HELLOs, so all stop in the same round.
    const bool stop =
        std::any_of(hellos.begin(), hellos.end(), [](const Hello& h) { return h.gave_up; });
    if (stop) return dry(hellos, decision);
    report_waiting(hellos, decision);
    std::this_thread::sleep_for(options_.poll_interval);
  }
}

Result<LeaseAgreement::Messages> LeaseAgreement::exchange(std::span<const std::uint8_t> mine,
                                                          std::uint32_t operation) {
  Tag tag;
  tag.session = session_;
  tag.bundle = round_;
  tag.lane = options_.key.lane;
  tag.operation = operation;
  return transport_->all_gather_messages_blocking(
      mine, tag, std::chrono::steady_clock::now() + options_.peer_timeout);
}

Hello LeaseAgreement::start_hello(std::uint64_t step) const {
  Hello hello;
  hello.pool = pool_->identity();
  hello.session = session_;
  hello.step = step;
  for (const int player : options_.live) hello.live |= PlayerMask{1} << player;
  return hello;
}

Result<Hello> LeaseAgreement::make_hello(std::uint64_t step, std::uint64_t steps, bool gave_up) {
  Hello hello = start_hello(step);
  hello.steps = steps;
  hello.gave_up = gave_up;
  hello.refuses_rollback = options_.on_rollback == OnRollback::kRefuse;
  for (const Class& one : classes_) {
    ClassState state;
    state.key = one.key;
    state.per_step = one.per_step;
    BP_ASSIGN(state.watermark, pool_->watermark(one.key));
    BP_ASSIGN(state.witnesses, pool_->witnesses(one.key));
    BP_ASSIGN(state.published, pool_->ranges(one.key));
    hello.classes.push_back(std::move(state));
  }
  return hello;
}

Result<std::vector<Hello>> LeaseAgreement::exchange_hellos(const Hello& mine, Messages& messages) {
  BP_ASSIGN(messages, exchange(encode_hello(mine), kHelloOperation));
  std::vector<Hello> hellos;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    auto hello = decode_hello(messages[i]);
    if (!hello.ok()) {
      Error error = std::move(hello).error();
      error.player = options_.live[i];
      return error;
    }
    hellos.push_back(std::move(hello).value());
  }
  BP_TRY(check_hellos(hellos, mine.pool.player));
  return hellos;
}

Result<void> LeaseAgreement::remember(const std::vector<Hello>& hellos) {
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    std::vector<std::uint64_t> watermarks = hellos.front().classes[i].witnesses;
    for (const Hello& hello : hellos) {
      const ClassState& state = hello.classes[i];
      for (std::size_t player = 0; player < watermarks.size(); ++player) {
        watermarks[player] = std::max(watermarks[player], state.witnesses[player]);
      }
      std::uint64_t& seen = watermarks[static_cast<std::size_t>(hello.pool.player)];
      seen = std::max(seen, state.watermark);
    }
    BP_TRY(pool_->see(classes_[i].key, watermarks));
  }
  return {};
}

Result<void> LeaseAgreement::judge_rollbacks(const std::vector<Hello>& hellos) {
  const std::vector<Rollback> found = find_rollbacks(hellos);
  if (found.empty()) return {};
  const bool refused =
      std::any_of(hellos.begin(), hellos.end(), [](const Hello& h) { return h.refuses_rollback; });
  std::vector<LeaseNotice> notices;
  for (const Rollback& one : found) {
    LeaseNotice notice;
    notice.kind = LeaseNotice::Kind::kRollback;
    notice.player = one.player;
    notice.message = "the ledger of player " + std::to_string(one.player) + " says " +
                     std::to_string(one.says) + ", but " + std::to_string(one.seen) +
                     " was seen before: a copy or an old snapshot was put back; ";
    notice.message += refused ? "nothing of " + one.key.str() + " is leased"
                              : "bundles below " + std::to_string(one.seen) + " are burned";
    // While a pool is dry the same is seen with every poll.
    const bool news = told_.emplace(one.player, one.seen).second;
    if (news && options_.on_notice) options_.on_notice(notice);
    notices.push_back(std::move(notice));
  }
  if (!refused) return {};
  Error error = make_error(ErrorCode::kPoolRolledBack,
                           notices.front().message +
                               "; find out who put it back, then run once with rollback = \"burn\" "
                               "on all players");
  error.player = notices.front().player;
  error.epoch = epoch_;
  return error;
}

Result<std::vector<Lease>> LeaseAgreement::claim(const LeaseDecision& decision,
                                                 const std::vector<Hello>& hellos,
                                                 const Messages& messages) {
  Durable durable;
  durable.session = session_;
  durable.lane = options_.key.lane;
  std::vector<std::uint8_t> hashes;
  for (const auto& message : messages) {
    const Hash256 hash = sha256(message);
    hashes.insert(hashes.end(), hash.begin(), hash.end());
  }
  durable.hellos = sha256(hashes);
  std::vector<LaneClaim> claims;
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    const ClassDecision& one = decision.classes[i];
    durable.ranges.push_back({one.first, one.end});
    LaneClaim claim{classes_[i].key, {one.first, one.end, one.segments, {}}};
    claim.claim.witnesses.resize(static_cast<std::size_t>(pool_->identity().players));
    for (const Hello& hello : hellos) {
      claim.claim.witnesses[static_cast<std::size_t>(hello.pool.player)] =
          hello.classes[i].watermark;
    }
    claims.push_back(std::move(claim));
  }

  auto claimed = pool_->claim_all_blocking(claims);
  if (!claimed.ok()) {
    durable.failed = static_cast<std::uint8_t>(claimed.error().code);
    (void)exchange(encode_durable(durable), kDurableOperation);
    return std::move(claimed).error();
  }
  // From here on the ranges are gone for this player, whatever happens: dropped leases are burned.
  std::vector<std::pair<std::size_t, Lease>> leases;
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    const ClassDecision& one = decision.classes[i];
    leases.emplace_back(classes_[i].place, Lease(*pool_, classes_[i].key, one.first, one.end));
  }
  BP_TRY(exchange_durable(durable));
  for (LaneClaim& claim : claims) {
    for (const int player : options_.live) {
      claim.claim.witnesses[static_cast<std::size_t>(player)] = claim.claim.end;
    }
    BP_TRY(pool_->see(claim.key, claim.claim.witnesses));
  }
  std::sort(leases.begin(), leases.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Lease> ordered;
  for (auto& [place, lease] : leases) ordered.push_back(std::move(lease));
  return ordered;
}

Result<void> LeaseAgreement::exchange_durable(const Durable& mine) {
  BP_ASSIGN(const Messages messages, exchange(encode_durable(mine), kDurableOperation));
  for (std::size_t i = 0; i < messages.size(); ++i) {
    auto theirs = decode_durable(messages[i]);
    const std::string who = "player " + std::to_string(options_.live[i]);
    Error error;
    if (!theirs.ok()) {
      error = std::move(theirs).error();
    } else if (theirs->failed != 0) {
      error =
          make_error(ErrorCode::kPeerLost, who + " could not make its claim durable (" +
                                               to_string(static_cast<ErrorCode>(theirs->failed)) +
                                               "); see that player's own message");
    } else if (*theirs != mine) {
      error = make_error(ErrorCode::kProtocolMismatch,
                         who + " agreed to other bundles; the range is burned, start again");
    } else {
      continue;
    }
    error.player = options_.live[i];
    error.epoch = epoch_;
    return error;
  }
  return {};
}

void LeaseAgreement::report_waiting(const std::vector<Hello>& hellos,
                                    const LeaseDecision& decision) {
  if (!options_.on_notice) return;
  LeaseNotice notice;
  notice.kind = LeaseNotice::Kind::kWaiting;
  notice.message = "waiting for bundles of ";
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    if (i > 0) notice.message += "; of ";
    notice.message += describe_class(hellos, decision, i);
  }
  notice.message += ", none in common";
  options_.on_notice(notice);
}

Error LeaseAgreement::dry(const std::vector<Hello>& hellos, const LeaseDecision& decision) const {
  std::string text = "the pool is dry: ";
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    if (i > 0) text += "; ";
    text += classes_[i].key.str() + " wanted " +
            std::to_string(smallest_wish(hellos) * classes_[i].per_step) + " bundles from number " +
            std::to_string(decision.classes[i].floor) + " on (" +
            describe_levels(hellos, i, decision.classes[i].floor) + ")";
  }
  return make_error(ErrorCode::kPoolDry,
                    text + ", have 0 " + (classes_.size() == 1 ? "" : "steps of all of them ") +
                        "that all players hold; start triple-factory or raise its marks");
}

}  // namespace beaverpond
