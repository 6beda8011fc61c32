// Memory of a device in the order of its streams, the streams themselves, and host memory that
// devices copy from and to. The only place that allocates either.
#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "beaverpond/result.h"
#include "beaverpond/stream.h"
#include "beaverpond/units.h"
#include "kernels/backend.h"
#include "kernels/cuda/runtime.h"

namespace beaverpond::cuda {

class PoolState;

/// A stream of its own, which waits for no other. Owns; made by MemoryPool::make_stream.
class Stream {
 public:
  Stream(Stream&& other) noexcept { swap(other); }
  Stream& operator=(Stream&& other) noexcept {
    swap(other);
    return *this;
  }
  /// Returns at once: what the stream was given still runs, and its buffers wait for it.
  ~Stream();

  cudaStream_t get() const { return stream_; }
  StreamRef ref() const { return StreamRef{stream_}; }
  /// MemoryPool::await_blocking of it.
  Result<void> synchronize_blocking() const;

 private:
  friend class MemoryPool;
  Stream(std::shared_ptr<PoolState> pool, cudaStream_t stream)
      : pool_(std::move(pool)), stream_(stream) {}
  void swap(Stream& other) {
    std::swap(pool_, other.pool_);
    std::swap(stream_, other.stream_);
  }
  std::shared_ptr<PoolState> pool_;
  cudaStream_t stream_ = nullptr;
};

/// The memory of one device. No call waits for the device where it has memory pools; where it has
/// none, freeing does. Any thread. Buffers and streams may outlive the pool.
///
/// A device that does not end what it was given is lost: a kernel of it may be at work for ever.
/// Its memory, its streams and all page-locked memory of the process then stay where they are until
/// the process ends, so that nothing it may still touch is given to anybody else; and it is not
/// called again, since such calls may wait for it. Page-locked memory is wiped all the same.
class MemoryPool {
 public:
  /// `keep`: free memory that stays with the pool instead of going back to the device. Errors:
  /// kConfig (no such device), kDeviceFailed, kOutOfMemory.
  static Result<MemoryPool> create(int device, ByteCount keep,
                                   std::chrono::milliseconds patience = kDevicePatience);

  int device() const;
  /// The stream of those who need only one.
  cudaStream_t home() const;
  /// The stream that `stream` views; kHostStream is home().
  cudaStream_t stream_of(StreamRef stream) const {
    return stream.handle == nullptr ? home() : static_cast<cudaStream_t>(stream.handle);
  }
  /// One more stream of the device. Errors: kDeviceFailed, kOutOfMemory.
  Result<Stream> make_stream();

  /// A zeroed buffer for every stream of the pool, 256-byte aligned, wiped when freed: that comes
  /// after all that any stream was given before. So it ties the streams together, and is not for
  /// the middle of a pipeline. Errors: kOutOfMemory, kDeviceFailed.
  Result<Buffer> allocate(ByteCount size);
  /// A buffer of undefined content for `stream` alone, wiped and freed in its order: what it was
  /// given before may still use it. Errors: kOutOfMemory, kDeviceFailed.
  Result<Buffer> allocate_scratch(ByteCount size, cudaStream_t stream);
  /// Waits until all is done that `stream` was given, as long as the pool has patience; beyond, the
  /// device is lost. Errors: kDeviceFailed, also of kernels that ran before.
  Result<void> await_blocking(cudaStream_t stream);
  /// The same for a mark in a stream.
  Result<void> await_blocking(const Event& mark);
  /// Whether a wait was in vain. Then every call above fails.
  bool lost() const;

  /// Gives back to the device what is free beyond `keep`. Errors: kDeviceFailed.
  Result<void> trim(ByteCount keep);

  struct Usage {
    ByteCount used;  ///< in buffers
    ByteCount peak;  ///< the most there was in buffers
    std::size_t buffers = 0;
  };
  Usage usage() const;

 private:
  explicit MemoryPool(std::shared_ptr<PoolState> state) : state_(std::move(state)) {}
  std::shared_ptr<PoolState> state_;
};

/// Page-locked host memory, which every device copies from and to without the CPU: zeroed, 64-byte
/// aligned, wiped when freed. No copy of it may be under way then. Errors: kOutOfMemory,
/// kDeviceFailed.
Result<Buffer> allocate_pinned(ByteCount size);
/// Whether all of [memory, memory + size_bytes) is memory of allocate_pinned().
bool is_pinned(const void* memory, std::uint64_t size_bytes);

}  // namespace beaverpond::cuda
