// What the CUDA module is asked for when it makes synthetic words.
#pragma once

#include <cstdint>
#include <span>

#include "beaverpond/stream.h"

namespace beaverpond {

/// Words of one sequence (kernels/synthetic/philox.h), by cuRAND. For data sets that are made up
/// and for inputs of benchmarks: anybody who has `sequence_seed` has them, so nothing that must
/// stay secret and nothing that players must agree on is ever made of them.
struct SyntheticRequest {
  static constexpr int kOnHost = -1;

  int device = kOnHost;  ///< the GPU that computes; kOnHost: cuRAND's generator for the CPU
  std::uint64_t sequence_seed = 0;
  std::uint64_t first_word = 0;
  /// Receives words first_word, first_word + 1 ..: 4 bytes each, little endian. Whole words,
  /// 16-byte aligned; host memory, or with kDevice memory of `device`.
  std::span<std::uint8_t> out;
  MemoryKind memory = MemoryKind::kHost;
};

}  // namespace beaverpond
