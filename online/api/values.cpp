#include "online/api/values.h"

#include <algorithm>
#include <cmath>

namespace beaverpond {
namespace {

constexpr double kDomainLimit = 4611686018427387904.0;  // 2^62

Error input_error(const RecordedInput& input, ErrorCode code, const std::string& what) {
  Error error = make_error(code, "input '" + input.name + "': " + what);
  error.operation = "input";
  return error;
}

Result<std::vector<std::uint64_t>> words_of(const RecordedInput& input,
                                            const std::vector<double>& values, int fraction_bits) {
  if (values.size() != input.shape.count()) {
    return input_error(input, ErrorCode::kConfig,
                       "it has shape " + input.shape.str() + ", which takes " +
                           std::to_string(input.shape.count()) + " numbers; it was given " +
                           std::to_string(values.size()));
  }
  std::vector<std::uint64_t> words;
  words.reserve(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::string element = "element " + std::to_string(i) + " is " + std::to_string(values[i]);
    if (!std::isfinite(values[i])) {
      return input_error(input, ErrorCode::kConfig, element + "; give finite numbers");
    }
    const double scaled = std::ldexp(values[i], fraction_bits);
    if (!(std::abs(scaled) < kDomainLimit)) {
      return input_error(input, ErrorCode::kDomain,
                         element + ", beyond 2^" + std::to_string(62 - fraction_bits) +
                             "; scale the data down, or lower fraction_bits");
    }
    words.push_back(static_cast<std::uint64_t>(std::llround(scaled)));
  }
  return words;
}

}  // namespace

Result<std::vector<std::vector<std::uint64_t>>> input_words(const RecordedProgram& program,
                                                            const NamedValues& inputs, int rank) {
  std::vector<std::vector<std::uint64_t>> words(program.inputs.size());
  std::size_t used = 0;
  for (std::size_t slot = 0; slot < words.size(); ++slot) {
    const RecordedInput& input = program.inputs[slot];
    const auto given = inputs.find(input.name);
    if (rank >= 0 && static_cast<int>(input.owner) != rank) {
      if (given == inputs.end()) continue;
      return input_error(input, ErrorCode::kConfig,
                         "it is of player " + std::to_string(input.owner) + ", but player " +
                             std::to_string(rank) + " gave it; each gives its own only");
    }
    if (given == inputs.end()) {
      return input_error(input, ErrorCode::kConfig,
                         "it was not given; it is of player " + std::to_string(input.owner));
    }
    ++used;
    BP_ASSIGN(words[slot], words_of(input, given->second, program.fraction_bits));
  }
  if (used == inputs.size()) return words;
  for (const auto& given : inputs) {
    const bool known =
        std::any_of(program.inputs.begin(), program.inputs.end(),
                    [&given](const RecordedInput& input) { return input.name == given.first; });
    if (!known) {
      return make_error(ErrorCode::kConfig, "the program has no input '" + given.first + "'");
    }
  }
  return words;
}

std::vector<double> numbers(const std::vector<std::uint64_t>& words, int fraction_bits) {
  std::vector<double> out;
  out.reserve(words.size());
  for (const std::uint64_t word : words) {
    out.push_back(std::ldexp(static_cast<double>(static_cast<std::int64_t>(word)), -fraction_bits));
  }
  return out;
}

}  // namespace beaverpond
