// Players 0 and 1.
#include <bit>
#include <map>
#include <optional>

#include "offline/plan/entry_layout.h"
#include "online/protocol/compare_task.h"
#include "online/protocol/local_ops.h"
#include "online/protocol/products.h"
#include "online/protocol/value_store.h"
#include "online/securenn/role.h"
#include "online/securenn/sign.h"

namespace beaverpond::securenn {
namespace {

class Holder final : public Role {
 public:
  Holder(const RoleContext& context, ValueStore values)
      : context_(context),
        program_(context.program),
        plan_(context.plan),
        backend_(context.backend),
        link_(context.link),
        values_(std::move(values)),
        scratch_(context.backend),
        common_(link_.rank() == 0 ? context.keys.sent[1] : context.keys.received[0],
                context.plan.prg) {
    if (link_.rank() == 0) dealt_.emplace(context.keys.received[kAssistant], context.plan.prg);
    party_ = std::make_unique<Party>(
        Party{link_, scratch_, &common_, dealt_.has_value() ? &*dealt_ : nullptr});
  }

  Result<void> prepare();

  void begin(const Run& run, const std::vector<bool>& kept) override {
    run_ = run;
    values_.begin_run(kept);
  }
  Result<void> share_inputs(const std::vector<std::uint32_t>& ops,
                            const RunInputs& inputs) override;
  Result<void> execute(std::uint32_t index, const std::vector<std::uint32_t>& truncations) override;
  Result<void> finish(const RunInputs& inputs) override;
  ConstWords value_share(ValueId value) override { return values_[value].share; }
  Words state(std::uint32_t slot) override { return values_.state(slot); }

 private:
  bool designated() const { return run_.bundle->designated() == link_.rank(); }
  Material material(std::uint32_t entry) const {
    return entry_material(plan_, *run_.bundle, entry, run_.member, designated());
  }
  Words bit(ValueId value) { return bits_.at(value).words(); }
  Result<void> open_sum(Words words, Words xors);
  Result<void> truncate(const std::vector<std::uint32_t>& ops);
  Result<void> relu(const Op& op, const std::vector<std::uint32_t>& entries, std::size_t at,
                    ConstWords x);
  Result<void> product(const Op& op, std::uint32_t entry);
  Result<void> open_masks(const Op& op);
  Result<void> look_up(const Op& op, std::uint32_t entry);

  RoleContext context_;
  const Program& program_;
  const Plan& plan_;
  Backend& backend_;
  Link& link_;
  ValueStore values_;
  Scratch scratch_;
  CommonStreams common_;
  std::optional<CommonStreams> dealt_;
  std::unique_ptr<Party> party_;
  std::map<std::uint32_t, std::unique_ptr<CompareTask>> tasks_;  ///< truncations, by operation
  std::map<ValueId, Buffer> bits_;                               ///< shares mod 2^64 of 0 and 1
  std::map<std::uint32_t, Buffer> truncated_;                    ///< before ReLU, by operation
  Buffer round_mine_;
  Buffer round_theirs_;
  Run run_;
};

bool has_sign(const Op& op) {
  return op.bit != kNoValue;
}

Result<void> Holder::prepare() {
  for (std::uint32_t index = 0; index < program_.ops.size(); ++index) {
    const Op& op = program_.ops[index];
    const ElementCount count{op.out == kNoValue ? 0 : program_.value(op.out).shape.count()};
    if (has_sign(op)) {
      BP_ASSIGN(bits_[op.bit], backend_.allocate(bytes_of_words(count)));
    }
    for (const std::uint32_t entry : context_.entries[index]) {
      if (plan_.entries[entry].kind != EntryKind::kTruncate) continue;
      const std::uint64_t rounding =
          op.round_to_nearest ? std::uint64_t{1} << (op.shift - 1) : std::uint64_t{0};
      const CompareLayout layout = compare_layout(plan_.entries[entry], plan_.profile);
      auto task = std::make_unique<CompareTask>(layout, count.value, rounding);
      BP_TRY(task->allocate(backend_));
      tasks_[index] = std::move(task);
      if (op.code == OpCode::kTruncate) continue;
      BP_ASSIGN(truncated_[index], backend_.allocate(bytes_of_words(count)));
    }
  }
  return {};
}

/// The other holder of shares expands the owner's key, and the owner takes what is left; the
/// assistant, who keeps nothing, sends what is left to player 1.
Result<void> Holder::share_inputs(const std::vector<std::uint32_t>& ops, const RunInputs& inputs) {
  const int rank = link_.rank();
  for (const std::uint32_t index : ops) {
    const Op& op = program_.ops[index];
    const auto owner = static_cast<std::size_t>(op.owner);
    const std::uint64_t stream = run_.number * program_.inputs + op.slot;
    const Words share = values_[op.out].share;
    if (static_cast<int>(owner) == rank) {
      backend_.upload(bytes_of(inputs.inputs[op.slot]), bytes_of(share), kHostStream);
      backend_.prg_subtract(context_.keys.sent[static_cast<std::size_t>(link_.peer())],
                            PrgKind::kChaCha20, stream, share, kHostStream);
    } else if (op.owner == kAssistant && rank == 1) {
      link_.receive(kAssistant, share);
    } else {
      backend_.prg_fill(context_.keys.received[owner], PrgKind::kChaCha20, stream, 0,
                        bytes_of(share), kHostStream);
    }
    values_[op.out].ready = true;
  }
  return link_.finish();
}

/// words := their sum over both players, xors := their XOR; one round.
Result<void> Holder::open_sum(Words words, Words xors) {
  BP_TRY(grow(backend_, round_theirs_, words.size() + xors.size()));
  const Words theirs = round_theirs_.words().first(words.size());
  const Words their_bits = round_theirs_.words().subspan(words.size(), xors.size());
  link_.open(words, theirs);
  link_.open(xors, their_bits);
  BP_TRY(link_.finish());
  backend_.add(words, theirs, words, kHostStream);
  backend_.securenn().run(XorWords{their_bits.data(), xors.data()}, xors.size(), kHostStream);
  return {};
}

/// Several truncations side by side, as the additive protocol does them between two players.
Result<void> Holder::truncate(const std::vector<std::uint32_t>& ops) {
  for (const std::uint32_t index : ops) {
    const Op& op = program_.ops[index];
    const bool whole = op.code == OpCode::kTruncate;
    tasks_[index]->start(material(context_.entries[index][0]), values_[op.inputs[0]].share, {},
                         whole ? values_[op.out].share : truncated_.at(index).words());
  }
  std::vector<Buffer> last;  // planes of a round are read while the next is written
  while (true) {
    std::uint64_t words = 0;
    std::uint64_t planes = 0;
    for (const std::uint32_t index : ops) {
      const CompareTask& task = *tasks_[index];
      words += task.round_words();
      planes += task.round_planes();
      if (!task.done()) context_.meter.part(index, 8 * (task.round_words() + task.round_planes()));
    }
    if (words + planes == 0) break;
    BP_ASSIGN(Buffer memory, backend_.allocate(bytes_of_words(ElementCount{words + planes})));
    const auto for_tasks = [&](auto function) {
      std::uint64_t at = 0;
      std::uint64_t plane_at = words;
      for (const std::uint32_t index : ops) {
        CompareTask& task = *tasks_[index];
        const std::uint64_t n = task.round_words();
        const std::uint64_t p = task.round_planes();
        function(task, memory.words().subspan(at, n), memory.words().subspan(plane_at, p));
        at += n;
        plane_at += p;
      }
    };
    for_tasks([this](CompareTask& task, Words w, Words p) {
      if (!task.done()) task.write(backend_, w, p, kHostStream);
    });
    BP_TRY(open_sum(memory.words().first(words), memory.words().subspan(words)));
    for_tasks(
        [this](CompareTask& task, Words w, Words p) { task.read(backend_, w, p, kHostStream); });
    last.push_back(std::move(memory));
  }
  return backend_.synchronize(kHostStream);
}

/// `entries` from `at` on are what the plan holds for the sign.
Result<void> Holder::relu(const Op& op, const std::vector<std::uint32_t>& entries, std::size_t at,
                          ConstWords x) {
  const Words out = values_[op.out].share;
  const Words sign = bit(op.bit);
  if (plan_.protocol == Protocol::kSecurennFused) {
    return fused_relu(*party_, material(entries[at]), x, out, sign);
  }
  BP_TRY(derivative_of_relu(*party_, {material(entries[at]), material(entries[at + 1])}, x, sign));
  return multiply(*party_, material(entries[at + 2]), x, sign, out);
}

Result<void> Holder::open_masks(const Op& op) {
  for (const ValueId id : op.inputs) {
    ValueSlot& slot = values_[id];
    if (slot.mask_sent) continue;
    slot.mask_sent = true;
    backend_.prg_fill(run_.bundle->seed(), plan_.prg,
                      plan_.mask_stream(static_cast<std::uint32_t>(slot.mask_entry), run_.member),
                      0, slot.mask.bytes(), kHostStream);
    backend_.subtract(slot.share, slot.mask.words(), slot.opened.words(), kHostStream);
  }
  // Both factors' differences in one round; what is open already stays so.
  std::vector<ValueSlot*> slots;
  for (const ValueId id : op.inputs) {
    ValueSlot& slot = values_[id];
    if (!slot.mask_open) slots.push_back(&slot);
    slot.mask_open = true;
  }
  if (slots.empty()) return {};
  std::uint64_t count = 0;
  for (const ValueSlot* slot : slots) count += slot->share.size();
  BP_TRY(grow(backend_, round_theirs_, count));
  std::uint64_t at = 0;
  for (const ValueSlot* slot : slots) {
    link_.open(slot->opened.words(), round_theirs_.words().subspan(at, slot->share.size()));
    at += slot->share.size();
  }
  BP_TRY(link_.finish());
  at = 0;
  for (ValueSlot* slot : slots) {
    const Words opened = slot->opened.words();
    backend_.add(opened, round_theirs_.words().subspan(at, opened.size()), opened, kHostStream);
    if (designated() && slot->second_factor) {
      backend_.add(slot->mask.words(), opened, slot->shifted.words(), kHostStream);
    }
    at += opened.size();
  }
  return {};
}

Result<void> Holder::product(const Op& op, std::uint32_t entry) {
  BP_TRY(open_masks(op));
  multiply_open(backend_, program_, op, material(entry), values_);
  return {};
}

Result<void> Holder::look_up(const Op& op, std::uint32_t entry) {
  const Words out = values_[op.out].share;
  BP_TRY(grow(backend_, round_mine_, out.size()));
  const Words opened = round_mine_.words().first(out.size());
  const int bits = std::countr_zero(op.words.size());
  backend_.lookup_open(material(entry), bits, values_[op.inputs[0]].share, opened, kHostStream);
  BP_TRY(open_sum(opened, {}));
  backend_.lookup_finish(material(entry), bits, opened, out, kHostStream);
  return {};
}

Result<void> Holder::execute(std::uint32_t index, const std::vector<std::uint32_t>& truncations) {
  const Op& op = program_.ops[index];
  const std::vector<std::uint32_t>& entries = context_.entries[index];
  if (!truncations.empty()) BP_TRY(truncate(truncations));
  switch (op.code) {
    case OpCode::kTruncate:
    case OpCode::kInput:
    case OpCode::kState:
    case OpCode::kReshape:
    case OpCode::kUpdate:
    case OpCode::kAssign:
    case OpCode::kReveal: break;
    case OpCode::kReluTruncate: BP_TRY(relu(op, entries, 1, truncated_.at(index).words())); break;
    case OpCode::kRelu: BP_TRY(relu(op, entries, 0, values_[op.inputs[0]].share)); break;
    case OpCode::kTruncateTimesBit:
      BP_TRY(multiply(*party_, material(entries[1]), truncated_.at(index).words(),
                      bit(op.inputs[1]), values_[op.out].share));
      break;
    case OpCode::kMultiplyBit:
      BP_TRY(multiply(*party_, material(entries[0]), values_[op.inputs[0]].share, bit(op.inputs[1]),
                      values_[op.out].share));
      break;
    case OpCode::kBitToWord:
      backend_.copy(bit(op.inputs[0]), values_[op.out].share, kHostStream);
      break;
    case OpCode::kLookup: BP_TRY(look_up(op, entries[0])); break;
    default:
      if (entries.empty()) {
        run_local_op(backend_, program_, op, values_, designated());
      } else {
        BP_TRY(product(op, entries[0]));
      }
  }
  return {};
}

Result<void> Holder::finish(const RunInputs& inputs) {
  for (const Op& op : program_.ops) {
    if (op.code == OpCode::kAssign) {
      backend_.copy(values_[op.inputs[0]].share, values_.state(op.slot), kHostStream);
    } else if (op.code == OpCode::kUpdate) {
      backend_.subtract_scaled(inputs.step_multiplier, values_[op.inputs[1]].share,
                               values_.state(op.slot), kHostStream);
    }
  }
  return backend_.synchronize(kHostStream);
}

}  // namespace

Result<std::unique_ptr<Role>> make_holder(const RoleContext& context) {
  BP_ASSIGN(ValueStore values, ValueStore::create(context.program, context.plan, context.backend));
  auto holder = std::make_unique<Holder>(context, std::move(values));
  BP_TRY(holder->prepare());
  return std::unique_ptr<Role>(std::move(holder));
}

}  // namespace beaverpond::securenn
