// How libraries on top of the runtime's stand-in (cuBLASLt's, NCCL's) put their work in a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <string>

namespace fake_cuda {

struct Operation {
  std::string what;  ///< for messages
  /// Whether it can run; null: always. Asked often, by any thread, under the stand-in's lock: it
  /// must not call the stand-in.
  std::function<bool()> ready;
  /// Runs once, on some thread that waits, with all device memory accessible. Must not call the
  /// stand-in's functions of streams, events and memory.
  std::function<void()> run;
};

/// Puts `operation` at the end of `stream`, never waits. Errors: the stream's device has failed.
cudaError_t enqueue(cudaStream_t stream, Operation operation);
/// Tells those who wait that some ready() may answer otherwise now.
void notify();
/// The device of a stream.
int device_of(cudaStream_t stream);
/// Aborts unless all of the range lies in device memory that is allocated.
void check_device_range(const void* memory, std::size_t size, const char* what);

}  // namespace fake_cuda
