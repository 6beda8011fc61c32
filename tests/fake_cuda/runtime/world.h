// Everything the stand-in knows, under one lock: devices, their streams, what is queued in them.
#pragma once

#include <cuda_runtime.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "fake_cuda/control.h"
#include "fake_cuda/queue.h"
#include "runtime/arena.h"

struct CUevent_st {
  int device = 0;
  bool timed = false;
  std::uint64_t recorded = 0;     // times cudaEventRecord was called
  std::set<std::uint64_t> ahead;  // those of them that their streams did not come by yet
  cudaStream_t recorded_in = nullptr;
  double reached_at_ms = 0;
  /// One event may mark several streams in turn: each mark is reached by itself.
  bool reached(std::uint64_t ticket) const { return !ahead.contains(ticket); }
};

namespace fake_cuda {

/// One entry of a stream.
struct Queued {
  Operation operation;
  bool even_if_failed = false;    // marks and frees: others count on them
  cudaStream_t behind = nullptr;  // a wait: the stream that holds the mark
  const void* host = nullptr;     // page-locked memory it uses
  std::size_t host_size = 0;
};

}  // namespace fake_cuda

struct CUstream_st {
  int device = 0;
  std::deque<fake_cuda::Queued> queue;  // the first one stays until it has run
  std::uint64_t given = 0;
  std::uint64_t done = 0;
  bool destroyed = false;  // goes when it is empty
};

struct CUmemPoolHandle_st {
  int device = 0;
};

namespace fake_cuda {

struct Device {
  explicit Device(const Settings& settings) : arena(settings.memory_bytes) {}
  Arena arena;
  bool at_work = false;
  bool hangs = false;  // its first kernel does not end
  std::optional<cudaError_t> failed;
};

struct FailurePlan {
  std::optional<Call> call;  // none: a kernel that runs
  int calls_left = 0;
  cudaError_t error = cudaSuccess;
  int device = kAnyDevice;
  bool hangs = false;  // instead of the error
};

struct World {
  using Lock = std::unique_lock<std::mutex>;

  std::mutex mutex;
  std::condition_variable changed;
  Settings settings;
  std::vector<std::unique_ptr<Device>> devices;
  std::vector<std::unique_ptr<CUstream_st>> streams;  // as they were made
  std::map<cudaEvent_t, std::shared_ptr<CUevent_st>> events;
  std::set<cudaMemPool_t> pools;
  std::map<const void*, std::size_t> pinned;
  std::map<const void*, int> shared_allowed;  // of kernels
  std::vector<FailurePlan> plans;
  Counts counts;
  std::mt19937_64 random{1};

  World();
  CUstream_st* find_stream(cudaStream_t handle);
  CUstream_st& stream(cudaStream_t handle);
  std::shared_ptr<CUevent_st> event(cudaEvent_t handle);
  Device* owner(const void* memory);  // null: host memory
  Device& device(int index) { return *devices[static_cast<std::size_t>(index)]; }
  bool is_pinned(const void* memory, std::size_t size) const;

  /// Whether the call may go on: driver, device, plans of failure.
  cudaError_t enter(Call call, int device);
  cudaError_t enter_any(int device);
  /// The plan that comes true with this call, or with this kernel.
  cudaError_t planned(std::optional<Call> call, int device);
  /// The same for a kernel: true when it is not to run. The device fails, or hangs.
  bool kernel_is_stopped(int device);

  void push(CUstream_st& stream, Queued queued);
  /// Runs what is queued, in some order that streams and events allow, until `done`. `focus`: the
  /// stream awaited, or null.
  void run_until(Lock& lock, cudaStream_t focus, const std::function<bool()>& done);
  /// Runs a few entries of any stream: time passes. With `focus` as run_until.
  void run_some(Lock& lock, cudaStream_t focus = nullptr, std::uint64_t most = 2);
  void run_all(Lock& lock, int device);
  void fail(int device, cudaError_t error) { this->device(device).failed = error; }

 private:
  bool can_run(CUstream_st& stream);
  cudaStream_t pick(cudaStream_t focus);
  void run_first(Lock& lock, CUstream_st& stream);
};

World& world();

/// The calling thread's device.
int& current_device();
/// Keeps the error for cudaGetLastError, and returns it.
cudaError_t answer(cudaError_t error);

}  // namespace fake_cuda
