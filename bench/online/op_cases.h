// Programs of one operation whose result every player can check, word by word.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "beaverpond/program.h"
#include "beaverpond/result.h"
#include "bench/report/report.h"
#include "offline/plan/plan.h"

namespace beaverpond {

/// state += f(input), so that the results of several runs can be opened outside the clock.
struct OpCase {
  Program program;
  CompareProfile profile = CompareProfile::kLan;
  Plan plan;                            ///< of the protocol that plan_for() was given
  std::vector<std::uint64_t> input;     ///< of player 0
  std::vector<std::uint64_t> second;    ///< of player 1, where the program takes one
  std::vector<std::uint64_t> expected;  ///< f(input)
  std::optional<Reference> reference;
};

Result<void> plan_for(Protocol protocol, OpCase& test);

/// Minus one: state := state - multiplier * f(input).
inline constexpr std::uint64_t kAddToState = ~std::uint64_t{0};

/// max(x / 2^16, 0), rounded, of 2^20 elements; expected by a formula of its own.
Result<OpCase> relu_case();
/// max(x, 0) of 2^20 elements, as SecureNN has it, without a truncation.
Result<OpCase> plain_relu_case();
/// relu_case() in three rounds, from a plan of the profile `wan`.
Result<OpCase> wide_relu_case();
/// The product of two matrices of 1024 x 1024 words of any value, one of each player; expected by
/// the schoolbook method.
Result<OpCase> matmul_case();
/// Maxima of 2 x 2 windows of 128 images of 24 x 24 x 20 words; expected likewise.
Result<OpCase> maxpool_case();
/// Probabilities of 128 rows of 10 scores at scale 16; expected by the plaintext twin, which is
/// compared with the exact softmax.
Result<OpCase> softmax_case();

}  // namespace beaverpond
