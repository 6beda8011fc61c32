// In which order queued work runs.
#include <algorithm>

#include "runtime/world.h"

namespace fake_cuda {
namespace {

/// All devices' memory, while a thread lets devices work: operations may reach across devices.
class OpenAll {
 public:
  explicit OpenAll(World& world) {
    for (auto& device : world.devices)
      opened_.push_back(std::make_unique<OpenArena>(device->arena));
  }

 private:
  std::vector<std::unique_ptr<OpenArena>> opened_;
};

}  // namespace

void World::push(CUstream_st& stream, Queued queued) {
  stream.queue.push_back(std::move(queued));
  stream.given += 1;
  changed.notify_all();
}

bool World::can_run(CUstream_st& stream) {
  const Device& runs_on = device(stream.device);
  if (stream.queue.empty() || runs_on.at_work || runs_on.hangs) return false;
  const auto& ready = stream.queue.front().operation.ready;
  return !ready || ready() || device(stream.device).failed.has_value();
}

CUstream_st* World::find_stream(cudaStream_t handle) {
  for (auto& stream : streams) {
    if (stream.get() == handle) return stream.get();
  }
  return nullptr;
}

CUstream_st& World::stream(cudaStream_t handle) {
  // The module has streams of its own; what the legacy stream waits for is not kept here.
  if (handle == nullptr) violation("a call names the legacy stream");
  CUstream_st* const found = find_stream(handle);
  if (found == nullptr || found->destroyed) violation("a call names a stream that is not there");
  return *found;
}

cudaStream_t World::pick(cudaStream_t focus) {
  // Towards what is awaited, and nothing else, if that is possible: what an event ought to order
  // then did not happen.
  for (int steps = 0; focus != nullptr && steps < 100; ++steps) {
    CUstream_st* const found = find_stream(focus);
    if (found == nullptr) break;
    if (can_run(*found)) return focus;
    focus = found->queue.empty() ? nullptr : found->queue.front().behind;
  }
  std::vector<cudaStream_t> possible;
  for (auto& stream : streams) {
    if (can_run(*stream)) possible.push_back(stream.get());
  }
  return possible.empty() ? nullptr : possible[random() % possible.size()];
}

void World::run_first(Lock& lock, CUstream_st& stream) {
  Device& working = device(stream.device);
  Queued& first = stream.queue.front();  // a deque keeps it in place while others are added
  const bool runs = !working.failed.has_value() || first.even_if_failed;
  working.at_work = true;
  if (runs && first.operation.run) {
    lock.unlock();
    first.operation.run();
    lock.lock();
  }
  working.at_work = false;
  if (working.hangs) return;  // with this entry, which stays
  stream.queue.pop_front();
  stream.done += 1;
  if (stream.destroyed && stream.queue.empty()) {
    std::erase_if(streams, [&](const auto& each) { return each.get() == &stream; });
  }
  changed.notify_all();
}

void World::run_until(Lock& lock, cudaStream_t focus, const std::function<bool()>& done) {
  if (done()) return;
  const OpenAll opened(*this);  // once for all that follows
  const bool straight = random() % 2 == 0;
  while (!done()) {
    const cudaStream_t next = pick(straight ? focus : nullptr);
    if (next != nullptr) {
      run_first(lock, *next);
    } else {
      const CUstream_st* const awaited = focus == nullptr ? nullptr : find_stream(focus);
      const auto hangs = [](const auto& each) { return each->hangs; };
      if (awaited != nullptr ? device(awaited->device).hangs
                             : std::any_of(devices.begin(), devices.end(), hangs)) {
        violation("a call waits without a limit, for a kernel that does not end");
      }
      changed.wait(lock);
    }
  }
}

void World::run_some(Lock& lock, cudaStream_t focus, std::uint64_t most) {
  std::optional<OpenAll> opened;  // costs more than to find that there is nothing to run
  for (std::uint64_t steps = random() % (most + 1); steps > 0; --steps) {
    const cudaStream_t next = pick(focus);
    if (next == nullptr) return;
    if (!opened.has_value()) opened.emplace(*this);
    run_first(lock, *next);
  }
}

void World::run_all(Lock& lock, int index) {
  run_until(lock, nullptr, [this, index] {
    for (const auto& stream : streams) {
      if (stream->device == index && !stream->queue.empty()) return false;
    }
    return true;
  });
}

cudaError_t enqueue(cudaStream_t stream, Operation operation) {
  World& all = world();
  const World::Lock lock(all.mutex);
  CUstream_st& queue = all.stream(stream);
  if (const cudaError_t status = all.enter_any(queue.device)) return answer(status);
  all.push(queue, Queued{std::move(operation)});
  return cudaSuccess;
}

void notify() {
  const World::Lock lock(world().mutex);
  world().changed.notify_all();
}

int device_of(cudaStream_t stream) {
  const World::Lock lock(world().mutex);
  return world().stream(stream).device;
}

void check_device_range(const void* memory, std::size_t size, const char* what) {
  World& all = world();
  const World::Lock lock(all.mutex);
  Device* const owner = all.owner(memory);
  if (owner == nullptr) violation("%s: %p is not device memory", what, memory);
  if (!owner->arena.is_allocated(memory, size)) {
    violation("%s: %zu bytes at %p are not in one allocation", what, size, memory);
  }
}

}  // namespace fake_cuda
