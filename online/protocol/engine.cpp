#include "online/protocol/engine.h"

#include <algorithm>
#include <set>

#include "offline/plan/entry_layout.h"
#include "online/protocol/compare_task.h"
#include "online/protocol/sharing.h"
#include "online/protocol/value_store.h"

namespace beaverpond {
namespace {

/// A mask opening or a comparison that takes part in the current round.
struct InFlight {
  ValueSlot* opening = nullptr;
  CompareTask* task = nullptr;
  std::uint32_t op = 0;
  std::uint64_t words_at = 0;
  std::uint64_t words = 0;
  std::uint64_t planes_at = 0;
  std::uint64_t planes = 0;
};

/// Send and receive memory of one round; two of them alternate, since the planes of the last round
/// are read while the next is written.
struct RoundMemory {
  Buffer words;
  Buffer planes;
};

class EngineImpl final : public Engine {
 public:
  EngineImpl(const Program& program, const Plan& plan, Backend& backend, Transport& transport,
             PairKeys keys, const EngineOptions& options, ValueStore values)
      : program_(program),
        plan_(plan),
        backend_(backend),
        transport_(transport),
        sharing_(transport, std::move(keys)),
        options_(options),
        values_(std::move(values)) {}

  Result<void> prepare();
  Result<void> run(Bundle bundle, const RunInputs& inputs) override;
  Words state(std::uint32_t slot) override { return values_.state(slot); }
  void set_public_state(std::uint32_t slot, ConstWords words) override;
  ConstWords revealed(std::uint32_t slot) const override { return revealed_[slot]; }
  Result<std::vector<std::uint64_t>> reveal_state(std::uint32_t slot, std::uint64_t receivers,
                                                  std::uint32_t serial) override;
  const EngineStats& stats() const override { return stats_; }

 private:
  bool designated() const { return bundle_.designated() == transport_.rank(); }
  Deadline deadline() const {
    return std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.round_timeout_ms);
  }
  Tag next_tag() { return {options_.session, bundle_.number(), options_.lane, operation_++}; }
  Material material(std::uint32_t entry) const;
  Result<void> check_inputs(const Bundle& bundle, const RunInputs& inputs) const;

  void advance(const RunInputs& inputs);
  bool start_op(std::uint32_t index, const RunInputs& inputs);
  bool start_product(std::uint32_t index, const Op& op);
  bool start_compare(std::uint32_t index, const Op& op);
  void run_local(const Op& op, const RunInputs& inputs);
  bool masks_open(const Op& op);
  void send_mask(ValueSlot& slot, std::uint32_t op);
  void compute_product(std::uint32_t index, const Op& op);
  void multiply(const Op& op, ConstWords x, ConstWords y, Words out);
  bool run_one_deferred();

  Result<void> exchange_round();
  Result<RoundMemory*> lay_out_round(std::uint64_t& words, std::uint64_t& planes);
  void write_round(const RoundMemory& memory);
  void read_round(const RoundMemory& memory);
  void finish_mask(ValueSlot& slot, ConstWords opened);
  Error in_progress(Error error) const;

  void apply_updates(const RunInputs& inputs);
  Result<void> reveal_all();
  void find_deferrable();

  const Program& program_;
  const Plan& plan_;
  Backend& backend_;
  Transport& transport_;
  Sharing sharing_;
  EngineOptions options_;
  ValueStore values_;
  EngineStats stats_;

  std::vector<int> entry_of_op_;
  std::vector<std::unique_ptr<CompareTask>> tasks_;  ///< by operation
  std::vector<CompareTask*> task_of_bit_;            ///< by value
  std::vector<bool> deferrable_;                     ///< no message waits for its result
  std::vector<bool> op_started_;
  std::vector<std::uint32_t> deferred_;
  std::vector<InFlight> in_flight_;
  RoundMemory round_memory_[2];
  std::vector<std::vector<std::uint64_t>> revealed_;

  Bundle bundle_;
  std::uint32_t operation_ = 0;
  std::uint64_t round_ = 0;
};

Result<void> EngineImpl::prepare() {
  entry_of_op_.assign(program_.ops.size(), -1);
  tasks_.resize(program_.ops.size());
  task_of_bit_.assign(program_.values.size(), nullptr);
  op_started_.assign(program_.ops.size(), false);
  revealed_.resize(program_.reveals);
  for (std::uint32_t index = 0; index < plan_.entries.size(); ++index) {
    const PlanEntry& entry = plan_.entries[index];
    if (entry.kind == EntryKind::kMask) continue;
    entry_of_op_[entry.source] = static_cast<int>(index);
    if (is_product(entry.kind)) continue;
    const Op& op = program_.ops[entry.source];
    const std::uint64_t rounding =
        op.round_to_nearest && op.shift > 0 ? std::uint64_t{1} << (op.shift - 1) : 0;
    auto task = std::make_unique<CompareTask>(compare_layout(entry), entry.count, rounding);
    BP_TRY(task->allocate(backend_));
    if (op.bit != kNoValue) task_of_bit_[op.bit] = task.get();
    tasks_[entry.source] = std::move(task);
  }
  find_deferrable();
  return {};
}

/// An operation whose result feeds only local operations and updates can be computed while a round
/// is on its way.
void EngineImpl::find_deferrable() {
  std::vector<bool> awaited(program_.values.size(), false);
  deferrable_.assign(program_.ops.size(), false);
  for (std::size_t i = program_.ops.size(); i-- > 0;) {
    const Op& op = program_.ops[i];
    const bool interactive = entry_of_op_[i] >= 0;
    const bool out_awaited = op.out != kNoValue && awaited[op.out];
    deferrable_[i] = interactive &&
                     is_product(plan_.entries[static_cast<std::size_t>(entry_of_op_[i])].kind) &&
                     !out_awaited;
    if (interactive || out_awaited) {
      for (const ValueId input : op.inputs) awaited[input] = true;
    }
  }
}

Material EngineImpl::material(std::uint32_t entry) const {
  Material m;
  m.seed = &bundle_.seed();
  m.prg = plan_.prg;
  m.mask_stream = Plan::mask_stream(entry);
  m.correction_stream = Plan::correction_stream(entry);
  m.designated = designated();
  if (m.designated) {
    m.correction = bundle_.correction().data() + plan_.entries[entry].correction_offset_bytes;
  }
  return m;
}

Result<void> EngineImpl::check_inputs(const Bundle& bundle, const RunInputs& inputs) const {
  const bool mine = bundle.designated() == transport_.rank();
  if (mine && bundle.correction().size() != plan_.correction_size.value) {
    return make_error(ErrorCode::kPoolCorrupt,
                      "bundle " + std::to_string(bundle.number()) +
                          " has a correction of the wrong size for this plan");
  }
  if (inputs.inputs.size() != program_.inputs) {
    return make_error(ErrorCode::kConfig, "this program takes " + std::to_string(program_.inputs) +
                                              " inputs, not " +
                                              std::to_string(inputs.inputs.size()));
  }
  for (const Op& op : program_.ops) {
    if (op.code != OpCode::kInput || static_cast<int>(op.owner) != transport_.rank()) continue;
    const std::uint64_t want = program_.value(op.out).shape.count();
    if (inputs.inputs[op.slot].size() != want) {
      return make_error(ErrorCode::kConfig, "input " + std::to_string(op.slot) + " has " +
                                                std::to_string(inputs.inputs[op.slot].size()) +
                                                " words where the program takes " +
                                                std::to_string(want));
    }
  }
  return {};
}

Result<void> EngineImpl::run(Bundle bundle, const RunInputs& inputs) {
  BP_TRY(check_inputs(bundle, inputs));
  bundle_ = std::move(bundle);
  operation_ = 0;
  values_.begin_run();
  std::fill(op_started_.begin(), op_started_.end(), false);
  in_flight_.clear();
  deferred_.clear();
  while (true) {
    advance(inputs);
    if (in_flight_.empty() && run_one_deferred()) continue;
    if (in_flight_.empty()) break;
    BP_TRY(exchange_round());
  }
  for (const bool started : op_started_) BP_CHECK(started, "an operation never became ready");
  for (std::vector<std::uint64_t>& words : revealed_) words.clear();
  if (!inputs.skip_reveals) BP_TRY(reveal_all());
  apply_updates(inputs);
  bundle_ = Bundle();
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
  if (entry_of_op_[index] < 0) {
    run_local(op, inputs);
    if (op.out != kNoValue) values_[op.out].ready = true;
    return true;
  }
  if (tasks_[index] != nullptr) return start_compare(index, op);
  return start_product(index, op);
}

bool EngineImpl::start_compare(std::uint32_t index, const Op& op) {
  BitShare forward;
  if (op.inputs.size() == 2) forward = task_of_bit_[op.inputs[1]]->bit();
  const auto entry = static_cast<std::uint32_t>(entry_of_op_[index]);
  tasks_[index]->start(material(entry), values_[op.inputs[0]].share, forward,
                       values_[op.out].share);
  InFlight flight;
  flight.task = tasks_[index].get();
  flight.op = index;
  in_flight_.push_back(flight);
  return true;
}

/// Products wait until both masks are open; those nobody waits for are put off.
bool EngineImpl::start_product(std::uint32_t index, const Op& op) {
  for (const ValueId input : op.inputs) send_mask(values_[input], index);
  if (!masks_open(op)) return false;
  if (deferrable_[index]) {
    deferred_.push_back(index);
  } else {
    compute_product(index, op);
  }
  return true;
}

bool EngineImpl::masks_open(const Op& op) {
  return std::all_of(op.inputs.begin(), op.inputs.end(),
                     [this](ValueId id) { return values_[id].mask_open; });
}

void EngineImpl::send_mask(ValueSlot& slot, std::uint32_t op) {
  if (slot.mask_sent) return;
  slot.mask_sent = true;
  InFlight flight;
  flight.opening = &slot;
  flight.op = op;
  in_flight_.push_back(flight);
}

bool EngineImpl::run_one_deferred() {
  if (deferred_.empty()) return false;
  const std::uint32_t index = deferred_.back();
  deferred_.pop_back();
  compute_product(index, program_.ops[index]);
  return true;
}

/// [XY]_i = E (B_i + d_i F) + A_i F + C_i, with d_i = 1 on the designated player (Beaver 1991).
void EngineImpl::compute_product(std::uint32_t index, const Op& op) {
  const auto entry = static_cast<std::uint32_t>(entry_of_op_[index]);
  ValueSlot& x = values_[op.inputs[0]];
  ValueSlot& y = values_[op.inputs[1]];
  const Words out = values_[op.out].share;
  const Material m = material(entry);
  if (m.correction != nullptr) {
    const auto* words = reinterpret_cast<const std::uint64_t*>(m.correction);
    backend_.copy({words, out.size()}, out, kHostStream);
  } else {
    backend_.prg_fill(*m.seed, m.prg, m.correction_stream, 0,
                      {reinterpret_cast<std::uint8_t*>(out.data()), out.size() * 8}, kHostStream);
  }
  multiply(op, x.opened.words(), designated() ? y.shifted.words() : y.mask.words(), out);
  multiply(op, x.mask.words(), y.opened.words(), out);
  values_[op.out].ready = true;
}

void EngineImpl::multiply(const Op& op, ConstWords x, ConstWords y, Words out) {
  switch (op.code) {
    case OpCode::kMatMul: {
      const Shape& shape = program_.value(op.out).shape;
      const MatMulShape matmul{shape[0], shape[1], x.size() / shape[0], op.transpose_x,
                               op.transpose_y};
      backend_.matmul(matmul, x, y, out, true, kHostStream);
      return;
    }
    case OpCode::kMultiply: backend_.multiply(x, y, out, true, kHostStream); return;
    case OpCode::kConv2d:
      backend_.conv2d(ConvKind::kForward, op.conv, x, y, out, true, kHostStream);
      return;
    case OpCode::kConv2dGradWeight:
      backend_.conv2d(ConvKind::kGradWeight, op.conv, x, y, out, true, kHostStream);
      return;
    case OpCode::kConv2dGradInput:
      backend_.conv2d(ConvKind::kGradInput, op.conv, x, y, out, true, kHostStream);
      return;
    default: BP_CHECK(false, "not a product");
  }
}

void EngineImpl::run_local(const Op& op, const RunInputs& inputs) {
  const auto share = [this, &op](std::size_t i) -> ConstWords {
    return values_[op.inputs[i]].share;
  };
  const Words out = op.out == kNoValue ? Words() : values_[op.out].share;
  switch (op.code) {
    case OpCode::kInput:
      sharing_.share_input(backend_, static_cast<int>(op.owner),
                           bundle_.number() * program_.inputs + op.slot, inputs.inputs[op.slot],
                           out);
      return;
    case OpCode::kBitToWord:
      backend_.bit_to_word(task_of_bit_[op.inputs[0]]->bit(), designated(), out, kHostStream);
      return;
    case OpCode::kAdd: backend_.add(share(0), share(1), out, kHostStream); return;
    case OpCode::kSubtract: backend_.subtract(share(0), share(1), out, kHostStream); return;
    case OpCode::kAddRow: backend_.add_row(share(0), share(1), out, kHostStream); return;
    case OpCode::kSumRows: backend_.sum_rows(share(0), out, kHostStream); return;
    case OpCode::kShiftLeft:
      backend_.shift_left(share(0), static_cast<int>(op.shift), out, kHostStream);
      return;
    case OpCode::kConcatRows: {
      std::size_t at = 0;
      for (std::size_t i = 0; i < op.inputs.size(); ++i) {
        backend_.copy(share(i), out.subspan(at, share(i).size()), kHostStream);
        at += share(i).size();
      }
      return;
    }
    case OpCode::kState:
    case OpCode::kReshape:  // a view
    case OpCode::kUpdate:   // applied when the whole run has succeeded
    case OpCode::kReveal:   // sent when all else is done
      return;
    default: BP_CHECK(false, "not a local operation");
  }
}

Result<RoundMemory*> EngineImpl::lay_out_round(std::uint64_t& words, std::uint64_t& planes) {
  words = planes = 0;
  for (InFlight& flight : in_flight_) {
    flight.words =
        flight.opening != nullptr ? flight.opening->share.size() : flight.task->round_words();
    flight.planes = flight.opening != nullptr ? 0 : flight.task->round_planes();
    flight.words_at = words;
    flight.planes_at = planes;
    words += flight.words;
    planes += flight.planes;
  }
  RoundMemory& memory = round_memory_[round_++ % 2];
  const auto grow = [this](Buffer& buffer, std::uint64_t count) -> Result<void> {
    if (buffer.words().size() >= count) return {};
    BP_ASSIGN(buffer, backend_.allocate(bytes_of_words(ElementCount{count + count / 4})));
    return {};
  };
  BP_TRY(grow(memory.words, words));
  BP_TRY(grow(memory.planes, planes));
  return &memory;
}

void EngineImpl::write_round(const RoundMemory& memory) {
  for (const InFlight& flight : in_flight_) {
    const Words words = memory.words.words().subspan(flight.words_at, flight.words);
    const Words planes = memory.planes.words().subspan(flight.planes_at, flight.planes);
    if (flight.task != nullptr) {
      flight.task->write(backend_, words, planes, kHostStream);
      continue;
    }
    ValueSlot& slot = *flight.opening;
    backend_.prg_fill(bundle_.seed(), plan_.prg,
                      Plan::mask_stream(static_cast<std::uint32_t>(slot.mask_entry)), 0,
                      slot.mask.bytes(), kHostStream);
    backend_.subtract(slot.share, slot.mask.words(), words, kHostStream);
  }
}

void EngineImpl::finish_mask(ValueSlot& slot, ConstWords opened) {
  backend_.copy(opened, slot.opened.words(), kHostStream);
  if (designated() && slot.second_factor) {
    backend_.add(slot.mask.words(), opened, slot.shifted.words(), kHostStream);
  }
  slot.mask_open = true;
}

void EngineImpl::read_round(const RoundMemory& memory) {
  std::vector<InFlight> still;
  for (const InFlight& flight : in_flight_) {
    const ConstWords words = memory.words.words().subspan(flight.words_at, flight.words);
    const ConstWords planes = memory.planes.words().subspan(flight.planes_at, flight.planes);
    if (flight.opening != nullptr) {
      finish_mask(*flight.opening, words);
      continue;
    }
    flight.task->read(backend_, words, planes, kHostStream);
    if (!flight.task->done()) {
      still.push_back(flight);
      continue;
    }
    const Op& op = program_.ops[flight.op];
    values_[op.out].ready = true;
    if (op.bit != kNoValue) values_[op.bit].ready = true;
  }
  in_flight_ = std::move(still);
}

Result<void> EngineImpl::exchange_round() {
  std::uint64_t words = 0;
  std::uint64_t planes = 0;
  BP_ASSIGN(RoundMemory * memory, lay_out_round(words, planes));
  write_round(*memory);
  std::vector<Operation> pending;
  if (words > 0) {
    pending.push_back(transport_.start_all_reduce(memory->words.words().first(words),
                                                  ReduceOp::kSum, next_tag(), kHostStream));
  }
  if (planes > 0) {
    pending.push_back(transport_.start_all_reduce(memory->planes.words().first(planes),
                                                  ReduceOp::kXor, next_tag(), kHostStream));
  }
  run_one_deferred();
  const Deadline until = deadline();
  Result<void> outcome;
  for (Operation& operation : pending) {
    Result<void> result = operation.wait(until);
    if (outcome.ok() && !result.ok()) outcome = std::move(result);
  }
  if (!outcome.ok()) return in_progress(std::move(outcome).error());
  ++stats_.rounds;
  stats_.opened_words += words;
  stats_.opened_plane_words += planes;
  read_round(*memory);
  return {};
}

Error EngineImpl::in_progress(Error error) const {
  std::set<std::string> names;
  for (const InFlight& flight : in_flight_) {
    const Op& op = program_.ops[flight.op];
    names.insert(op.layer + " " + to_string(op.code));
  }
  for (const std::string& name : names) {
    error.operation += (error.operation.empty() ? "" : ", ") + name;
  }
  error.epoch = options_.epoch;
  return error;
}

void EngineImpl::apply_updates(const RunInputs& inputs) {
  for (const Op& op : program_.ops) {
    if (op.code != OpCode::kUpdate) continue;
    backend_.subtract_scaled(inputs.step_multiplier, values_[op.inputs[1]].share,
                             values_.state(op.slot), kHostStream);
  }
}

Result<void> EngineImpl::reveal_all() {
  bool any = false;
  for (const Op& op : program_.ops) {
    if (op.code != OpCode::kReveal) continue;
    any = true;
    const Tag tag = next_tag();
    Result<std::vector<std::uint64_t>> words = sharing_.reveal(
        backend_, values_[op.inputs[0]].share, op.receivers,
        Sharing::run_serial(bundle_.number(), program_.reveals, op.slot), tag, deadline());
    if (!words.ok()) return in_progress(std::move(words).error());
    revealed_[op.slot] = std::move(words).value();
  }
  if (any) ++stats_.rounds;
  return {};
}

void EngineImpl::set_public_state(std::uint32_t slot, ConstWords words) {
  const Words state = values_.state(slot);
  BP_CHECK(state.size() == words.size(), "set_public_state: sizes differ");
  if (transport_.rank() == 0) {
    backend_.copy(words, state, kHostStream);
  } else {
    std::fill(state.begin(), state.end(), 0);
  }
}

Result<std::vector<std::uint64_t>> EngineImpl::reveal_state(std::uint32_t slot,
                                                            std::uint64_t receivers,
                                                            std::uint32_t serial) {
  // Bundle number 2^64 - 1 never exists, so these tags meet no other.
  const Tag tag{options_.session, ~std::uint64_t{0}, options_.lane, serial};
  return sharing_.reveal(backend_, values_.state(slot), receivers, Sharing::state_serial(serial),
                         tag, deadline());
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(const Program& program, const Plan& plan,
                                               Backend& backend, Transport& transport,
                                               PairKeys keys, const EngineOptions& options) {
  BP_ASSIGN(const Plan expected, make_plan(program, plan.prg));
  if (plan_hash(expected) != plan_hash(plan)) {
    return make_error(ErrorCode::kRosterMismatch,
                      "the plan is not the plan of this program; make it again from the same job");
  }
  for (const Op& op : program.ops) {
    const bool outside =
        (op.code == OpCode::kInput && op.owner >= static_cast<std::uint32_t>(transport.size())) ||
        (op.code == OpCode::kReveal && (op.receivers >> transport.size()) != 0);
    if (outside) {
      return make_error(ErrorCode::kConfig, "layer '" + op.layer + "': " + to_string(op.code) +
                                                " names a player outside 0.." +
                                                std::to_string(transport.size() - 1));
    }
  }
  BP_ASSIGN(ValueStore values, ValueStore::create(program, plan, backend));
  auto engine = std::make_unique<EngineImpl>(program, plan, backend, transport, std::move(keys),
                                             options, std::move(values));
  BP_TRY(engine->prepare());
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace beaverpond
