// Streams, events and kernels.
#include <chrono>
#include <exception>

#include "runtime/world.h"

using namespace fake_cuda;

namespace {

constexpr int kSharedUnasked = 48 * 1024;
constexpr std::size_t kMostLaunches = 1024;

double now_ms() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

bool fits_a_device(const cudaLaunchConfig_t& config) {
  const dim3 grid = config.gridDim;
  const dim3 block = config.blockDim;
  return grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7fffffffu && grid.y <= 65535 &&
         grid.z <= 65535 && block.x > 0 && block.y > 0 && block.z > 0 && block.x <= 1024 &&
         block.y <= 1024 && block.z <= 64 && std::uint64_t{block.x} * block.y * block.z <= 1024;
}

}  // namespace

namespace fake_cuda {

cudaError_t allow_shared(const void* kernel, cudaFuncAttribute attribute, int value) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (const cudaError_t status = all.enter_any(current_device())) return answer(status);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      static_cast<std::size_t>(value) > all.settings.shared_bytes) {
    return answer(cudaErrorInvalidValue);
  }
  all.shared_allowed[kernel] = value;
  return cudaSuccess;
}

cudaError_t queue_kernel(const void* kernel, const cudaLaunchConfig_t& config,
                         std::function<void(const simt::Options&)> run) {
  World& all = world();
  World::Lock lock(all.mutex);
  CUstream_st& stream = all.stream(config.stream);
  if (stream.device != current_device()) return answer(cudaErrorInvalidResourceHandle);
  if (const cudaError_t status = all.enter(Call::kLaunch, stream.device)) return answer(status);
  if (!fits_a_device(config)) return answer(cudaErrorInvalidConfiguration);
  const auto asked = all.shared_allowed.find(kernel);
  const int allowed =
      asked == all.shared_allowed.end() ? kSharedUnasked : std::max(asked->second, kSharedUnasked);
  if (config.dynamicSmemBytes > static_cast<std::size_t>(allowed)) {
    return answer(cudaErrorInvalidValue);
  }
  simt::Options options;
  options.seed = all.random();
  options.workers = all.settings.kernel_workers;
  Queued queued;
  queued.operation.what = "a kernel";
  queued.operation.run = [&all, options, device = stream.device, run = std::move(run)] {
    {
      const World::Lock lock(all.mutex);
      all.counts.kernels += 1;
      if (all.kernel_is_stopped(device)) return;
    }
    try {
      run(options);
    } catch (const simt::Error& error) {
      violation("%s", error.what());
    }
  };
  // A device takes so many, and lets whoever comes with another one wait.
  const auto has_room = [&stream] { return stream.queue.size() < kMostLaunches; };
  all.run_until(lock, config.stream, has_room);
  all.push(stream, std::move(queued));
  return cudaSuccess;
}

}  // namespace fake_cuda

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (const cudaError_t status = all.enter(Call::kCreate, current_device())) return answer(status);
  if (flags != cudaStreamNonBlocking) violation("a stream that the legacy stream waits for");
  all.streams.push_back(std::make_unique<CUstream_st>());
  *stream = all.streams.back().get();
  (*stream)->device = current_device();
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  World& all = world();
  const World::Lock lock(all.mutex);
  CUstream_st& ending = all.stream(stream);
  ending.destroyed = true;
  if (ending.queue.empty()) {
    std::erase_if(all.streams, [stream](const auto& each) { return each.get() == stream; });
  }
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  World& all = world();
  World::Lock lock(all.mutex);
  CUstream_st& awaited = all.stream(stream);
  const int device = awaited.device;
  if (const cudaError_t status = all.enter(Call::kSynchronize, device)) return answer(status);
  all.counts.synchronizes += 1;
  const std::uint64_t given = awaited.given;
  all.run_until(lock, stream, [&awaited, given] { return awaited.done >= given; });
  return answer(all.enter_any(device));
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  World& all = world();
  World::Lock lock(all.mutex);
  CUstream_st& asked = all.stream(stream);
  if (const cudaError_t status = all.enter_any(asked.device)) return answer(status);
  // Questions one after the other are a wait, which goes one of the two ways of run_until.
  const bool straight = ((asked.given + all.settings.seed) * 0x9e3779b97f4a7c15u >> 63) != 0;
  all.run_some(lock, straight ? stream : nullptr, 8);
  if (const cudaError_t status = all.enter_any(asked.device)) return answer(status);
  if (!asked.queue.empty()) return answer(cudaErrorNotReady);
  all.counts.synchronizes += 1;
  return answer(all.enter(Call::kSynchronize, asked.device));
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  World& all = world();
  const World::Lock lock(all.mutex);
  CUstream_st& waiting = all.stream(stream);
  const std::shared_ptr<CUevent_st> mark = all.event(event);
  if (flags != 0) return answer(cudaErrorInvalidValue);
  if (const cudaError_t status = all.enter_any(waiting.device)) return answer(status);
  // The latest mark there is now; one that comes later does not matter, and without one there is
  // nothing to wait for.
  Queued queued;
  queued.operation.what = "a wait for an event";
  queued.operation.ready = [mark, ticket = mark->recorded] { return mark->reached(ticket); };
  queued.behind = mark->recorded_in;
  all.push(waiting, std::move(queued));
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (const cudaError_t status = all.enter(Call::kCreate, current_device())) return answer(status);
  const auto made = std::make_shared<CUevent_st>();
  made->device = current_device();
  made->timed = (flags & cudaEventDisableTiming) == 0;
  all.events[made.get()] = made;
  *event = made.get();
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  World& all = world();
  const World::Lock lock(all.mutex);
  all.event(event);
  all.events.erase(event);
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  World& all = world();
  const World::Lock lock(all.mutex);
  CUstream_st& marked = all.stream(stream);
  const std::shared_ptr<CUevent_st> mark = all.event(event);
  if (mark->device != marked.device) return answer(cudaErrorInvalidResourceHandle);
  if (const cudaError_t status = all.enter_any(marked.device)) return answer(status);
  mark->recorded_in = stream;
  mark->ahead.insert(++mark->recorded);
  Queued queued;
  queued.operation.what = "a mark";
  queued.even_if_failed = true;
  queued.operation.run = [&all, mark, ticket = mark->recorded] {
    const World::Lock lock(all.mutex);
    mark->ahead.erase(ticket);
    mark->reached_at_ms = now_ms();
  };
  all.push(marked, std::move(queued));
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  World& all = world();
  World::Lock lock(all.mutex);
  const std::shared_ptr<CUevent_st> mark = all.event(event);
  if (const cudaError_t status = all.enter_any(mark->device)) return answer(status);
  all.run_some(lock);
  if (const cudaError_t status = all.enter_any(mark->device)) return answer(status);
  return answer(mark->reached(mark->recorded) ? cudaSuccess : cudaErrorNotReady);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  World& all = world();
  World::Lock lock(all.mutex);
  const std::shared_ptr<CUevent_st> mark = all.event(event);
  if (const cudaError_t status = all.enter(Call::kSynchronize, mark->device)) {
    return answer(status);
  }
  all.counts.synchronizes += 1;
  all.run_until(lock, mark->recorded_in,
                [mark, ticket = mark->recorded] { return mark->reached(ticket); });
  return answer(all.enter_any(mark->device));
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  World& all = world();
  const World::Lock lock(all.mutex);
  const auto from = all.event(start);
  const auto to = all.event(end);
  if (!from->timed || !to->timed || from->recorded == 0 || to->recorded == 0) {
    return answer(cudaErrorInvalidResourceHandle);
  }
  if (!from->reached(from->recorded) || !to->reached(to->recorded)) {
    return answer(cudaErrorNotReady);
  }
  *ms = static_cast<float>(to->reached_at_ms - from->reached_at_ms);
  return cudaSuccess;
}

}  // extern "C"
