// The CUDA runtime in the project's terms: its errors, its devices, its events. Needs no nvcc.
// Streams and memory: kernels/cuda/memory_pool.h.
#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <string>
#include <utility>

#include "beaverpond/result.h"
#include "beaverpond/units.h"

namespace beaverpond::cuda {

/// `status` as an Error: kOutOfMemory, or kDeviceFailed with CUDA's words and what to do. `what`
/// says what was tried ("cannot copy 8 bytes").
Error error_of(cudaError_t status, const std::string& what);
/// Success, or error_of. Also clears CUDA's own note of the failure, so that no later call reports
/// it as its own.
Result<void> check(cudaError_t status, const std::string& what);

/// How long a device may be at what it was given before it counts as one that never ends. What is
/// given at a time takes seconds, at most.
inline constexpr std::chrono::milliseconds kDevicePatience{120'000};

/// Waits until all is done that `stream` was given; false: it was not within `patience`. Errors:
/// kDeviceFailed, also of kernels that ran before.
Result<bool> done_within(cudaStream_t stream, std::chrono::milliseconds patience);

/// GPUs this process may use. Errors: kDeviceFailed (no driver, one too old, or no GPU).
Result<int> device_count();

struct DeviceProperties {
  std::string name;
  int major = 0;  ///< compute capability
  int minor = 0;
  int multiprocessors = 0;
  ByteCount memory;
  bool memory_pools = false;
};
/// Errors: kConfig (no such device), kDeviceFailed.
Result<DeviceProperties> device_properties(int device);

/// Makes `device` the calling thread's, which stays so: CUDA's calls that name neither stream nor
/// device mean the thread's device. It is never put back, since naming a device makes a context on
/// it, and players must not take memory of each other's GPUs. Errors: kDeviceFailed, kOutOfMemory.
Result<void> use_device(int device);

/// A point in a stream that others wait for. Owns; made for the calling thread's device.
class Event {
 public:
  /// Errors: kDeviceFailed, kOutOfMemory.
  static Result<Event> create();
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  ~Event();

  cudaEvent_t get() const { return event_; }
  /// Marks what `stream` was given so far. Errors: kDeviceFailed.
  Result<void> record(cudaStream_t stream) const;
  /// What `stream` is given from now on comes after the mark. Errors: kDeviceFailed.
  Result<void> wait_on(cudaStream_t stream) const;
  /// Whether the mark is reached; never waits. Errors: kDeviceFailed.
  Result<bool> done() const;
  /// Whether it is within `patience`. Errors: kDeviceFailed.
  Result<bool> done_within(std::chrono::milliseconds patience) const;

 private:
  explicit Event(cudaEvent_t event) : event_(event) {}
  cudaEvent_t event_ = nullptr;
};

}  // namespace beaverpond::cuda
