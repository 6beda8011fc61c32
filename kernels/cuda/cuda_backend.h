// The Backend of one GPU.
#pragma once

#include <memory>

#include "beaverpond/result.h"
#include "kernels/backend.h"
#include "kernels/cuda/work_limits.h"
#include "kernels/product_rates.h"

namespace beaverpond {

/// Runs a kernel on the device first (kernels/cuda/probe.h). One thread at a time may use it.
/// Where the tuning's rates use cuBLASLt and it is not there, it is not used; where the method is
/// kLibrary that is an error. Errors: kConfig (no such device), kDeviceFailed, kOutOfMemory.
Result<std::unique_ptr<Backend>> make_cuda_backend(int device, const ProductTuning& tuning = {},
                                                   const cuda::WorkLimits& limits = {});

}  // namespace beaverpond
