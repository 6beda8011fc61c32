#include "online/protocol/engine.h"

#include <algorithm>

#include "offline/plan/entry_layout.h"
#include "online/protocol/engine_impl.h"
#include "online/protocol/run_checks.h"
#include "online/protocol/schedule.h"

namespace beaverpond {

void EngineImpl::prepare() {
  entry_of_op_ = entries_of_ops(program_, plan_);
  tasks_.resize(program_.ops.size());
  task_of_bit_.assign(program_.values.size(), nullptr);
  op_started_.assign(program_.ops.size(), false);
  if (program_.members > 1) fixed_ = fixed_values(program_);
  revealed_.resize(program_.reveals);
  for (const PlanEntry& entry : plan_.entries) {
    if (!is_comparison(entry.kind)) continue;
    const Op& op = program_.ops[entry.source];
    const std::uint64_t rounding =
        op.round_to_nearest && op.shift > 0 ? std::uint64_t{1} << (op.shift - 1) : 0;
    auto task = std::make_unique<CompareTask>(compare_layout(entry, plan_.profile), entry.count,
                                              rounding, piece_cut(entry.count));
    const MemoryPlan::OfOp& place = memory_.ops[entry.source];
    task->use(values_.words(place.opened), values_.words(place.kept), values_.words(place.delta),
              values_.words(place.b));
    if (op.bit != kNoValue) task_of_bit_[op.bit] = task.get();
    tasks_[entry.source] = std::move(task);
  }
}

/// The memory plan stands on when things happen: had they another order, a tensor would lie where
/// another one still does.
void EngineImpl::passes(std::uint32_t op) const {
  const RunTicks& ticks = member_ == 0 ? memory_.first : memory_.later;
  BP_CHECK(ticks.of_op[op] == tick_, "the engine runs as the memory plan says");
}

Result<void> EngineImpl::check_bundle(const Bundle& bundle) const {
  BP_TRY(check_alive(failed_));
  BP_TRY(check_order(bundle, last_bundle_));
  const bool mine = bundle.designated() == transport_.rank();
  if (mine && bundle.correction().size() != plan_.correction_size.value) {
    return make_error(ErrorCode::kPoolCorrupt,
                      "bundle " + std::to_string(bundle.number()) +
                          " has a correction of the wrong size for this plan");
  }
  return {};
}

Result<void> EngineImpl::run(Bundle bundle, const RunInputs& inputs) {
  BP_TRY(check_bundle(bundle));
  BP_TRY(check_inputs(program_, inputs, 0, transport_.rank()));
  last_bundle_ = bundle.number();
  bundle_ = std::move(bundle);  // members that the one before still had are burned
  member_ = 0;
  operation_ = 0;
  values_.begin_run({});
  std::fill(op_started_.begin(), op_started_.end(), false);
  return run_member(inputs);
}

Result<void> EngineImpl::run_next(const RunInputs& inputs) {
  BP_TRY(check_alive(failed_));
  if (members_left() == 0) {
    return make_error(ErrorCode::kConfig,
                      "no member of a series is left; start another with a new bundle");
  }
  BP_TRY(check_inputs(program_, inputs, member_ + 1, transport_.rank()));
  ++member_;  // never back: a member's masks are spent once
  values_.begin_run(fixed_);
  for (std::size_t i = 0; i < op_started_.size(); ++i) {
    const Op& op = program_.ops[i];
    op_started_[i] = op.out != kNoValue && fixed_[op.out];
  }
  return run_member(inputs);
}

Result<void> EngineImpl::run_member(const RunInputs& inputs) {
  const ScopedTimer timer = profiler_.time_run();
  Result<void> result = execute(inputs);
  // Also after an error: until then the backend reads the inputs and the bundle.
  const Result<void> settled = settle();
  if (result.ok()) result = settled;
  failed_ = !result.ok();
  if (failed_ || member_ + 1 == plan_.members) {  // spent or burned, its seed is wiped
    bundle_ = Bundle();
    backend_.forget_keys(kHostStream);
  }
  return result;
}

Result<void> EngineImpl::execute(const RunInputs& inputs) {
  BP_CHECK(idle(), "a run ends with nothing in flight");
  deferred_.clear();
  tick_ = 0;
  while (true) {
    advance(inputs);
    if (idle() && deferred_.empty()) break;
    ++tick_;
    if (idle()) {
      run_one_deferred();
      continue;
    }
    BP_TRY(exchange_round());
  }
  for (const bool started : op_started_) BP_CHECK(started, "an operation never became ready");
  for (std::vector<std::uint64_t>& words : revealed_) words.clear();
  if (!inputs.skip_reveals) BP_TRY(reveal_all());
  apply_updates(inputs);
  return {};
}

void EngineImpl::advance(const RunInputs& inputs) {
  bool progress = true;
  while (progress) {
    progress = false;
    for (std::uint32_t i = 0; i < program_.ops.size(); ++i) {
      if (!op_started_[i] && start_op(i, inputs)) progress = op_started_[i] = true;
    }
  }
}

bool EngineImpl::start_op(std::uint32_t index, const RunInputs& inputs) {
  const Op& op = program_.ops[index];
  for (const ValueId input : op.inputs) {
    if (!values_[input].ready) return false;
  }
  if (entry_of_op_[index] == kNoIndex) {
    ++tick_;
    passes(index);
    run_local(index, op, inputs);
    if (op.out != kNoValue) values_[op.out].ready = true;
    return true;
  }
  if (tasks_[index] != nullptr) return start_compare(index, op);
  if (op.code == OpCode::kLookup) return start_lookup(index);
  return start_product(index, op);
}

bool EngineImpl::start_compare(std::uint32_t index, const Op& op) {
  BitShare forward;
  if (op.inputs.size() == 2) forward = task_of_bit_[op.inputs[1]]->bit();
  tasks_[index]->start(material(entry_of_op_[index]), values_[op.inputs[0]].share, forward,
                       values_[op.out].share);
  InFlight flight;
  flight.task = tasks_[index].get();
  flight.op = index;
  const std::size_t pieces = flight.task->pieces();
  for (; flight.piece < pieces; ++flight.piece) {
    (pieces == 1 ? main_ : new_strand()).flights.push_back(flight);
  }
  return true;
}

bool EngineImpl::start_lookup(std::uint32_t index) {
  InFlight flight;
  flight.op = index;
  main_.flights.push_back(flight);
  return true;
}

void EngineImpl::apply_updates(const RunInputs& inputs) {
  for (std::uint32_t index = 0; index < program_.ops.size(); ++index) {
    const Op& op = program_.ops[index];
    if (op.code != OpCode::kAssign && op.code != OpCode::kUpdate) continue;
    const OpTimer timer(*this, index);
    if (op.code == OpCode::kAssign) {
      backend_.copy(values_[op.inputs[0]].share, values_.state(op.slot), kHostStream);
    }
    if (op.code != OpCode::kUpdate) continue;
    backend_.subtract_scaled(inputs.step_multiplier, values_[op.inputs[1]].share,
                             values_.state(op.slot), kHostStream);
  }
}

/// Waits for the backend and returns its first failure ever. After one nothing is sent or read:
/// what followed it did nothing, so that a share may lie where a masked one belongs.
Result<void> EngineImpl::settle() {
  Result<void> done = backend_.synchronize(kHostStream);
  if (!done.ok()) {
    failed_ = true;
    if (backend_outcome_.ok()) backend_outcome_ = in_operations(done.error(), computing_);
  }
  computing_.clear();
  return backend_outcome_;
}

Result<std::vector<std::uint64_t>> EngineImpl::state_share(std::uint32_t slot) {
  const Words state = values_.state(slot);
  std::vector<std::uint64_t> share(state.size());
  backend_.download(bytes_of(state), bytes_of(Words(share)), kHostStream);
  BP_TRY(settle());
  return share;
}

Result<void> EngineImpl::set_public_state(std::uint32_t slot, ConstWords words) {
  if (transport_.rank() == 0) return set_state_share(slot, words);
  const Words state = values_.state(slot);
  BP_CHECK(state.size() == words.size(), "set_public_state: sizes differ");
  backend_.zero(bytes_of(state), kHostStream);
  return settle();
}

Result<void> EngineImpl::set_state_share(std::uint32_t slot, ConstWords share) {
  const Words state = values_.state(slot);
  BP_CHECK(state.size() == share.size(), "set_state_share: sizes differ");
  backend_.upload(bytes_of(share), bytes_of(state), kHostStream);
  return settle();
}

Result<std::unique_ptr<Engine>> Engine::create(const Program& program, const Plan& plan,
                                               Backend& backend, Transport& transport,
                                               PairKeys keys, const EngineOptions& options) {
  BP_TRY(check_plan(program, plan, Protocol::kAdditive));
  BP_TRY(check_players(program, transport.size()));
  if (transport.memory() == MemoryKind::kDevice && backend.memory() == MemoryKind::kHost) {
    return make_error(ErrorCode::kConfig, "the transport " + transport.name() +
                                              " takes device memory, which the backend " +
                                              backend.name() +
                                              " does not have; choose a device or another "
                                              "transport");
  }
  MemoryPlan memory = plan_memory(program, plan);
  BP_ASSIGN(ValueStore values, ValueStore::create(program, plan, memory, backend));
  auto engine = std::make_unique<EngineImpl>(program, plan, backend, transport, std::move(keys),
                                             options, std::move(memory), std::move(values));
  engine->prepare();
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace beaverpond
