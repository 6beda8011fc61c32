#include "online/api/recording.h"

#include <string>

namespace beaverpond {
namespace {

std::string players_text(std::uint64_t mask) {
  std::string text;
  for (std::uint32_t rank = 0; rank < 64; ++rank) {
    if ((mask >> rank & 1) == 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(rank);
  }
  return text;
}

}  // namespace

Recording::Recording(const RecorderOptions& options) : options_(options) {
  operation_ = "recorder";
  if (options.players < 2 || options.players > 64) {
    fail(std::to_string(options.players) + " players; there must be 2 to 64");
  }
  if (options.fraction_bits < 8 || options.fraction_bits > 24) {
    fail("fraction_bits " + std::to_string(options.fraction_bits) + " is outside 8..24");
  }
}

Shape Recording::shape(ValueId id) const {
  return error_.has_value() || finished_ || id == kNoValue ? Shape() : value(id).shape;
}

ValueId Recording::fail(const std::string& what) {
  if (!error_.has_value()) {
    const std::string place = section_.empty() ? operation_ : section_ + ": " + operation_;
    error_ = make_error(ErrorCode::kConfig, place + ": " + what);
    error_->operation = operation_;
  }
  return kNoValue;
}

bool Recording::begin(const char* name, const std::vector<Operand>& operands) {
  operation_ = name;
  for (const Operand& operand : operands) {
    if (operand.recording == this) continue;
    Recording& other = *operand.recording;
    if (other.error_.has_value() && !error_.has_value()) error_ = other.error_;
    const char* mixed = "the secrets are of two recorders; record a program with one";
    other.operation_ = name;
    other.fail(mixed);
    fail(mixed);
  }
  if (finished_) fail("recorded after finish(); call finish() last");
  if (error_.has_value()) return false;
  for (const Operand& operand : operands) {
    if (operand.id == kNoValue) return false;
  }
  builder_.set_layer(section_.empty() ? operation_ : section_ + ": " + operation_);
  return true;
}

ValueId Recording::end(const std::vector<Operand>& operands, ValueId made) {
  if (error_.has_value()) return kNoValue;
  if (made == kNoValue) {  // the builder refused; its error says why
    const Result<Program> refused = builder_.finish();
    const std::string message = refused.ok() ? "it has no value" : refused.error().message;
    const std::size_t after_layer = message.find("': ");
    return fail(after_layer == std::string::npos ? message : message.substr(after_layer + 3));
  }
  std::uint64_t all = ~std::uint64_t{0};
  for (const Operand& operand : operands) all &= may_learn_[operand.id];
  may_learn_[made] = all;
  return made;
}

bool Recording::new_name(std::set<std::string>& names, const std::string& name, const char* what) {
  if (name.empty()) {
    fail(std::string(what) + " needs a name");
  } else if (!names.insert(name).second) {
    fail("the name '" + name + "' is given twice");
  }
  return !error_.has_value();
}

Secret Recording::failed(const char* name, const std::string& what) {
  const auto recording = std::make_shared<Recording>(RecorderOptions());
  recording->operation_ = name;
  return Secret(recording, recording->fail(what));
}

Secret Recording::input(const InputSpec& spec) {
  const auto nothing = [this] { return Secret(shared_from_this(), kNoValue); };
  operation_ = "input '" + spec.name + "'";
  if (!begin(operation_.c_str(), {}) || !new_name(input_names_, spec.name, "an input")) {
    return nothing();
  }
  const std::uint64_t known = Players::all(options_.players).mask();
  if (spec.owner >= options_.players) {
    fail("owner " + std::to_string(spec.owner) + " is not one of " +
         std::to_string(options_.players) + " players");
  } else if (!spec.may_learn.valid() || (spec.may_learn.mask() & ~known) != 0) {
    fail("may_learn names a player that is not one of " + std::to_string(options_.players));
  }
  if (error_.has_value()) return nothing();
  const ValueId made = builder_.input(spec.owner, spec.shape, options_.fraction_bits);
  if (end({}, made) == kNoValue) return nothing();
  may_learn_[made] = spec.may_learn.mask();
  inputs_.push_back({spec.name, spec.owner, spec.shape, spec.may_learn.mask()});
  return Secret(shared_from_this(), made);
}

void Recording::reveal(const Secret& x, const Players& players, const std::string& name) {
  const std::string operation = "reveal '" + name + "'";
  record(operation.c_str(), {x}, [&](Recording& r) -> ValueId {
    if (!new_name(reveal_names_, name, "a reveal")) return kNoValue;
    const std::uint64_t mask = players.mask();
    const std::uint64_t known = Players::all(options_.players).mask();
    if (!players.valid() || (mask & ~known) != 0) {
      return fail("it names a player that is not one of " + std::to_string(options_.players));
    }
    if (mask == 0) return fail("it names no player");
    const std::uint64_t denied = mask & ~may_learn_[x.id_];
    if (denied != 0) {
      return fail("an input that it is computed from does not allow player " +
                  players_text(denied) +
                  " to learn it; see may_learn of the inputs, and ask "
                  "their owners");
    }
    const ValueId shown = r.reduced(x.id_);
    if (shown == kNoValue) return kNoValue;
    builder_.reveal(shown, mask);
    reveals_.push_back({name, value(shown).shape, mask});
    return x.id_;
  });
}

Result<RecordedProgram> Recording::finish() {
  operation_ = "finish";
  section_.clear();
  if (finished_) fail("called twice");
  if (reveals_.empty()) fail("nothing is revealed; call reveal() for what a player shall learn");
  finished_ = true;
  if (error_.has_value()) return *error_;
  RecordedProgram recorded;
  BP_ASSIGN(recorded.program, builder_.finish());
  recorded.players = options_.players;
  recorded.fraction_bits = options_.fraction_bits;
  recorded.prg = options_.prg;
  recorded.inputs = std::move(inputs_);
  recorded.reveals = std::move(reveals_);
  return recorded;
}

Recorder::Recorder(const RecorderOptions& options)
    : recording_(std::make_shared<Recording>(options)) {}
Recorder::~Recorder() = default;

Secret Recorder::input(const InputSpec& spec) {
  return recording_->input(spec);
}

void Recorder::set_section(const std::string& name) {
  recording_->set_section(name);
}

Result<RecordedProgram> Recorder::finish() {
  return recording_->finish();
}

Shape Secret::shape() const {
  return recording_->shape(id_);
}

Shape SecretBit::shape() const {
  return recording_->shape(id_);
}

void reveal(const Secret& x, const Players& players, const std::string& name) {
  Recording::of(x)->reveal(x, players, name);
}

void reveal(const SecretBit& x, const Players& players, const std::string& name) {
  Recording::of(x)->reveal(to_number(x), players, name);
}

}  // namespace beaverpond
