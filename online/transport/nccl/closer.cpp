#include "online/transport/nccl/closer.h"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace beaverpond::nccl {
namespace {

struct Task {
  std::function<void()> run;
  bool started = false;
  bool ended = false;
};

/// What callers and helpers share. Helpers hold it too, since they may outlive everything else.
struct Shared {
  std::mutex mutex;
  std::condition_variable ended;
  std::deque<std::shared_ptr<Task>> tasks;
  std::deque<std::shared_ptr<Task>> given_up;
  std::uint64_t helper = 0;  ///< number of the helper that takes tasks; others are left behind
  bool helper_lives = false;
  int left_behind = 0;
};

void help(const std::shared_ptr<Shared>& shared, std::uint64_t number) {
  std::unique_lock lock(shared->mutex);
  while (shared->helper == number && !shared->tasks.empty()) {
    const std::shared_ptr<Task> task = std::move(shared->tasks.front());
    shared->tasks.pop_front();
    task->started = true;
    lock.unlock();
    task->run();
    task->run = nullptr;  // what it owns ends here, without the lock
    lock.lock();
    task->ended = true;
    shared->ended.notify_all();
  }
  if (shared->helper == number) {
    shared->helper_lives = false;
  } else {
    --shared->left_behind;
  }
}

/// Without the system's leave for a thread the tasks stay where they are.
void start_helper(const std::shared_ptr<Shared>& shared) {
  if (shared->helper_lives || shared->tasks.empty()) return;
  try {
    std::thread([shared, number = shared->helper] { help(shared, number); }).detach();
    shared->helper_lives = true;
  } catch (const std::system_error&) {
  }
}

}  // namespace

bool run_within(std::function<void()> run, std::chrono::milliseconds bound) {
  static const auto shared = std::make_shared<Shared>();
  const auto task = std::make_shared<Task>();
  task->run = std::move(run);
  std::unique_lock lock(shared->mutex);
  if (shared->left_behind >= kMostLeftBehind) {
    // Better a communicator too many than a thread too many: what the task owns stays.
    shared->given_up.push_back(task);
    return false;
  }
  shared->tasks.push_back(task);
  start_helper(shared);
  const bool ended = shared->ended.wait_for(lock, bound, [&] { return task->ended; });
  if (!ended && task->started && shared->helper_lives) {
    ++shared->helper;
    ++shared->left_behind;
    shared->helper_lives = false;
    start_helper(shared);
  }
  return ended;
}

}  // namespace beaverpond::nccl
