// The names of devices, as `--device` and the key `device` of a configuration say them.
#pragma once

#include <optional>
#include <string>

#include "beaverpond/result.h"

namespace beaverpond {

/// For --help and README.
inline constexpr const char* kDeviceHelp =
    "auto, cpu, cuda or cuda:N: where it computes (default: auto, a GPU if there is one)";

/// Whether it is "auto", "cpu", "cuda" (the first GPU) or "cuda:N". Errors: kConfig.
Result<void> check_device(const std::string& device);
/// N of "cuda:N", 0 of "cuda", else nothing.
std::optional<int> gpu_of(const std::string& device);

}  // namespace beaverpond
