// Runs a kernel on the emulated machine. See README.md for what is checked.
#pragma once

#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "simt/device.h"

namespace simt {

/// A kernel that cannot go on, or a launch that no device takes: names block, threads and places.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// SIMT_SEED of the environment, 1 without it.
std::uint64_t default_seed();

struct Options {
  std::uint64_t seed = default_seed();  // of the order of blocks and threads, and of garbage
  int workers = 1;                      // system threads that run blocks
};

/// Notes that a kernel was started. Any thread.
void note_kernel(const void* kernel);
/// The names of the kernels that this process has run, as the linker knows them, demangled: only
/// those that the program exports (ENABLE_EXPORTS) have one.
std::vector<std::string> kernels_run();

using Body = void (*)(const void* closure);

/// Runs body(closure) for every thread of the grid. Throws Error.
void run_grid(const Options& options, dim3 grid, dim3 block, std::size_t shared_bytes, Body body,
              const void* closure);

/// kernel<<<grid, block, shared_bytes>>>(arguments...), and waits for it. Throws Error; the
/// threads that were stuck are then abandoned.
template <class... Parameters, class... Arguments>
void run(const Options& options, void (*kernel)(Parameters...), dim3 grid, dim3 block,
         std::size_t shared_bytes, Arguments&&... arguments) {
  using Call = std::pair<void (*)(Parameters...), std::tuple<Parameters...>>;
  const Call call(kernel, std::tuple<Parameters...>(std::forward<Arguments>(arguments)...));
  note_kernel(reinterpret_cast<const void*>(kernel));
  run_grid(
      options, grid, block, shared_bytes,
      [](const void* closure) {
        const Call& call = *static_cast<const Call*>(closure);
        std::apply(call.first, call.second);
      },
      &call);
}

template <class... Parameters, class... Arguments>
void run(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
         Arguments&&... arguments) {
  run(Options{}, kernel, grid, block, shared_bytes, std::forward<Arguments>(arguments)...);
}

}  // namespace simt
