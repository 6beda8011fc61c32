#include "kernels/pinning.h"

#include <sched.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace beaverpond {
namespace {

std::string list_of(const std::vector<int>& cpus) {
  std::string list;
  for (const int cpu : cpus) list += (list.empty() ? "" : ", ") + std::to_string(cpu);
  return list;
}

}  // namespace

std::vector<int> usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

Result<std::vector<int>> cpus_of_one(int threads, int players, int place) {
  BP_CHECK(threads > 0 && place >= 0 && place < players, "one of the players of this host");
  const std::vector<int> usable = usable_cpus();
  const auto wanted = static_cast<std::size_t>(threads) * static_cast<std::size_t>(players);
  if (usable.size() < wanted) {
    return make_error(
        ErrorCode::kConfig,
        "--pin needs a CPU for each of " + std::to_string(threads) + " threads of each of " +
            std::to_string(players) + " players on this host, " + std::to_string(wanted) +
            " in all, but this process may use " + std::to_string(usable.size()) + " (" +
            list_of(usable) + "); ask for fewer --threads, or leave --pin out");
  }
  const auto first = usable.begin() + std::ptrdiff_t{threads} * place;
  return std::vector<int>(first, first + threads);
}

Result<void> pin_thread(pthread_t thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  const bool exists = cpu >= 0 && cpu < CPU_SETSIZE;
  if (exists) CPU_SET(static_cast<std::size_t>(cpu), &set);
  const int failure = exists ? pthread_setaffinity_np(thread, sizeof set, &set) : EINVAL;
  if (failure == 0) return {};
  return make_error(ErrorCode::kConfig, "cannot keep a thread on CPU " + std::to_string(cpu) +
                                            ": " + std::strerror(failure) +
                                            "; this process may use " + list_of(usable_cpus()));
}

}  // namespace beaverpond
