#include "online/nn/schedule.h"

#include <utility>

#include "online/nn/chacha20_draws.h"

namespace beaverpond {
namespace {

// First nonce word: what a stream is drawn for.
constexpr std::uint32_t kWeightStreams = 1;
constexpr std::uint32_t kShuffleStreams = 2;
// The output layer starts four times smaller, as if its fan-in were 16 times larger: its sums are
// compared with 0 and 1, and unlearning a large random start costs a third of a short training.
constexpr std::uint64_t kOutputFanInFactor = 16;

// Largest r with r * r <= value.
std::uint64_t integer_sqrt(std::uint64_t value) {
  std::uint64_t root = 0;
  for (std::uint64_t bit = std::uint64_t{1} << 31; bit != 0; bit >>= 1) {
    const std::uint64_t next = root | bit;
    if (next * next <= value) root = next;
  }
  return root;
}

}  // namespace

std::uint64_t initial_weight_limit(std::uint64_t fan_in, int scale_bits) {
  BP_CHECK(fan_in > 0 && scale_bits >= 0 && scale_bits < 62, "a weight has a fan-in and a scale");
  // 6 * 2^58 is the largest such square in 63 bits; its root has 29 fractional bits.
  constexpr int kRootBits = 29;
  const std::uint64_t square = (std::uint64_t{6} << (2 * kRootBits)) / fan_in;
  std::uint64_t root = integer_sqrt(square);
  if (square - root * root > root) ++root;  // nearest
  if (scale_bits >= kRootBits) return root << (scale_bits - kRootBits);
  const int drop = kRootBits - scale_bits;
  return (root + (std::uint64_t{1} << (drop - 1))) >> drop;
}

std::vector<std::vector<std::uint64_t>> initial_weights(
    const std::vector<ModelParameter>& parameters, std::uint64_t seed) {
  std::vector<std::vector<std::uint64_t>> states;
  states.reserve(parameters.size());
  for (std::uint32_t slot = 0; slot < parameters.size(); ++slot) {
    const ModelParameter& parameter = parameters[slot];
    std::vector<std::uint64_t> words(parameter.shape.count(), 0);
    if (!parameter.bias) {
      const std::uint64_t fan_in = parameter.fan_in * (parameter.output ? kOutputFanInFactor : 1);
      const std::uint64_t limit = initial_weight_limit(fan_in, parameter.scale_bits);
      ChaCha20Draws draws(ChaCha20Draws::key_of_seed(seed), {kWeightStreams, slot, 0});
      for (std::uint64_t& word : words) word = draws.symmetric(limit);
    }
    states.push_back(std::move(words));
  }
  return states;
}

RowSchedule::RowSchedule(std::uint64_t seed, std::uint32_t player, std::uint32_t row_count,
                         std::uint32_t rows_per_step)
    : seed_(seed), player_(player), row_count_(row_count), rows_per_step_(rows_per_step) {
  BP_CHECK(row_count > 0, "an owner has at least one row");
}

const std::vector<std::uint32_t>& RowSchedule::order_of_epoch(std::uint64_t epoch) {
  Epoch& kept = epochs_[epoch % 2];
  if (kept.number == epoch) return kept.order;
  BP_CHECK(epoch <= UINT32_MAX, "an epoch is one nonce word");
  kept.number = epoch;
  kept.order.resize(row_count_);
  for (std::uint32_t i = 0; i < row_count_; ++i) kept.order[i] = i;
  ChaCha20Draws draws(ChaCha20Draws::key_of_seed(seed_),
                      {kShuffleStreams, player_, static_cast<std::uint32_t>(epoch)});
  // Fisher and Yates, from the top.
  for (std::uint32_t i = row_count_ - 1; i > 0; --i) {
    const auto j = static_cast<std::uint32_t>(draws.below(std::uint64_t{i} + 1));
    std::swap(kept.order[i], kept.order[j]);
  }
  return kept.order;
}

void RowSchedule::put_rows_of_step(std::uint64_t step, std::vector<std::uint32_t>& rows) {
  rows.clear();
  rows.reserve(rows_per_step_);
  std::uint64_t position = step * rows_per_step_;
  for (std::uint32_t i = 0; i < rows_per_step_; ++i, ++position) {
    rows.push_back(order_of_epoch(position / row_count_)[position % row_count_]);
  }
}

std::vector<std::uint32_t> RowSchedule::rows_of_step(std::uint64_t step) {
  std::vector<std::uint32_t> rows;
  put_rows_of_step(step, rows);
  return rows;
}

}  // namespace beaverpond
