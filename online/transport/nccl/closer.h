// Calls that may never return, made so that they hang nobody but a thread of their own.
#pragma once

#include <chrono>
#include <functional>

namespace beaverpond::nccl {

/// Helper threads that may be left behind in calls that hang. Beyond, calls are not made at all.
inline constexpr int kMostLeftBehind = 8;

/// Runs `task` on the helper thread of this process, one task at a time, and returns whether it has
/// ended within `bound`. A task that has not is left behind with its thread, which ends with the
/// task or with the process; the tasks after it get a new one. `task` owns all it uses. Any thread.
bool run_within(std::function<void()> task, std::chrono::milliseconds bound);

}  // namespace beaverpond::nccl
