// What a test may ask of the stand-in: which devices there are, in which order work runs, what
// fails and when, and what was counted. None of it exists in the product.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace fake_cuda {

struct Settings {
  int devices = 1;
  bool driver = true;                    ///< false: every call answers 35
  std::uint64_t memory_bytes = 1 << 30;  ///< of each device
  bool memory_pools = true;
  int major = 8;
  int minor = 0;
  int multiprocessors = 2;
  std::size_t shared_bytes = 166912;  ///< per block, as on sm_80
  std::uint64_t seed = 1;             ///< of the order in which streams run, and of kernels
  int kernel_workers = 1;             ///< system threads that run one kernel's blocks
};

/// Starts over with other devices. Whatever the last ones held is gone: no call may be under way,
/// and nothing of theirs may be used again.
void reset(const Settings& settings);

enum class Call : std::uint8_t {
  kAllocate,      ///< device memory
  kAllocateHost,  ///< page-locked memory
  kCreate,        ///< a stream, an event, a memory pool
  kLaunch,        ///< a kernel, or a product of the matrix library
  kCopy,          ///< copies and fills
  kSynchronize,   ///< whatever waits, and a question to a stream whether all is done that finds it
                  ///< so; as CUDA's do, such a failure stops the device
};
inline constexpr int kAnyDevice = -1;
/// The `nth` such call from now on (1: the next), of those on `device`, returns `error` and does
/// nothing else.
void fail_call(Call call, int nth, cudaError_t error, int device = kAnyDevice);
/// The `nth` kernel that runs from now on, of those on `device`, stops its device: it, and all that
/// follows there, does nothing, and every later call on that device returns `error`.
void fail_kernel(int nth, cudaError_t error, int device = kAnyDevice);
/// The `nth` kernel that runs from now on, of those on `device`, does not end: neither does
/// anything else of its device. A call that would wait for it ends the test, since it would wait
/// for ever.
void hang_kernel(int nth, int device = kAnyDevice);
/// Devices whose kernel does not end go on: with that kernel.
void let_go();
/// The device stops now.
void stop_device(int device, cudaError_t error);
/// Plans of failure that did not come true yet.
int failures_left();

/// Counted since reset().
struct Counts {
  std::uint64_t kernels = 0;
  std::uint64_t products = 0;  ///< of the matrix library
  std::uint64_t synchronizes = 0;
  std::uint64_t allocations = 0;  ///< on devices
  std::uint64_t bytes_to_device = 0;
  std::uint64_t bytes_to_host = 0;
  std::uint64_t unwiped_frees = 0;  ///< of memory, on devices that work or page-locked, not all 0
};
Counts counts();

/// What is there now.
struct Live {
  std::size_t streams = 0;
  std::size_t events = 0;
  std::size_t pools = 0;
  std::size_t host_allocations = 0;
  std::size_t device_allocations = 0;  ///< freed in stream order, but not yet: still there
  std::uint64_t device_bytes = 0;
  std::size_t queued = 0;  ///< operations that did not run yet
};
Live live();

/// A copy of device memory, for tests to look at. Waits for nothing.
void peek(const void* device_memory, void* to, std::size_t size);

}  // namespace fake_cuda
