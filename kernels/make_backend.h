// Which device computes: what `--device` and the key `device` of a configuration say.
#pragma once

#include <memory>
#include <string>

#include "kernels/backend.h"

namespace beaverpond {

/// For --help and README.
inline constexpr const char* kDeviceHelp =
    "auto, cpu, cuda or cuda:N: where it computes (default: auto, a GPU if there is one)";

/// Whether it is "auto", "cpu", "cuda" (the first GPU) or "cuda:N". Errors: kConfig.
Result<void> check_device(const std::string& device);

struct MadeBackend {
  std::unique_ptr<Backend> backend;
  int gpu = -1;      ///< the GPU's number, -1 of the CPU
  std::string line;  ///< what computes and, where "auto" fell back to the CPU, why: for a person
};

/// A backend of its own for one thread. "auto" takes the first GPU, or the CPU where there is none;
/// no other name falls back to anything. Errors: kConfig (no such name), kDeviceFailed (no such
/// GPU, driver or module), kOutOfMemory.
Result<MadeBackend> make_backend(const std::string& device);

}  // namespace beaverpond
