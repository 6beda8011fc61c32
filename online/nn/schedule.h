// What every player derives from the job's seed alone: initial weights and the order of rows.
// Integers only, so that all machines agree word for word.
#pragma once

#include <cstdint>
#include <vector>

#include "online/nn/model.h"

namespace beaverpond {

/// Largest magnitude of an initial weight: sqrt(6 / fan_in) (He et al. 2015, uniform) at
/// `scale_bits`, computed to 29 fractional bits.
std::uint64_t initial_weight_limit(std::uint64_t fan_in, int scale_bits);

/// State words by slot: weights uniform in [-limit, limit] (a quarter of it in the output layer),
/// biases zero.
std::vector<std::vector<std::uint64_t>> initial_weights(
    const std::vector<ModelParameter>& parameters, std::uint64_t seed);

/// Which of its rows an owner adds to the batch of each step: its rows in an order shuffled anew in
/// every epoch, taken `rows_per_step` at a time. Public, and a function of the step alone, so that
/// a step can be redone. A batch may span two epochs. Not thread-safe (keeps the last epochs'
/// orders).
class RowSchedule {
 public:
  /// row_count > 0.
  RowSchedule(std::uint64_t seed, std::uint32_t player, std::uint32_t row_count,
              std::uint32_t rows_per_step);

  /// Indices below row_count, `rows_per_step` of them.
  std::vector<std::uint32_t> rows_of_step(std::uint64_t step);
  /// The same into a vector that is used again and keeps its memory.
  void put_rows_of_step(std::uint64_t step, std::vector<std::uint32_t>& rows);

 private:
  const std::vector<std::uint32_t>& order_of_epoch(std::uint64_t epoch);

  struct Epoch {
    std::uint64_t number = UINT64_MAX;
    std::vector<std::uint32_t> order;
  };

  std::uint64_t seed_;
  std::uint32_t player_;
  std::uint32_t row_count_;
  std::uint32_t rows_per_step_;
  Epoch epochs_[2];  // by parity: a batch that spans two epochs alternates between both
};

}  // namespace beaverpond
