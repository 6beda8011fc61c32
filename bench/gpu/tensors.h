// Tensors of a device under the clock, and the clock.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include "kernels/backend.h"
#include "kernels/synthetic/source.h"

namespace beaverpond {

/// Aborts the benchmark by an exception, which main() prints.
void require(const Result<void>& result);

/// What makes random_tensor()'s words in a GPU's memory: cuRAND on the first GPU, which is the one
/// that is measured, or the CPU.
const SyntheticSource& input_source();
/// `count` words of the backend's memory, the first of sequence `salt`: the same on every backend.
Buffer random_tensor(Backend& backend, std::uint64_t count, std::uint64_t salt);
std::vector<std::uint64_t> download_words(Backend& backend, ConstWords words);

/// Seconds of one call of `body`, which gives work to the backend's stream: the median over runs of
/// as many calls as take about `least_seconds`, each run ending with synchronize().
double time_on_device(Backend& backend, double least_seconds, const std::function<void()>& body);

}  // namespace beaverpond
