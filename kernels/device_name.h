// The names of devices, as `--device` and the key `device` of a configuration say them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

/// For --help and README.
inline constexpr const char* kDeviceHelp =
    "auto, cpu, cuda or cuda:N: where it computes (default: auto, a GPU if there is one)";

/// Whether it is "auto", "cpu", "cuda" (the first GPU) or "cuda:N". Errors: kConfig.
Result<void> check_device(const std::string& device);
/// N of "cuda:N", 0 of "cuda", else nothing.
std::optional<int> gpu_of(const std::string& device);

/// For --help and README of programs that use several devices at once.
inline constexpr const char* kDevicesHelp =
    "auto, cpu, cuda, cuda:N, several GPUs as cuda:0,cuda:1, or cuda:all (default: auto, a GPU if "
    "there is one)";

/// The devices of "cuda:0,cuda:1", in order; of any other name, that name. "cuda:all" stays as it
/// is. Errors: kConfig (a name that is none, one that is given twice, others beside a GPU).
Result<std::vector<std::string>> split_devices(const std::string& devices);

}  // namespace beaverpond
