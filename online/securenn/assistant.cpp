// Player 2: shares its own inputs, and answers comparisons.
#include "online/securenn/role.h"
#include "online/securenn/sign.h"

namespace beaverpond::securenn {
namespace {

class Assistant final : public Role {
 public:
  explicit Assistant(const RoleContext& context)
      : context_(context),
        scratch_(context.backend),
        dealt_(context.keys.sent[0], context.plan.prg),
        party_{context.link, scratch_, nullptr, &dealt_} {}

  Result<void> prepare() {
    states_.resize(context_.program.states);
    for (const Op& op : context_.program.ops) {
      if (op.code != OpCode::kState || !states_[op.slot].empty()) continue;
      const ElementCount count{context_.program.value(op.out).shape.count()};
      BP_ASSIGN(states_[op.slot], context_.backend.allocate(bytes_of_words(count)));
    }
    return {};
  }

  void begin(const Run& run, const std::vector<bool>& /*kept*/) override { run_ = run; }

  Result<void> share_inputs(const std::vector<std::uint32_t>& ops,
                            const RunInputs& inputs) override {
    std::vector<Buffer> rests;
    for (const std::uint32_t index : ops) {
      const Op& op = context_.program.ops[index];
      if (op.owner != kAssistant) continue;
      const ConstWords words = inputs.inputs[op.slot];
      context_.meter.part(index, words.size_bytes());
      Buffer& rest = rests.emplace_back();
      BP_ASSIGN(rest, context_.backend.allocate(bytes_of_words(ElementCount{words.size()})));
      context_.backend.upload(bytes_of(words), rest.bytes(), kHostStream);
      context_.backend.prg_subtract(context_.keys.sent[0], PrgKind::kChaCha20,
                                    run_.number * context_.program.inputs + op.slot, rest.words(),
                                    kHostStream);
    }
    for (const Buffer& rest : rests) context_.link.send(1, ConstWords(rest.words()));
    return context_.link.finish();
  }

  Result<void> execute(std::uint32_t index,
                       const std::vector<std::uint32_t>& /*truncations*/) override {
    const Op& op = context_.program.ops[index];
    if (op.bit == kNoValue) return {};
    const std::uint64_t count = context_.program.value(op.out).shape.count();
    if (context_.plan.protocol == Protocol::kSecurenn) {
      return assist_derivative_of_relu(party_, count);
    }
    BP_ASSIGN(const Words mask, scratch_.words(Scratch::kMask, count));
    context_.backend.prg_fill(
        run_.bundle->seed(), context_.plan.prg,
        context_.plan.mask_stream(context_.entries[index].back(), run_.member), 0, bytes_of(mask),
        kHostStream);
    return assist_fused_relu(party_, mask);
  }

  Result<void> finish(const RunInputs& /*inputs*/) override { return {}; }
  ConstWords value_share(ValueId /*value*/) override { return {}; }
  Words state(std::uint32_t slot) override { return states_[slot].words(); }

 private:
  RoleContext context_;
  Scratch scratch_;
  CommonStreams dealt_;
  Party party_;
  std::vector<Buffer> states_;
  Run run_;
};

}  // namespace

Result<std::unique_ptr<Role>> make_assistant(const RoleContext& context) {
  auto assistant = std::make_unique<Assistant>(context);
  BP_TRY(assistant->prepare());
  return std::unique_ptr<Role>(std::move(assistant));
}

}  // namespace beaverpond::securenn
