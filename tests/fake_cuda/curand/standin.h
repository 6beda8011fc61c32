// Stand-in for cuRAND, in the place of kernels/cuda/curand_load.cpp: the same words, written to the
// memory that fake_cuda takes for a device's, in the order of its streams. What the real library
// gives is compared in tests/kernels/cuda/curand_test.cpp.
#pragma once

#include <cstdint>

#include "kernels/cuda/curand_api.h"

namespace beaverpond::fake_curand {

enum class Call : std::uint8_t { kCreate, kOrdering, kSeed, kOffset, kStream, kGenerate };

/// Nothing is planned to fail, nothing counted, the library is there.
void reset();
/// Whether load() finds a library.
void set_installed(bool installed);
/// The `nth` such call from now on (1: the next) returns `status` and does nothing else.
void fail_call(Call call, int nth, cuda::curand::Status status);

struct Counts {
  int loads = 0;  ///< calls of load()
  int device_generators = 0;
  int host_generators = 0;
  int live = 0;  ///< made and not destroyed
  std::uint64_t words = 0;
};
Counts counts();

}  // namespace beaverpond::fake_curand
