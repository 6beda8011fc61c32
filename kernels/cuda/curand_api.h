// The part of cuRAND's host interface that is used, declared here, so that the module builds where
// curand.h is not installed and runs with any libcurand.so.10. Where curand.h is installed a test
// compares the two.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "beaverpond/result.h"

namespace beaverpond::cuda::curand {

enum class Status : int {
  kSuccess = 0,
  kVersionMismatch = 100,
  kNotInitialized = 101,
  kAllocationFailed = 102,
  kTypeError = 103,
  kOutOfRange = 104,
  kLaunchFailure = 201,
  kPreexistingFailure = 202,
  kInitializationFailed = 203,
  kArchMismatch = 204,
  kInternalError = 999,
};
enum class RngType : int { kPhilox4x32x10 = 161 };
/// The order that stays the same in all releases and on all devices.
enum class Ordering : int { kLegacy = 103 };

/// An opaque handle: curandGenerator_t.
using Generator = struct GeneratorTag*;

/// The library's functions, under their names without the prefix "curand".
struct Api {
  Status (*create_generator)(Generator*, RngType) = nullptr;
  Status (*create_generator_host)(Generator*, RngType) = nullptr;
  Status (*destroy_generator)(Generator) = nullptr;
  Status (*set_stream)(Generator, cudaStream_t) = nullptr;
  Status (*set_seed)(Generator, unsigned long long) = nullptr;  ///< PseudoRandomGeneratorSeed
  Status (*set_offset)(Generator, unsigned long long) = nullptr;
  Status (*set_ordering)(Generator, Ordering) = nullptr;
  Status (*generate)(Generator, unsigned int*, std::size_t) = nullptr;
};

/// The library of this process: libcurand.so.10, where the system's loader or the module's run path
/// find it; loaded once, never unloaded. Errors: kDeviceFailed (none; says what to do).
Result<const Api*> load();

}  // namespace beaverpond::cuda::curand
