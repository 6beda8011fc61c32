#include "bench/online/op_cases.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "beaverpond/program_builder.h"
#include "online/nn/blocks.h"
#include "online/nn/twin.h"

namespace beaverpond {
namespace {

const char* const kSecureNn = "SecureNN's public code, another machine";

/// Both signs and every magnitude below 2^61.
std::vector<std::uint64_t> any_words(std::uint64_t count) {
  std::mt19937_64 random(5);
  std::vector<std::uint64_t> words;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t size = (random() >> 3) >> (random() % 60);
    words.push_back((random() & 1) != 0 ? std::uint64_t{0} - size : size);
  }
  return words;
}

Result<OpCase> finish(ProgramBuilder& b, std::vector<std::uint64_t> input,
                      CompareProfile profile = CompareProfile::kLan) {
  OpCase test;
  BP_ASSIGN(test.program, b.finish());
  test.profile = profile;
  test.input = std::move(input);
  return test;
}

Result<OpCase> relu_case_of(CompareProfile profile) {
  constexpr std::uint32_t kRows = 1024;
  constexpr std::uint32_t kShift = 16;
  ProgramBuilder b;
  b.set_layer("relu");
  const ValueId sum = b.state({kRows, kRows}, 16);
  const ValueId x = b.input(0, {kRows, kRows}, 32);
  b.update(sum, b.relu_truncate(x, kShift, true).value);
  BP_ASSIGN(OpCase test, finish(b, any_words(std::uint64_t{kRows} * kRows), profile));
  for (const std::uint64_t word : test.input) {
    const auto rounded = static_cast<std::int64_t>(word + (std::uint64_t{1} << (kShift - 1)));
    test.expected.push_back(rounded < 0 ? 0 : static_cast<std::uint64_t>(rounded >> kShift));
  }
  test.reference = Reference{kSecureNn, "recorded", 5.57};
  return test;
}

}  // namespace

Result<void> plan_for(Protocol protocol, OpCase& test) {
  BP_ASSIGN(test.plan, make_plan(test.program, PrgKind::kAes128Ctr, test.profile, protocol));
  return {};
}

Result<OpCase> relu_case() {
  return relu_case_of(CompareProfile::kLan);
}

Result<OpCase> wide_relu_case() {
  return relu_case_of(CompareProfile::kWan);
}

Result<OpCase> plain_relu_case() {
  constexpr std::uint32_t kRows = 1024;
  ProgramBuilder b;
  b.set_layer("relu");
  const ValueId sum = b.state({kRows, kRows}, 16);
  const ValueId x = b.input(0, {kRows, kRows}, 16);
  b.update(sum, b.relu(x).value);
  BP_ASSIGN(OpCase test, finish(b, any_words(std::uint64_t{kRows} * kRows)));
  for (const std::uint64_t word : test.input) {
    test.expected.push_back(static_cast<std::int64_t>(word) < 0 ? 0 : word);
  }
  test.reference = Reference{kSecureNn, "recorded", 5.57};
  return test;
}

Result<OpCase> matmul_case() {
  constexpr std::uint32_t kSide = 1024;
  ProgramBuilder b;
  b.set_layer("matmul");
  const ValueId sum = b.state({kSide, kSide}, 32);
  const ValueId x = b.input(0, {kSide, kSide}, 16);
  const ValueId y = b.input(1, {kSide, kSide}, 16);
  b.update(sum, b.matmul(x, y));
  std::mt19937_64 random(7);
  const auto words = [&random] {
    std::vector<std::uint64_t> all(std::size_t{kSide} * kSide);
    for (std::uint64_t& word : all) word = random();
    return all;
  };
  BP_ASSIGN(OpCase test, finish(b, words()));
  test.second = words();
  test.expected.resize(test.input.size());
  for (std::size_t i = 0; i < kSide; ++i) {
    for (std::size_t k = 0; k < kSide; ++k) {
      const std::uint64_t factor = test.input[i * kSide + k];
      for (std::size_t j = 0; j < kSide; ++j) {
        test.expected[i * kSide + j] += factor * test.second[k * kSide + j];
      }
    }
  }
  test.reference = Reference{kSecureNn, "recorded", 1.93};
  return test;
}

Result<OpCase> maxpool_case() {
  constexpr std::uint32_t kBatch = 128;
  constexpr std::uint32_t kSide = 24;
  constexpr std::uint32_t kChannels = 20;
  const Pool2dShape pool{kBatch, kSide, kSide, kChannels, 2, 2, 2, 0, 0, true};
  ProgramBuilder b;
  b.set_layer("maxpool");
  const ValueId sum = b.state(pool.result_shape(), 32);
  const ValueId x = b.input(0, pool.image_shape(), 32);
  b.update(sum, b.reshape(max_rows(b, b.window(x, pool)).max, pool.result_shape()));
  BP_ASSIGN(OpCase test, finish(b, any_words(pool.image_shape().count())));
  const auto at = [&](std::uint32_t i, std::uint32_t y, std::uint32_t x, std::uint32_t c) {
    return static_cast<std::int64_t>(
        test.input[((std::size_t{i} * kSide + y) * kSide + x) * kChannels + c]);
  };
  for (std::uint32_t i = 0; i < kBatch; ++i) {
    for (std::uint32_t y = 0; y < kSide; y += 2) {
      for (std::uint32_t x = 0; x < kSide; x += 2) {
        for (std::uint32_t c = 0; c < kChannels; ++c) {
          test.expected.push_back(static_cast<std::uint64_t>(std::max(
              {at(i, y, x, c), at(i, y, x + 1, c), at(i, y + 1, x, c), at(i, y + 1, x + 1, c)})));
        }
      }
    }
  }
  test.reference = Reference{kSecureNn, "recorded", 10.1};
  return test;
}

Result<OpCase> softmax_case() {
  constexpr std::uint32_t kBatch = 128;
  constexpr std::uint32_t kClasses = 10;
  constexpr int kFractionBits = 16;
  constexpr double kOne = 65536;
  constexpr double kLargestError = 1e-3;
  ProgramBuilder b;
  b.set_layer("softmax");
  const ValueId sum = b.state({kBatch, kClasses}, kFractionBits);
  const ValueId x = b.input(0, {kBatch, kClasses}, kFractionBits);
  b.update(sum, softmax(b, x, kFractionBits).probabilities);
  std::mt19937_64 random(6);
  std::vector<std::uint64_t> input;
  for (std::uint32_t i = 0; i < kBatch * kClasses; ++i) input.push_back(random() % 786432 - 393216);
  BP_ASSIGN(OpCase test, finish(b, std::move(input)));
  std::vector<std::vector<std::uint64_t>> states{std::vector<std::uint64_t>(test.input.size(), 0)};
  BP_TRY(run_fixed({test.program, {test.input}, states, 1, 0}));
  for (const std::uint64_t word : states[0]) test.expected.push_back(0 - word);
  for (std::size_t row = 0; row < kBatch; ++row) {
    double total = 0;
    const auto score = [&](std::size_t c) {
      return std::exp(
          static_cast<double>(static_cast<std::int64_t>(test.input[row * kClasses + c])) / kOne);
    };
    for (std::size_t c = 0; c < kClasses; ++c) total += score(c);
    for (std::size_t c = 0; c < kClasses; ++c) {
      const double p = static_cast<double>(test.expected[row * kClasses + c]) / kOne;
      if (std::abs(p - score(c) / total) > kLargestError) {
        return make_error(ErrorCode::kDomain, "the twin's softmax is off by more than 1e-3");
      }
    }
  }
  return test;
}

}  // namespace beaverpond
