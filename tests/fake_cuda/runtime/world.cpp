// Devices, errors, and what tests ask for.
#include "runtime/world.h"

#include <cstdio>
#include <cstring>

namespace fake_cuda {
namespace {

thread_local int thread_device = 0;
thread_local cudaError_t thread_error = cudaSuccess;

void make_devices(World& all) {
  all.devices.clear();
  for (int i = 0; i < all.settings.devices; ++i) {
    all.devices.push_back(std::make_unique<Device>(all.settings));
  }
}

}  // namespace

World::World() {
  make_devices(*this);
}

World& world() {
  // Never destroyed: buffers in static storage are freed after everything else.
  static World* const instance = new World;
  return *instance;
}

int& current_device() {
  return thread_device;
}

cudaError_t answer(cudaError_t error) {
  if (error != cudaSuccess) thread_error = error;
  return error;
}

Device* World::owner(const void* memory) {
  for (auto& device : devices) {
    if (device->arena.contains(memory)) return device.get();
  }
  return nullptr;
}

bool World::is_pinned(const void* memory, std::size_t size) const {
  const auto* const at = static_cast<const unsigned char*>(memory);
  auto after = pinned.upper_bound(memory);
  if (after == pinned.begin()) return false;
  const auto& [begin, length] = *std::prev(after);
  return at + size <= static_cast<const unsigned char*>(begin) + length;
}

std::shared_ptr<CUevent_st> World::event(cudaEvent_t handle) {
  const auto found = events.find(handle);
  if (found == events.end()) violation("a call names an event that is not there");
  return found->second;
}

cudaError_t World::planned(std::optional<Call> call, int device) {
  cudaError_t error = cudaSuccess;
  std::erase_if(plans, [&](FailurePlan& plan) {
    if (plan.hangs || plan.call != call || (plan.device != kAnyDevice && plan.device != device))
      return false;
    if (--plan.calls_left != 0) return false;
    if (error == cudaSuccess) error = plan.error;
    return true;
  });
  return error;
}

bool World::kernel_is_stopped(int index) {
  for (std::size_t i = 0; i < plans.size(); ++i) {
    FailurePlan& plan = plans[i];
    if (!plan.hangs || (plan.device != kAnyDevice && plan.device != index)) continue;
    if (--plan.calls_left != 0) continue;
    plans.erase(plans.begin() + static_cast<std::ptrdiff_t>(i));
    device(index).hangs = true;
    return true;
  }
  const cudaError_t error = planned(std::nullopt, index);
  if (error != cudaSuccess) fail(index, error);
  return error != cudaSuccess;
}

cudaError_t World::enter_any(int index) {
  if (!settings.driver) return cudaErrorInsufficientDriver;
  if (settings.devices == 0) return cudaErrorNoDevice;
  return device(index).failed.value_or(cudaSuccess);
}

cudaError_t World::enter(Call call, int index) {
  if (const cudaError_t status = enter_any(index)) return status;
  const cudaError_t error = planned(call, index);
  if (error != cudaSuccess && call == Call::kSynchronize) fail(index, error);
  return error;
}

void reset(const Settings& settings) {
  World& all = world();
  const World::Lock lock(all.mutex);
  all.streams.clear();
  all.events.clear();
  for (cudaMemPool_t pool : all.pools) delete pool;
  all.pools.clear();
  for (const auto& [memory, size] : all.pinned) std::free(const_cast<void*>(memory));
  all.pinned.clear();
  all.shared_allowed.clear();
  all.plans.clear();
  all.counts = Counts{};
  all.settings = settings;
  all.random.seed(settings.seed);
  make_devices(all);
  thread_device = 0;
  thread_error = cudaSuccess;
}

void fail_call(Call call, int nth, cudaError_t error, int device) {
  const World::Lock lock(world().mutex);
  world().plans.push_back(FailurePlan{call, nth, error, device});
}

void fail_kernel(int nth, cudaError_t error, int device) {
  const World::Lock lock(world().mutex);
  world().plans.push_back(FailurePlan{std::nullopt, nth, error, device});
}

void hang_kernel(int nth, int device) {
  const World::Lock lock(world().mutex);
  FailurePlan plan;
  plan.calls_left = nth;
  plan.device = device;
  plan.hangs = true;
  world().plans.push_back(plan);
}

void let_go() {
  const World::Lock lock(world().mutex);
  for (auto& device : world().devices) device->hangs = false;
  world().changed.notify_all();
}

void stop_device(int device, cudaError_t error) {
  const World::Lock lock(world().mutex);
  world().fail(device, error);
  world().changed.notify_all();
}

int failures_left() {
  const World::Lock lock(world().mutex);
  return static_cast<int>(world().plans.size());
}

Counts counts() {
  const World::Lock lock(world().mutex);
  return world().counts;
}

Live live() {
  World& all = world();
  const World::Lock lock(all.mutex);
  Live live;
  for (const auto& stream : all.streams) {
    live.streams += stream->destroyed ? 0 : 1;
    live.queued += stream->queue.size();
  }
  live.events = all.events.size();
  live.pools = all.pools.size();
  live.host_allocations = all.pinned.size();
  for (auto& device : all.devices) {
    live.device_allocations += device->arena.allocations();
    live.device_bytes += device->arena.used_bytes();
  }
  return live;
}

void peek(const void* device_memory, void* to, std::size_t size) {
  check_device_range(device_memory, size, "peek");
  Device* const owner = [device_memory] {
    const World::Lock lock(world().mutex);
    return world().owner(device_memory);
  }();
  const OpenArena opened(owner->arena);
  std::memcpy(to, device_memory, size);
}

}  // namespace fake_cuda

using namespace fake_cuda;

extern "C" {

cudaError_t cudaGetLastError() {
  return std::exchange(thread_error, cudaSuccess);
}

cudaError_t cudaPeekAtLastError() {
  return thread_error;
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define FAKE_CUDA_NAME(name) \
  case name: return #name
    FAKE_CUDA_NAME(cudaSuccess);
    FAKE_CUDA_NAME(cudaErrorInvalidValue);
    FAKE_CUDA_NAME(cudaErrorMemoryAllocation);
    FAKE_CUDA_NAME(cudaErrorInvalidConfiguration);
    FAKE_CUDA_NAME(cudaErrorInsufficientDriver);
    FAKE_CUDA_NAME(cudaErrorNoDevice);
    FAKE_CUDA_NAME(cudaErrorInvalidDevice);
    FAKE_CUDA_NAME(cudaErrorNoKernelImageForDevice);
    FAKE_CUDA_NAME(cudaErrorECCUncorrectable);
    FAKE_CUDA_NAME(cudaErrorInvalidResourceHandle);
    FAKE_CUDA_NAME(cudaErrorNotReady);
    FAKE_CUDA_NAME(cudaErrorIllegalAddress);
    FAKE_CUDA_NAME(cudaErrorLaunchOutOfResources);
    FAKE_CUDA_NAME(cudaErrorLaunchTimeout);
    FAKE_CUDA_NAME(cudaErrorLaunchFailure);
    FAKE_CUDA_NAME(cudaErrorNotSupported);
    FAKE_CUDA_NAME(cudaErrorSystemNotReady);
    FAKE_CUDA_NAME(cudaErrorSystemDriverMismatch);
    FAKE_CUDA_NAME(cudaErrorCompatNotSupportedOnDevice);
    FAKE_CUDA_NAME(cudaErrorUnknown);
#undef FAKE_CUDA_NAME
  }
  return "unrecognized error code";
}

// The stand-in's words are the names: what CUDA says is CUDA's.
const char* cudaGetErrorString(cudaError_t error) {
  return cudaGetErrorName(error);
}

cudaError_t cudaGetDeviceCount(int* count) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (!all.settings.driver) return answer(cudaErrorInsufficientDriver);
  if (all.settings.devices == 0) return answer(cudaErrorNoDevice);
  *count = all.settings.devices;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (!all.settings.driver) return answer(cudaErrorInsufficientDriver);
  if (all.settings.devices == 0) return answer(cudaErrorNoDevice);
  *device = thread_device;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (!all.settings.driver) return answer(cudaErrorInsufficientDriver);
  if (device < 0 || device >= all.settings.devices) return answer(cudaErrorInvalidDevice);
  thread_device = device;
  return answer(all.device(device).failed.value_or(cudaSuccess));
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (!all.settings.driver) return answer(cudaErrorInsufficientDriver);
  if (device < 0 || device >= all.settings.devices) return answer(cudaErrorInvalidDevice);
  *properties = cudaDeviceProp{};
  std::snprintf(properties->name, sizeof(properties->name), "stand-in on host memory");
  properties->uuid.bytes[0] = static_cast<char>(device + 1);
  properties->totalGlobalMem = all.settings.memory_bytes;
  properties->major = all.settings.major;
  properties->minor = all.settings.minor;
  properties->multiProcessorCount = all.settings.multiprocessors;
  properties->sharedMemPerBlockOptin = all.settings.shared_bytes;
  properties->l2CacheSize = 1 << 20;
  properties->memoryPoolsSupported = all.settings.memory_pools ? 1 : 0;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  World& all = world();
  World::Lock lock(all.mutex);
  if (const cudaError_t status = all.enter(Call::kSynchronize, thread_device)) {
    return answer(status);
  }
  all.counts.synchronizes += 1;
  all.run_all(lock, thread_device);
  return answer(all.enter_any(thread_device));
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (const cudaError_t status = all.enter_any(thread_device)) return answer(status);
  *total = all.settings.memory_bytes;
  *free = *total - all.device(thread_device).arena.used_bytes();
  return cudaSuccess;
}

}  // extern "C"
