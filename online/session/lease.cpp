#include "online/session/lease.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace beaverpond {
namespace {

std::uint64_t available(const Hello& hello, std::uint64_t floor) {
  std::uint64_t count = 0;
  for (const PublishedRange& range : hello.published) {
    if (range.end() > floor) count += range.end() - std::max(range.first, floor);
  }
  return count;
}

std::string describe_levels(const std::vector<Hello>& hellos, std::uint64_t floor) {
  std::string text;
  for (std::size_t i = 0; i < hellos.size(); ++i) {
    if (i > 0) text += ", ";
    text += "player " + std::to_string(i) + " has " + std::to_string(available(hellos[i], floor));
  }
  return text;
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
    : pool_(&pool), transport_(&transport), session_(session.id()), options_(std::move(options)) {
  BP_CHECK(options_.max_bundles >= 1, "a lease has at least one bundle");
  BP_CHECK(pool.identity().players == transport.size(), "pool and transport differ in players");
  BP_CHECK(pool.identity().player == transport.rank(), "pool and transport differ in rank");
}

Result<Lease> LeaseAgreement::acquire_blocking(std::uint64_t step, std::uint64_t steps_left,
                                               Deadline deadline) {
  BP_CHECK(steps_left >= 1, "a lease is for at least one step");
  const std::uint64_t wanted = std::min(options_.max_bundles, steps_left);
  while (true) {
    ++round_;
    const bool late = std::chrono::steady_clock::now() >= deadline;
    auto hello = make_hello(step, wanted, late);
    Messages messages;
    if (!hello.ok()) {
      // Tell the peers, who would otherwise wait for their time limit. Ours is the error to show.
      Hello refusal;
      refusal.pool = pool_->identity();
      refusal.key = options_.key;
      refusal.session = session_;
      refusal.step = step;
      refusal.witnesses.resize(static_cast<std::size_t>(transport_->size()));
      refusal.failed = static_cast<std::uint8_t>(hello.error().code);
      (void)exchange(encode_hello(refusal), kHelloOperation);
      return std::move(hello).error();
    }
    BP_ASSIGN(const std::vector<Hello> hellos, exchange_hellos(hello.value(), messages));
    report_rollbacks(hellos);
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

Result<Hello> LeaseAgreement::make_hello(std::uint64_t step, std::uint64_t wanted, bool gave_up) {
  Hello hello;
  hello.pool = pool_->identity();
  hello.key = options_.key;
  hello.session = session_;
  hello.step = step;
  hello.wanted = wanted;
  hello.gave_up = gave_up;
  BP_ASSIGN(hello.watermark, pool_->watermark(options_.key));
  BP_ASSIGN(hello.witnesses, pool_->witnesses(options_.key));
  BP_ASSIGN(hello.published, pool_->ranges(options_.key));
  return hello;
}

Result<std::vector<Hello>> LeaseAgreement::exchange_hellos(const Hello& mine, Messages& messages) {
  BP_ASSIGN(messages, exchange(encode_hello(mine), kHelloOperation));
  std::vector<Hello> hellos;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    auto hello = decode_hello(messages[i]);
    if (!hello.ok()) {
      Error error = std::move(hello).error();
      error.player = static_cast<int>(i);
      return error;
    }
    hellos.push_back(std::move(hello).value());
  }
  BP_TRY(check_hellos(hellos, transport_->rank()));
  return hellos;
}

Result<Lease> LeaseAgreement::claim(const LeaseDecision& decision, const std::vector<Hello>& hellos,
                                    const Messages& messages) {
  Claim claim;
  claim.first = decision.first;
  claim.end = decision.end;
  claim.segments = decision.segments;
  for (const Hello& hello : hellos) claim.witnesses.push_back(hello.watermark);

  Durable durable;
  durable.session = session_;
  durable.lane = options_.key.lane;
  durable.first = claim.first;
  durable.end = claim.end;
  std::vector<std::uint8_t> hashes;
  for (const auto& message : messages) {
    const Hash256 hash = sha256(message);
    hashes.insert(hashes.end(), hash.begin(), hash.end());
  }
  durable.hellos = sha256(hashes);

  auto claimed = pool_->claim_blocking(options_.key, claim);
  if (!claimed.ok()) {
    durable.failed = static_cast<std::uint8_t>(claimed.error().code);
    (void)exchange(encode_durable(durable), kDurableOperation);
    return std::move(claimed).error();
  }
  // From here on the range is gone for this player, whatever happens: dropping the lease burns it.
  Lease lease(*pool_, options_.key, claim.first, claim.end);
  BP_TRY(exchange_durable(durable));
  return lease;
}

Result<void> LeaseAgreement::exchange_durable(const Durable& mine) {
  BP_ASSIGN(const Messages messages, exchange(encode_durable(mine), kDurableOperation));
  for (std::size_t i = 0; i < messages.size(); ++i) {
    auto theirs = decode_durable(messages[i]);
    Error error;
    if (!theirs.ok()) {
      error = std::move(theirs).error();
    } else if (theirs->failed != 0) {
      error = make_error(ErrorCode::kPeerLost,
                         "player " + std::to_string(i) + " could not make its claim durable (" +
                             to_string(static_cast<ErrorCode>(theirs->failed)) +
                             "); see that player's own message");
    } else if (*theirs != mine) {
      error = make_error(ErrorCode::kProtocolMismatch,
                         "player " + std::to_string(i) +
                             " agreed to other bundles; the range is burned, start again");
    } else {
      continue;
    }
    error.player = static_cast<int>(i);
    error.epoch = pool_->identity().epoch;
    return error;
  }
  return {};
}

void LeaseAgreement::report_rollbacks(const std::vector<Hello>& hellos) {
  if (!options_.on_notice) return;
  for (std::size_t player = 0; player < hellos.size(); ++player) {
    std::uint64_t seen = 0;
    for (const Hello& hello : hellos) seen = std::max(seen, hello.witnesses[player]);
    if (hellos[player].watermark >= seen) continue;
    LeaseNotice notice;
    notice.kind = LeaseNotice::Kind::kRollback;
    notice.player = static_cast<int>(player);
    notice.message = "the ledger of player " + std::to_string(player) + " says " +
                     std::to_string(hellos[player].watermark) + ", but " + std::to_string(seen) +
                     " was seen before: a copy or an old snapshot was put back; bundles below " +
                     std::to_string(seen) + " are burned";
    options_.on_notice(notice);
  }
}

void LeaseAgreement::report_waiting(const std::vector<Hello>& hellos,
                                    const LeaseDecision& decision) {
  if (!options_.on_notice) return;
  LeaseNotice notice;
  notice.kind = LeaseNotice::Kind::kWaiting;
  notice.message = "waiting for bundles of " + options_.key.str() + " from number " +
                   std::to_string(decision.floor) +
                   " on: " + describe_levels(hellos, decision.floor) + ", none in common";
  options_.on_notice(notice);
}

Error LeaseAgreement::dry(const std::vector<Hello>& hellos, const LeaseDecision& decision) const {
  std::uint64_t wanted = ~std::uint64_t{0};
  for (const Hello& hello : hellos) wanted = std::min(wanted, hello.wanted);
  return make_error(ErrorCode::kPoolDry, "the pool is dry: " + options_.key.str() + " wanted " +
                                             std::to_string(wanted) + " bundles from number " +
                                             std::to_string(decision.floor) +
                                             " on, have 0 that all players hold (" +
                                             describe_levels(hellos, decision.floor) +
                                             "); start triple-factory or raise its marks");
}

}  // namespace beaverpond
