// The Backend of one GPU.
#pragma once

#include <memory>

#include "beaverpond/result.h"
#include "kernels/backend.h"
#include "kernels/cuda/work_limits.h"
#include "kernels/product_method.h"

namespace beaverpond {

/// Runs a kernel on the device first (kernels/cuda/probe.h). One thread at a time may use it.
/// Errors: kConfig (no such device), kDeviceFailed, kOutOfMemory.
Result<std::unique_ptr<Backend>> make_cuda_backend(int device,
                                                   ProductMethod method = ProductMethod::kAuto,
                                                   const cuda::WorkLimits& limits = {});

}  // namespace beaverpond
