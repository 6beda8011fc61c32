// Which device computes: what `--device` and the key `device` of a configuration say.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/device_name.h"

namespace beaverpond {

struct MadeBackend {
  std::unique_ptr<Backend> backend;
  int gpu = -1;      ///< the GPU's number, -1 of the CPU
  std::string line;  ///< what computes and, where "auto" fell back to the CPU, why: for a person
};

/// A backend of its own for one thread. "auto" takes the first GPU, or the CPU where there is none;
/// no other name falls back to anything. `threads`: that a CPU's products share. `cpus`: where
/// these threads stay, one each (kernels/pinning.h), or nothing. Errors: kConfig (no such name, no
/// such GPU, or a file of rates that is none: kernels/product_rates.h), kDeviceFailed (no driver or
/// module), kOutOfMemory.
Result<MadeBackend> make_backend(const std::string& device, int threads = 1,
                                 std::span<const int> cpus = {});

/// Threads for one of `processes` that share the cores this process may use: at least one.
int threads_of_one(int processes);

/// The devices of split_devices() without "auto" and "cuda:all": what stands here is there, and no
/// name means another device later. `line` gets what they are, for a person. Errors: those of
/// split_devices() and make_backend().
Result<std::vector<std::string>> choose_devices(const std::string& devices, std::string& line);

}  // namespace beaverpond
