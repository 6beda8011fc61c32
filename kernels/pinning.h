// Threads of a player that stay on CPUs of their own, where somebody asks for it.
#pragma once

#include <pthread.h>

#include <memory>
#include <span>
#include <vector>

#include "kernels/backend.h"

namespace beaverpond {

/// CPUs that the calling thread may use, ascending.
std::vector<int> usable_cpus();

/// For each of `threads` threads of player number `place` among the `players` of this host: a CPU
/// that no other has, from those that the calling thread may use. Errors: kConfig (there are fewer
/// than `threads` for each player).
Result<std::vector<int>> cpus_of_one(int threads, int players, int place);

/// Keeps a thread on one CPU. Errors: kConfig (this process may not use it).
Result<void> pin_thread(pthread_t thread, int cpu);

/// A CPU backend of as many threads as there are CPUs: helper i stays on cpus[i]. The caller's
/// thread, part 0, is the caller's to pin: threads it makes from then on would be where it is.
/// Errors: those of pin_thread().
Result<std::unique_ptr<Backend>> make_pinned_cpu_backend(std::span<const int> cpus);

}  // namespace beaverpond
