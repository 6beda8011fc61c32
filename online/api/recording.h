// What a Recorder and its secrets share: the program so far, and who may learn what.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "beaverpond/program_builder.h"
#include "beaverpond/recorder.h"

namespace beaverpond {

/// After the first mistake, which finish() returns, nothing is recorded any more and all values are
/// kNoValue. Numbers have scale f or above; reduced() brings them back to f.
class Recording : public std::enable_shared_from_this<Recording> {
 public:
  explicit Recording(const RecorderOptions& options);

  // Secrets are handles; only this class may look into them.
  struct Operand {
    Operand(const Secret& x) : recording(x.recording_.get()), id(x.id_) {}
    Operand(const SecretBit& x) : recording(x.recording_.get()), id(x.id_) {}
    Recording* recording;
    ValueId id;
  };
  static ValueId id(const Secret& x) { return x.id_; }
  static const std::shared_ptr<Recording>& of(const Secret& x) { return x.recording_; }
  static const std::shared_ptr<Recording>& of(const SecretBit& x) { return x.recording_; }
  Shape shape(ValueId id) const;
  static SecretBit negated(const SecretBit& x);

  /// Records one operation: `f(recording)` makes its value from the operands'. Those of another
  /// recording are a mistake.
  template <class F>
  static Secret record(const char* name, const std::vector<Operand>& operands, F&& f) {
    Recording& r = *operands[0].recording;
    const ValueId made = r.begin(name, operands) ? r.end(operands, f(r)) : kNoValue;
    return Secret(r.shared_from_this(), made);
  }
  /// The same for a bit, or a word 0 or 1 at scale 0.
  template <class F>
  static SecretBit record_bit(const char* name, const std::vector<Operand>& operands, F&& f) {
    const Secret made = record(name, operands, std::forward<F>(f));
    return SecretBit(made.recording_, made.id_, false);
  }

  /// A mistake of an operation that has no operand: a recording of its own, which fails whatever
  /// it is mixed with.
  static Secret failed(const char* name, const std::string& what);

  Secret input(const InputSpec& spec);
  void reveal(const Secret& x, const Players& players, const std::string& name);
  void set_section(const std::string& name) { section_ = name; }
  Result<RecordedProgram> finish();

  /// Remembers a mistake of the operation in progress. Returns kNoValue.
  ValueId fail(const std::string& what);

  ProgramBuilder& builder() { return builder_; }
  int fraction_bits() const { return options_.fraction_bits; }
  const Value& value(ValueId id) const { return builder_.value(id); }

  /// x at scale f. Rounded at most once, however often it is asked for.
  ValueId reduced(ValueId x);
  /// x with its scale raised to `scale_bits`.
  ValueId raised(ValueId x, int scale_bits);
  /// Both at the larger scale and the larger shape. kNoValue where the shapes do not fit.
  std::pair<ValueId, ValueId> fitted(ValueId x, ValueId y);
  /// x repeated to `shape`: a single number or a row. Local.
  ValueId spread(ValueId x, Shape shape);
  /// A bit as 0 or 1 at scale 0.
  ValueId bit_word(const SecretBit& bit);
  /// Whether the bit is one of a comparison as it came, for multiply_bit().
  bool is_plain_bit(const SecretBit& bit) const;
  static bool is_negated(const SecretBit& bit) { return bit.negated_; }
  static ValueId id(const SecretBit& bit) { return bit.id_; }

  /// Public words at `scale_bits`, one or as many as `shape` has. Empty after a mistake.
  std::vector<std::uint64_t> words(const Public& y, Shape shape, int scale_bits);
  /// x and y at one shape: x is spread where y is the larger.
  ValueId spread_to(ValueId x, const Public& y);
  /// The scale for a factor y: 0 for whole numbers, else at least f.
  int factor_scale(const Public& y) const;
  /// x at f where a product with a factor of this scale is to be rounded later, x as it is else.
  ValueId for_factor(ValueId x, int factor_scale);
  /// A product with a factor of this scale: rounded at once where the scale is above f.
  ValueId after_factor(ValueId x, int factor_scale);

 private:
  bool begin(const char* name, const std::vector<Operand>& operands);
  ValueId end(const std::vector<Operand>& operands, ValueId made);
  bool new_name(std::set<std::string>& names, const std::string& name, const char* what);

  RecorderOptions options_;
  ProgramBuilder builder_;
  std::string section_;
  std::string operation_;
  std::optional<Error> error_;
  bool finished_ = false;
  std::map<ValueId, std::uint64_t> may_learn_;  ///< a bit a player, by value of a secret
  std::map<ValueId, ValueId> reduced_;
  std::set<std::string> input_names_;
  std::set<std::string> reveal_names_;
  std::vector<RecordedInput> inputs_;
  std::vector<RecordedReveal> reveals_;
};

}  // namespace beaverpond
