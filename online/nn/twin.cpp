#include "online/nn/twin.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include "online/nn/twin_ops.h"

namespace beaverpond {
namespace {

using std::size_t;
constexpr double kDomainLimit = 4611686018427387904.0;  // 2^62
constexpr std::uint64_t kHalfDomain = std::uint64_t{1} << 62;

double as_real(std::uint64_t word) {
  return static_cast<double>(static_cast<std::int64_t>(word));
}

std::vector<double> as_reals(const std::vector<std::uint64_t>& words) {
  std::vector<double> reals(words.size());
  for (size_t i = 0; i < words.size(); ++i) reals[i] = as_real(words[i]);
  return reals;
}

double largest(const std::vector<std::uint64_t>& words) {
  std::uint64_t found = 0;
  for (const std::uint64_t word : words) {
    const std::uint64_t sign = 0 - (word >> 63);
    found = std::max(found, (word ^ sign) - sign);
  }
  return static_cast<double>(found);
}

template <class T>
class Interpreter {
  static constexpr bool kFixed = std::is_same_v<T, std::uint64_t>;
  using Words = std::vector<T>;

 public:
  explicit Interpreter(const TwinRun<T>& run) : run_(run), values_(run.program.values.size()) {}

  Result<std::vector<Words>> run() {
    BP_TRY(check_slots());
    reveals_.resize(run_.program.reveals);
    for (size_t i = 0; i < run_.program.ops.size(); ++i) {
      index_ = i;
      const Op& op = run_.program.ops[i];
      for (const ValueId id : op.inputs) BP_CHECK(id < values_.size(), "a value of the program");
      BP_TRY(execute(op));
      if (op.out != kNoValue) {
        BP_CHECK(values_[op.out].size() == run_.program.value(op.out).shape.count(),
                 "an operation makes a value of its shape");
      }
    }
    // Only now, so that a failed step leaves the states as they were.
    for (auto& [slot, words] : updates_) run_.states[slot] = std::move(words);
    return std::move(reveals_);
  }

 private:
  Result<void> check_slots() const {
    const Program& program = run_.program;
    if (run_.inputs.size() != program.inputs || run_.states.size() != program.states) {
      return make_error(ErrorCode::kConfig, "the program takes " + std::to_string(program.inputs) +
                                                " inputs and " + std::to_string(program.states) +
                                                " states, it was given " +
                                                std::to_string(run_.inputs.size()) + " and " +
                                                std::to_string(run_.states.size()));
    }
    for (const Op& op : program.ops) {
      if (op.code != OpCode::kInput && op.code != OpCode::kState) continue;
      const bool input = op.code == OpCode::kInput;
      const size_t given = input ? run_.inputs[op.slot].size() : run_.states[op.slot].size();
      const Shape& shape = program.value(op.out).shape;
      if (given != shape.count()) {
        return make_error(ErrorCode::kConfig, std::string(to_string(op.code)) + " " +
                                                  std::to_string(op.slot) + " has shape " +
                                                  shape.str() + ", it was given " +
                                                  std::to_string(given) + " words");
      }
    }
    return {};
  }

  Result<void> execute(const Op& op) {
    switch (op.code) {
      case OpCode::kInput: values_[op.out] = run_.inputs[op.slot]; return {};
      case OpCode::kState: values_[op.out] = run_.states[op.slot]; return {};
      case OpCode::kTruncate:
      case OpCode::kReluTruncate:
      case OpCode::kTruncateTimesBit: return truncate(op);
      case OpCode::kRelu: return relu(op);
      case OpCode::kMatMul:
      case OpCode::kConv2d:
      case OpCode::kConv2dGradWeight:
      case OpCode::kConv2dGradInput:
      case OpCode::kMultiply: return product(op);
      case OpCode::kMultiplyBit:
        values_[op.out] = zip(op, [](T a, T bit) { return a * bit; });
        return {};
      case OpCode::kAdd: return sum(op, false);
      case OpCode::kSubtract: return sum(op, true);
      case OpCode::kAddRow:
        return linear(op, 2, [this, &op](const auto& a) {
          using Number = typename std::decay_t<decltype(a)>::value_type;
          return twin_ops::add_row(a, as<Number>(y(op)));
        });
      case OpCode::kSumRows: {
        const size_t width = run_.program.value(op.out).shape[0];
        return linear(op, x(op).size() / width,
                      [width](const auto& a) { return twin_ops::sum_rows(a, width); });
      }
      case OpCode::kShiftLeft:
        return linear(op, std::uint64_t{1} << op.shift, [&op](auto a) {
          for (auto& word : a)
            word *= static_cast<std::decay_t<decltype(word)>>(std::uint64_t{1} << op.shift);
          return a;
        });
      case OpCode::kConcatRows:
        for (const ValueId id : op.inputs) {
          values_[op.out].insert(values_[op.out].end(), values_[id].begin(), values_[id].end());
        }
        return {};
      case OpCode::kBitToWord:
      case OpCode::kReshape: values_[op.out] = x(op); return {};
      case OpCode::kUpdate: return update(op);
      case OpCode::kReveal: reveals_[op.slot] = x(op); return {};
      case OpCode::kAssign: updates_.emplace_back(op.slot, x(op)); return {};
      case OpCode::kWindow: values_[op.out] = twin_ops::window(x(op), op.pool); return {};
      case OpCode::kWindowGrad:
        return linear(op, op.pool.taps(),
                      [&op](const auto& a) { return twin_ops::window_grad(a, op.pool); });
      case OpCode::kRows:
      case OpCode::kSpreadRows: rows(op); return {};
      case OpCode::kTranspose: {
        const Shape& shape = run_.program.value(op.inputs[0]).shape;
        values_[op.out] = twin_ops::transpose(x(op), shape[0], shape[1]);
        return {};
      }
      case OpCode::kAddPublic: return add_public(op);
      case OpCode::kMultiplyPublic: return multiply_public(op);
      case OpCode::kLookup: return lookup(op);
      case OpCode::kExactSoftmax:
      case OpCode::kExactCrossEntropy: return exact(op);
    }
    BP_CHECK(false, "an operation code of program.h");
    return {};
  }

  const Words& x(const Op& op) const { return values_[op.inputs[0]]; }
  const Words& y(const Op& op) const { return values_[op.inputs[1]]; }

  template <class F>
  Words zip(const Op& op, F&& f) const {
    Words out(x(op).size());
    const Words& a = x(op);
    const Words& b = y(op);
    BP_CHECK(a.size() == b.size(), "operands of one shape");
    for (size_t i = 0; i < out.size(); ++i) out[i] = f(a[i], b[i]);
    return out;
  }

  Error domain_error(const Op& op, size_t element, double value) const {
    const double scaled =
        value /
        static_cast<double>(std::uint64_t{1} << run_.program.value(op.inputs[0]).scale_bits);
    Error error = make_error(
        ErrorCode::kDomain,
        (run_.step.has_value() ? "step " + std::to_string(*run_.step) + ": " : std::string()) +
            "layer '" + op.layer + "': " + to_string(op.code) + " (operation " +
            std::to_string(index_) + "), element " + std::to_string(element) + ": word " +
            std::to_string(value) + " (" + std::to_string(scaled) +
            " at its operand's scale) is outside [-2^62, 2^62)" +
            (op.code == OpCode::kRelu ? ", where SecureNN compares rightly; use protocol = "
                                        "\"securenn-fused\", which compares every word, or "
                                      : "; ") +
            (run_.step.has_value()
                 ? "lower the learning rate, divide the features (data.divide_by), or lower "
                   "fraction_bits or master_extra_bits"
                 : "give smaller values (in a job: data.divide_by), or lower fraction_bits"));
    error.operation = to_string(op.code);
    return error;
  }

  Result<void> truncate(const Op& op) {
    Words out = x(op);
    Words bits(op.code == OpCode::kReluTruncate ? out.size() : 0);
    if constexpr (kFixed) {
      const std::uint64_t half = op.round_to_nearest ? std::uint64_t{1} << (op.shift - 1) : 0;
      std::uint64_t outside = 0;
      for (std::uint64_t& word : out) {
        word += half;
        outside |= (word + kHalfDomain) >> 63;
      }
      if (outside != 0) {
        const auto bad = std::find_if(out.begin(), out.end(), [](std::uint64_t word) {
          return (word + kHalfDomain) >> 63 != 0;
        });
        return domain_error(op, static_cast<size_t>(bad - out.begin()), as_real(*bad));
      }
      for (size_t i = 0; i < bits.size(); ++i) bits[i] = 1 - (out[i] >> 63);
      for (std::uint64_t& word : out) {
        word = static_cast<std::uint64_t>(static_cast<std::int64_t>(word) >> op.shift);
      }
    } else {
      const double divisor = static_cast<double>(std::uint64_t{1} << op.shift);
      for (size_t i = 0; i < bits.size(); ++i) bits[i] = out[i] >= 0 ? 1 : 0;
      for (double& word : out) word /= divisor;
    }
    if (op.code == OpCode::kReluTruncate) {
      for (size_t i = 0; i < out.size(); ++i) out[i] *= bits[i];
      values_[op.bit] = std::move(bits);
    }
    if (op.code == OpCode::kTruncateTimesBit) {
      const Words& bit = y(op);
      for (size_t i = 0; i < out.size(); ++i) out[i] *= bit[i];
    }
    values_[op.out] = std::move(out);
    return {};
  }

  Result<void> relu(const Op& op) {
    Words out = x(op);
    Words bits(out.size());
    for (size_t i = 0; i < out.size(); ++i) {
      if constexpr (kFixed) {
        const bool outside = (out[i] + kHalfDomain) >> 63 != 0;
        if (outside && run_.protocol == Protocol::kSecurenn) {
          return domain_error(op, i, as_real(out[i]));
        }
        bits[i] = 1 - (out[i] >> 63);
      } else {
        bits[i] = out[i] >= 0 ? 1 : 0;
      }
      out[i] *= bits[i];
    }
    values_[op.bit] = std::move(bits);
    values_[op.out] = std::move(out);
    return {};
  }

  template <class Number>
  static std::vector<Number> as(const Words& words) {
    if constexpr (std::is_same_v<Number, T>) {
      return words;
    } else {
      return as_reals(words);
    }
  }

  // out = apply(x), sums of at most `terms` words. Where the words alone do not keep the sums below
  // 2^63, a run in doubles shows whether one wrapped.
  template <class F>
  Result<void> linear(const Op& op, std::uint64_t terms, F&& apply) {
    if constexpr (kFixed) {
      double most = largest(x(op));
      if (op.inputs.size() > 1) most = std::max(most, largest(y(op)));
      if (most * static_cast<double>(terms) >= 2 * kDomainLimit) {
        const std::vector<double> reals = apply(as_reals(x(op)));
        for (size_t i = 0; i < reals.size(); ++i) {
          if (reals[i] < -2 * kDomainLimit || reals[i] >= 2 * kDomainLimit) {
            return domain_error(op, i, reals[i]);
          }
        }
      }
    }
    values_[op.out] = apply(x(op));
    return {};
  }

  // The difference or sum of two words of the domain is a word; only beyond it can it wrap.
  Result<void> sum(const Op& op, bool subtract) {
    if constexpr (kFixed) {
      for (size_t i = 0; i < x(op).size(); ++i) {
        const auto a = static_cast<std::int64_t>(x(op)[i]);
        const auto b = static_cast<std::int64_t>(y(op)[i]);
        std::int64_t out = 0;
        const bool wraps =
            subtract ? __builtin_sub_overflow(a, b, &out) : __builtin_add_overflow(a, b, &out);
        if (wraps) {
          const double real = static_cast<double>(b);
          return domain_error(op, i, static_cast<double>(a) + (subtract ? -real : real));
        }
      }
    }
    values_[op.out] = subtract ? zip(op, [](T a, T b) { return a - b; })
                               : zip(op, [](T a, T b) { return a + b; });
    return {};
  }

  void rows(const Op& op) {
    const size_t width = x(op).size() / run_.program.value(op.inputs[0]).shape[0];
    const bool take = op.code == OpCode::kRows;
    Words& out = values_[op.out];
    out.assign(run_.program.value(op.out).shape.count(), T{0});
    const size_t count = (take ? out.size() : x(op).size()) / width;
    for (size_t i = 0; i < count; ++i) {
      const size_t far = (op.begin + i * op.step) * width;
      std::copy_n(x(op).begin() + static_cast<std::ptrdiff_t>(take ? far : i * width), width,
                  out.begin() + static_cast<std::ptrdiff_t>(take ? i * width : far));
    }
  }

  static T public_word(const Op& op, size_t i) {
    const std::uint64_t word = op.words[op.words.size() == 1 ? 0 : i];
    if constexpr (kFixed) return word;
    return as_real(word);
  }

  Result<void> add_public(const Op& op) {
    Words out = x(op);
    for (size_t i = 0; i < out.size(); ++i) {
      if constexpr (kFixed) {
        std::int64_t sum = 0;
        if (__builtin_add_overflow(static_cast<std::int64_t>(out[i]),
                                   static_cast<std::int64_t>(public_word(op, i)), &sum)) {
          return domain_error(op, i, as_real(out[i]) + as_real(public_word(op, i)));
        }
      }
      out[i] += public_word(op, i);
    }
    values_[op.out] = std::move(out);
    return {};
  }

  Result<void> multiply_public(const Op& op) {
    Words out = x(op);
    for (size_t i = 0; i < out.size(); ++i) {
      if constexpr (kFixed) {
        const double real = as_real(out[i]) * as_real(public_word(op, i));
        if (real < -kDomainLimit || real >= kDomainLimit) return domain_error(op, i, real);
      }
      out[i] *= public_word(op, i);
    }
    values_[op.out] = std::move(out);
    return {};
  }

  // In doubles the index is a real: the table is read at its floor, without interpolation, so that
  // the float twin takes the same entries.
  Result<void> lookup(const Op& op) {
    Words out = x(op);
    for (size_t i = 0; i < out.size(); ++i) {
      const double index =
          kFixed ? as_real(static_cast<std::uint64_t>(out[i])) : static_cast<double>(out[i]);
      if (!(index >= 0 && index < static_cast<double>(op.words.size()))) {
        return domain_error(op, i, index);
      }
      const std::uint64_t word = op.words[static_cast<size_t>(index)];
      if constexpr (kFixed) {
        out[i] = word;
      } else {
        out[i] = as_real(word);
      }
    }
    values_[op.out] = std::move(out);
    return {};
  }

  Result<void> exact(const Op& op) {
    if constexpr (kFixed) {
      return make_error(ErrorCode::kConfig,
                        std::string(to_string(op.code)) + " runs in floating point only");
    } else {
      const Value& in = run_.program.value(op.inputs[0]);
      const double one = static_cast<double>(std::uint64_t{1} << in.scale_bits);
      if (op.code == OpCode::kExactSoftmax) {
        values_[op.out] = twin_ops::softmax(x(op), in.shape[1], one);
      } else {
        const double out_one =
            static_cast<double>(std::uint64_t{1} << run_.program.value(op.out).scale_bits);
        values_[op.out] = {twin_ops::cross_entropy(x(op), y(op), in.shape[1], one) * out_one};
      }
      return {};
    }
  }

  template <class U>
  std::vector<U> multiply(const Op& op, const std::vector<U>& a, const std::vector<U>& b) const {
    if (op.code == OpCode::kConv2d) return twin_ops::conv2d(a, b, op.conv);
    if (op.code == OpCode::kConv2dGradWeight) return twin_ops::conv2d_grad_weight(a, b, op.conv);
    if (op.code == OpCode::kConv2dGradInput) return twin_ops::conv2d_grad_input(a, b, op.conv);
    if (op.code == OpCode::kMultiply) {
      std::vector<U> out(a.size());
      for (size_t i = 0; i < out.size(); ++i) out[i] = a[i] * b[i];
      return out;
    }
    return twin_ops::matmul(a, b, matmul_size(op));
  }

  twin_ops::MatMulSize matmul_size(const Op& op) const {
    const Shape& out = run_.program.value(op.out).shape;
    return {out[0], out[1], run_.program.value(op.inputs[0]).shape[op.transpose_x ? 0 : 1],
            op.transpose_x, op.transpose_y};
  }

  // Terms of the longest sum in a product.
  double inner_size(const Op& op) const {
    switch (op.code) {
      case OpCode::kMatMul: return static_cast<double>(matmul_size(op).k);
      case OpCode::kConv2d: return static_cast<double>(op.conv.patch_columns());
      case OpCode::kConv2dGradWeight: return static_cast<double>(op.conv.patch_rows());
      case OpCode::kConv2dGradInput:
        return static_cast<double>(op.conv.kernel) * op.conv.kernel * op.conv.out_channels;
      default: return 1;
    }
  }

  Result<void> product(const Op& op) {
    if constexpr (kFixed) {
      // Where the operands alone do not bound the product, a run in doubles shows whether it left
      // the domain before it was reduced mod 2^64.
      if (largest(x(op)) * largest(y(op)) * inner_size(op) >= kDomainLimit) {
        const std::vector<double> reals = multiply(op, as_reals(x(op)), as_reals(y(op)));
        for (size_t i = 0; i < reals.size(); ++i) {
          if (reals[i] < -kDomainLimit || reals[i] >= kDomainLimit) {
            return domain_error(op, i, reals[i]);
          }
        }
      }
    }
    values_[op.out] = multiply(op, x(op), y(op));
    return {};
  }

  Result<void> update(const Op& op) {
    const T multiplier = static_cast<T>(run_.multiplier);
    if constexpr (kFixed) {
      const double m = static_cast<double>(run_.multiplier);
      for (size_t i = 0; i < x(op).size(); ++i) {
        const double real = as_real(x(op)[i]) - m * as_real(y(op)[i]);
        if (real < -kDomainLimit || real >= kDomainLimit) return domain_error(op, i, real);
      }
    }
    updates_.emplace_back(op.slot, zip(op, [multiplier](T a, T b) { return a - multiplier * b; }));
    return {};
  }

  const TwinRun<T>& run_;
  std::vector<Words> values_;
  std::vector<Words> reveals_;
  std::vector<std::pair<std::uint32_t, Words>> updates_;
  size_t index_ = 0;
};

}  // namespace

Result<std::vector<std::vector<std::uint64_t>>> run_fixed(const TwinRun<std::uint64_t>& run) {
  return Interpreter<std::uint64_t>(run).run();
}

Result<std::vector<std::vector<double>>> run_float(const TwinRun<double>& run) {
  return Interpreter<double>(run).run();
}

}  // namespace beaverpond
