#include "online/securenn/engine.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>

#include "online/protocol/run_checks.h"
#include "online/protocol/sharing.h"
#include "online/securenn/role.h"
#include "online/securenn/truncations.h"

namespace beaverpond {
namespace securenn {
namespace {

/// Bundle number 2^64 - 1 never exists, so what is tagged with it meets nothing else.
constexpr std::uint64_t kNoBundle = ~std::uint64_t{0};

class SecurennEngine final : public Engine {
 public:
  SecurennEngine(const Program& program, const Plan& plan, Backend& backend, Transport& transport,
                 PairKeys keys, const EngineOptions& options)
      : program_(program),
        plan_(plan),
        backend_(backend),
        keys_(std::move(keys)),
        options_(options),
        link_(transport, backend, options),
        state_link_(transport, backend, options),
        meter_(options.profile, program, link_),
        entries_(entries_of_operations(program, plan)),
        truncations_(program, plan, entries_) {}

  Result<void> prepare();
  Result<void> run(Bundle bundle, const RunInputs& inputs) override;
  Result<void> run_next(const RunInputs& inputs) override;
  std::uint32_t members_left() const override {
    return bundle_.empty() ? 0 : plan_.members - 1 - member_;
  }
  Result<std::vector<std::uint64_t>> state_share(std::uint32_t slot) override;
  Result<void> set_public_state(std::uint32_t slot, ConstWords words) override;
  Result<void> set_state_share(std::uint32_t slot, ConstWords share) override;
  ConstWords revealed(std::uint32_t slot) const override { return revealed_[slot]; }
  Result<std::vector<std::uint64_t>> reveal_state(std::uint32_t slot, std::uint64_t receivers,
                                                  std::uint32_t serial) override;
  const EngineStats& stats() const override { return stats_; }
  const EngineProfile& profile() const override { return meter_.profile(); }

 private:
  struct Reveal {
    ConstWords share;
    std::uint64_t count = 0;
    std::uint64_t receivers = 0;
    std::uint64_t serial = 0;
    std::optional<std::uint32_t> op;  ///< that is charged for it
  };

  bool holds_shares() const { return link_.rank() != kAssistant; }
  Result<void> check_bundle(const Bundle& bundle) const;
  /// Counts the runs of all bundles: what must be new for each takes it.
  std::uint64_t run_number() const { return bundle_.number() * plan_.members + member_; }
  Result<void> run_member(const RunInputs& inputs);
  Result<void> execute(const RunInputs& inputs);
  Result<std::vector<std::vector<std::uint64_t>>> reveal(const std::vector<Reveal>& reveals,
                                                         Link& link);
  Result<void> reveal_all();
  Error in_operation(Error error, std::uint32_t index) const;

  const Program& program_;
  const Plan& plan_;
  Backend& backend_;
  PairKeys keys_;
  EngineOptions options_;
  Link link_;
  Link state_link_;  ///< of what is revealed between runs
  Meter meter_;
  std::vector<std::vector<std::uint32_t>> entries_;
  ReadyTruncations truncations_;
  std::unique_ptr<Role> role_;
  std::vector<bool> fixed_;  ///< by value: kept through all members of a series
  std::vector<std::vector<std::uint64_t>> revealed_;
  EngineStats stats_;
  std::set<std::uint32_t> state_serials_;
  Bundle bundle_;
  std::uint32_t member_ = 0;
  std::optional<std::uint64_t> last_bundle_;
  bool failed_ = false;
};

Result<void> SecurennEngine::prepare() {
  if (program_.members > 1) fixed_ = fixed_values(program_);
  revealed_.resize(program_.reveals);
  state_link_.begin_bundle(kNoBundle);
  const RoleContext context{program_, plan_, backend_, link_, meter_, keys_, entries_};
  BP_ASSIGN(role_, holds_shares() ? make_holder(context) : make_assistant(context));
  return {};
}

Result<void> SecurennEngine::check_bundle(const Bundle& bundle) const {
  BP_TRY(check_alive(failed_));
  BP_TRY(check_order(bundle, last_bundle_));
  const bool fits = bundle.designated() < kAssistant &&
                    (bundle.designated() != link_.rank() ||
                     bundle.correction().size() == plan_.correction_size.value);
  if (fits) return {};
  return make_error(ErrorCode::kConfig,
                    "the correction of bundle " + std::to_string(bundle.number()) +
                        " is not one of this plan for " + to_string(plan_.protocol) +
                        "; make the pool again from the plan of this job");
}

Result<void> SecurennEngine::run(Bundle bundle, const RunInputs& inputs) {
  BP_TRY(check_bundle(bundle));
  BP_TRY(check_inputs(program_, inputs, 0, link_.rank()));
  last_bundle_ = bundle.number();
  bundle_ = std::move(bundle);  // members that the one before still had are burned
  member_ = 0;
  link_.begin_bundle(bundle_.number());
  return run_member(inputs);
}

Result<void> SecurennEngine::run_next(const RunInputs& inputs) {
  BP_TRY(check_alive(failed_));
  if (members_left() == 0) {
    return make_error(ErrorCode::kConfig,
                      "no member of a series is left; start another with a new bundle");
  }
  BP_TRY(check_inputs(program_, inputs, member_ + 1, link_.rank()));
  ++member_;  // never back: a member's masks are spent once
  return run_member(inputs);
}

Result<void> SecurennEngine::run_member(const RunInputs& inputs) {
  EngineProfile& profile = meter_.profile();
  const ScopedTimer timer(options_.profile ? &profile.run_seconds : nullptr);
  Result<void> result = execute(inputs);
  // Also after an error: until then the backend reads the inputs and the bundle.
  const Result<void> settled = backend_.synchronize(kHostStream);
  if (result.ok()) result = settled;
  failed_ = !result.ok();
  stats_.rounds = link_.rounds();
  ++profile.runs;
  profile.exchange_seconds = link_.seconds();
  profile.sent_bytes = link_.sent_bytes() + link_.header_bytes();
  if (failed_ || member_ + 1 == plan_.members) bundle_ = Bundle();
  return result;
}

Result<void> SecurennEngine::execute(const RunInputs& inputs) {
  const std::vector<bool> kept = member_ == 0 ? std::vector<bool>() : fixed_;
  role_->begin({&bundle_, member_, run_number()}, kept);
  truncations_.begin(kept);
  std::vector<std::uint32_t> given;
  for (std::uint32_t index = 0; index < program_.ops.size(); ++index) {
    if (program_.ops[index].code != OpCode::kInput || truncations_.kept(index)) continue;
    given.push_back(index);
    meter_.part(index, 0);
  }
  if (!given.empty()) BP_TRY(role_->share_inputs(given, inputs));
  for (std::uint32_t index = 0; index < program_.ops.size(); ++index) {
    if (truncations_.kept(index)) continue;
    meter_.begin(index);
    Result<void> done = role_->execute(index, truncations_.take(index));
    // A device's seconds are those of the operation that asked for its work.
    if (done.ok() && options_.profile) done = backend_.synchronize(kHostStream);
    meter_.end();
    if (!done.ok()) return in_operation(std::move(done).error(), index);
    truncations_.done(index);
  }
  for (std::vector<std::uint64_t>& words : revealed_) words.clear();
  if (!inputs.skip_reveals) BP_TRY(reveal_all());
  return role_->finish(inputs);
}

Error SecurennEngine::in_operation(Error error, std::uint32_t index) const {
  const Op& op = program_.ops[index];
  error.operation = op.layer + " " + to_string(op.code);
  error.epoch = options_.epoch;
  return error;
}

Result<void> SecurennEngine::reveal_all() {
  std::vector<Reveal> reveals;
  std::vector<std::uint32_t> slots;
  for (std::uint32_t index = 0; index < program_.ops.size(); ++index) {
    const Op& op = program_.ops[index];
    if (op.code != OpCode::kReveal) continue;
    reveals.push_back({role_->value_share(op.inputs[0]), program_.value(op.inputs[0]).shape.count(),
                       op.receivers, Sharing::run_serial(run_number(), program_.reveals, op.slot),
                       index});
    slots.push_back(op.slot);
  }
  if (reveals.empty()) return {};
  BP_ASSIGN(std::vector<std::vector<std::uint64_t>> words, reveal(reveals, link_));
  for (std::size_t i = 0; i < slots.size(); ++i) revealed_[slots[i]] = std::move(words[i]);
  return {};
}

/// One round. What leaves a player is re-randomised by a zero sharing between P0 and P1.
Result<std::vector<std::vector<std::uint64_t>>> SecurennEngine::reveal(
    const std::vector<Reveal>& reveals, Link& link) {
  const int rank = link.rank();
  const auto receives = [](const Reveal& one, int player) {
    return ((one.receivers >> player) & 1) != 0;
  };
  std::vector<Buffer> masked;
  std::vector<std::vector<std::uint64_t>> of_player[kAssistant];
  for (const Reveal& one : reveals) {
    for (int player = 0; player < kAssistant; ++player) {
      const bool here = player == rank || receives(one, rank);
      of_player[player].emplace_back(here ? one.count : 0);
    }
    if (!holds_shares()) continue;
    const auto peer = static_cast<std::size_t>(link.peer());
    Buffer& mine = masked.emplace_back();
    BP_ASSIGN(mine, backend_.allocate(bytes_of_words(ElementCount{one.count})));
    backend_.copy(one.share, mine.words(), kHostStream);
    backend_.prg_add(keys_.sent[peer], PrgKind::kChaCha20, one.serial, mine.words(), kHostStream);
    backend_.prg_subtract(keys_.received[peer], PrgKind::kChaCha20, one.serial, mine.words(),
                          kHostStream);
    backend_.download(mine.bytes(), bytes_of(Words(of_player[rank].back())), kHostStream);
  }
  BP_TRY(backend_.synchronize(kHostStream));
  for (std::size_t i = 0; i < reveals.size(); ++i) {
    const std::uint64_t before = link.sent_bytes();
    for (int to = 0; holds_shares() && to < kPlayers; ++to) {
      if (to != rank && receives(reveals[i], to)) link.send_host(to, of_player[rank][i]);
    }
    for (int from = 0; from < kAssistant; ++from) {
      if (from != rank && receives(reveals[i], rank)) link.receive_host(from, of_player[from][i]);
    }
    if (reveals[i].op.has_value()) meter_.part(*reveals[i].op, link.sent_bytes() - before);
  }
  BP_TRY(link.finish());
  std::vector<std::vector<std::uint64_t>> values;
  for (std::size_t i = 0; i < reveals.size(); ++i) {
    std::vector<std::uint64_t>& value = values.emplace_back(
        receives(reveals[i], rank) ? reveals[i].count : std::uint64_t{0}, std::uint64_t{0});
    for (const auto& parts : of_player) {
      for (std::size_t at = 0; at < value.size(); ++at) value[at] += parts[i][at];
    }
  }
  return values;
}

Result<std::vector<std::uint64_t>> SecurennEngine::reveal_state(std::uint32_t slot,
                                                                std::uint64_t receivers,
                                                                std::uint32_t serial) {
  BP_CHECK(state_serials_.insert(serial).second, "reveal_state: a serial is used twice");
  const Words state = role_->state(slot);
  BP_ASSIGN(
      auto words,
      reveal({{state, state.size(), receivers, Sharing::state_serial(serial), {}}}, state_link_));
  return std::move(words[0]);
}

Result<std::vector<std::uint64_t>> SecurennEngine::state_share(std::uint32_t slot) {
  const Words state = role_->state(slot);
  std::vector<std::uint64_t> words(state.size());
  backend_.download(bytes_of(ConstWords(state)), bytes_of(Words(words)), kHostStream);
  BP_TRY(backend_.synchronize(kHostStream));
  return words;
}

Result<void> SecurennEngine::set_public_state(std::uint32_t slot, ConstWords words) {
  if (link_.rank() == 0) return set_state_share(slot, words);
  backend_.zero(bytes_of(role_->state(slot)), kHostStream);
  return backend_.synchronize(kHostStream);
}

Result<void> SecurennEngine::set_state_share(std::uint32_t slot, ConstWords share) {
  const Words state = role_->state(slot);
  BP_CHECK(state.size() == share.size(), "set_state_share: sizes differ");
  if (!holds_shares()) return {};
  backend_.upload(bytes_of(share), bytes_of(state), kHostStream);
  return backend_.synchronize(kHostStream);
}

Result<void> check_setting(const Program& program, const Backend& backend,
                           const Transport& transport) {
  if (transport.size() != kPlayers) {
    return make_error(ErrorCode::kConfig, "SecureNN is a protocol of 3 players, but " +
                                              std::to_string(transport.size()) +
                                              " are connected; set players = 3");
  }
  if (backend.memory() == MemoryKind::kHost && transport.memory() == MemoryKind::kDevice) {
    return make_error(
        ErrorCode::kConfig,
        "the transport carries openings between GPUs, but this player computes on the "
        "CPU; add --device cuda, or use --transport tls");
  }
  return check_players(program, kPlayers);
}

}  // namespace
}  // namespace securenn

Result<std::unique_ptr<Engine>> create_securenn_engine(const Program& program, const Plan& plan,
                                                       Backend& backend, Transport& transport,
                                                       PairKeys keys,
                                                       const EngineOptions& options) {
  const bool additive = plan.protocol == Protocol::kAdditive;  // never a plan of this engine
  BP_TRY(check_plan(program, plan, additive ? Protocol::kSecurenn : plan.protocol));
  BP_TRY(securenn::check_setting(program, backend, transport));
  EngineOptions own = options;
  if (transport.rank() == securenn::kAssistant) {
    // P2 waits through all rounds it has no part in; who is lost is told by its connection.
    const std::uint64_t rounds = std::clamp<std::uint64_t>(program.ops.size(), 1, 64);
    own.round_timeout_ms = static_cast<std::uint32_t>(std::min<std::uint64_t>(
        options.round_timeout_ms * rounds, std::numeric_limits<std::uint32_t>::max()));
  }
  auto engine = std::make_unique<securenn::SecurennEngine>(program, plan, backend, transport,
                                                           std::move(keys), own);
  BP_TRY(engine->prepare());
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace beaverpond
