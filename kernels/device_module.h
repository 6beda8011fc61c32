// The module of a device that the programs do without: found and loaded when one asks for it, so
// that the same program runs where there is neither toolkit nor driver.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>

#include "beaverpond/result.h"
#include "kernels/backend.h"
#include "kernels/product_rates.h"

namespace beaverpond {

class Transport;          // online/transport/transport.h
struct NcclOptions;       // online/transport/nccl_options.h
struct SyntheticRequest;  // kernels/synthetic/request.h

/// Of the headers that module and program share, which are C++ to each other: a module of other
/// sources is refused. A digest of those headers; tests/tidy says when it is another.
inline constexpr int kDeviceModuleVersion = 0xf8620d6;

/// What a module offers. Function pointers, none null. Lives as long as the program.
struct DeviceModule {
  int version = 0;  ///< its kDeviceModuleVersion; the only field to read where it is another's
  /// Devices this process may use, at least 1. Errors: kDeviceFailed (no driver, no device).
  Result<int> (*device_count)() = nullptr;
  /// The backend of one device, which has run a kernel. One thread at a time may use it. Errors:
  /// kConfig (no such device), kDeviceFailed, kOutOfMemory.
  Result<std::unique_ptr<Backend>> (*make_backend)(int device,
                                                   const ProductTuning& tuning) = nullptr;
  /// The transport among GPUs: connect_nccl_blocking() of online/transport/nccl/nccl.h.
  Result<std::unique_ptr<Transport>> (*connect_nccl)(
      Transport& control, const NcclOptions& options,
      std::chrono::steady_clock::time_point deadline) = nullptr;
  /// Words for made-up data and inputs of benchmarks, by cuRAND: fill_synthetic_blocking() of
  /// kernels/cuda/synthetic.h. Never for anything of a run: only kernels/synthetic may call it.
  Result<void> (*fill_synthetic_blocking)(const SyntheticRequest& request) = nullptr;
};

/// The one function a module exports. `version` is the caller's; the answer carries the module's.
using DeviceModuleEntry = const DeviceModule* (*)(int version);
inline constexpr const char* kCudaModuleEntry = "beaverpond_cuda_module";
inline constexpr const char* kCudaModuleFile = "libbeaverpond_cuda.so";

/// Loads the CUDA module: beside the program, in ../lib, else where the system looks. The first
/// that is there decides. Never unloaded; later calls give the same answer. Any thread. Errors:
/// kDeviceFailed (no module, or one that cannot be used), in one line.
Result<const DeviceModule*> load_cuda_module();

/// The same from `paths`: with a slash a file, which may be absent; without, as the system looks.
Result<const DeviceModule*> load_cuda_module_from(std::span<const std::string> paths);

}  // namespace beaverpond
