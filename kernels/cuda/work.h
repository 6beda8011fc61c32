// What the operations of one CUDA backend share: its memory, its streams, and the first failure,
// after which nothing is started any more.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/key_ring.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/memory_pool.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/work_limits.h"

namespace beaverpond::cuda {

/// One thread at a time.
class Work {
 public:
  Work(MemoryPool pool, DeviceProperties properties, const WorkLimits& limits)
      : pool_(std::move(pool)), properties_(std::move(properties)), limits_(limits) {}

  MemoryPool& pool() { return pool_; }
  int device() const { return pool_.device(); }
  const DeviceProperties& properties() const { return properties_; }
  const WorkLimits& limits() const { return limits_; }
  /// How each operation begins: on the backend's device, whichever the thread used last.
  cudaStream_t enter(StreamRef stream) {
    note(use_device(device()));
    return pool_.stream_of(stream);
  }

  bool ok() const { return !failure_.has_value(); }
  /// Keeps the first failure.
  void note(Result<void> result) {
    if (!result.ok() && ok()) failure_ = std::move(result).error();
  }
  void note(cudaError_t status, const char* what) {
    if (status != cudaSuccess) note(check(status, std::string("cannot ") + what));
  }
  /// Waits until all is done that `stream` was given, but not for ever. A failure is noted.
  void await_blocking(cudaStream_t stream) { note(pool_.await_blocking(stream)); }
  /// The first failure, which is then forgotten; but a device that is lost stays so.
  Result<void> take_failure() {
    if (ok()) return {};
    if (pool_.lost()) return *failure_;
    Error error = std::move(*failure_);
    failure_.reset();
    return error;
  }

  /// Waits until all is done that `stream` was given: nothing of its keys is left in host memory.
  void synchronize_blocking(cudaStream_t stream) {
    const Result<void> done = pool_.await_blocking(stream);
    for (StreamKeys& keys : keys_) {
      if (keys.stream != stream) continue;
      keys.ring.wipe_copied();
      if (!done.ok()) keys.ring.forget();
    }
    note(done);
  }
  /// Nothing is left of the keys of `stream`: neither of the seeds that they were made of nor, once
  /// the stream has come so far, on the device.
  void forget_keys(cudaStream_t stream) {
    for (StreamKeys& keys : keys_) {
      if (keys.stream != stream) continue;
      keys.ring.forget();
      if (!pool_.lost()) note(keys.ring.wipe_device());
    }
  }
  /// The key of a stream that kernels on `stream` are to expand, in device memory. Null after a
  /// failure.
  const std::uint8_t* key(const Seed& seed, PrgKind prg, cudaStream_t stream) {
    if (!ok()) return nullptr;
    auto mine = std::find_if(keys_.begin(), keys_.end(),
                             [&](const StreamKeys& keys) { return keys.stream == stream; });
    if (mine == keys_.end()) {
      Result<KeyRing> made = KeyRing::create(pool_, stream);
      if (!made.ok()) {
        note(Result<void>(std::move(made).error()));
        return nullptr;
      }
      keys_.push_back({stream, std::move(made).value()});
      mine = keys_.end() - 1;
    }
    Result<const std::uint8_t*> placed = mine->ring.place(pool_, seed, prg);
    if (placed.ok()) return placed.value();
    note(Result<void>(std::move(placed).error()));
    return nullptr;
  }

  /// Starts a kernel, unless something failed before. `what` completes "cannot ...".
  template <class... Params, class... Args>
  void run(const char* what, void (*kernel)(Params...), const LaunchShape& shape,
           cudaStream_t stream, Args&&... args) {
    if (!ok()) return;
    note(launch(kernel, shape, stream, std::forward<Args>(args)...), what);
    if (++launches_ % kLaunchesAMark == 0) mark_blocking(stream);
  }
  void copy(void* to, const void* from, std::uint64_t size_bytes, cudaMemcpyKind kind,
            cudaStream_t stream) {
    if (size_bytes == 0) return;
    if (kind != cudaMemcpyDeviceToDevice) {
      before_copy_blocking(kind == cudaMemcpyHostToDevice ? from : to, size_bytes, stream);
    }
    if (ok()) {
      note(cudaMemcpyAsync(to, from, size_bytes, kind, stream), "copy memory");
    }
  }
  /// Before a copy from or to host memory: CUDA may let those from and to memory that is not
  /// page-locked wait for the stream, without a limit.
  void before_copy_blocking(const void* host, std::uint64_t size_bytes, cudaStream_t stream) {
    if (ok() && !is_pinned(host, size_bytes)) await_blocking(stream);
  }
  void zero(void* to, std::uint64_t size_bytes, cudaStream_t stream) {
    if (ok() && size_bytes > 0) note(cudaMemsetAsync(to, 0, size_bytes, stream), "clear memory");
  }

  /// Memory for the operation now at work on `stream`, 256-byte aligned and of undefined content;
  /// the next call for the stream takes it back. Grows to the most ever asked for, then stays. Null
  /// after a failure.
  std::uint8_t* scratch(std::uint64_t size_bytes, cudaStream_t stream) {
    if (!ok()) return nullptr;
    Scratch& mine = scratch_of(stream);
    if (mine.memory.bytes().size() < size_bytes) {
      mine.memory = Buffer();  // first, so that both need not fit
      Result<Buffer> grown = pool_.allocate_scratch(ByteCount{size_bytes}, stream);
      if (!grown.ok()) {
        note(Result<void>(std::move(grown).error()));
        return nullptr;
      }
      mine.memory = std::move(grown).value();
    }
    return mine.memory.bytes().data();
  }

 private:
  struct Scratch {
    cudaStream_t stream = nullptr;
    Buffer memory;
  };
  Scratch& scratch_of(cudaStream_t stream) {
    for (Scratch& scratch : scratch_) {
      if (scratch.stream == stream) return scratch;
    }
    scratch_.push_back({stream, Buffer()});
    return scratch_.back();
  }

  MemoryPool pool_;
  DeviceProperties properties_;
  WorkLimits limits_;
  /// A device takes about 1024 launches, and then lets the next one wait, without a limit. So at
  /// every 256th there is a mark, and the mark before that one must have been reached.
  static constexpr std::uint64_t kLaunchesAMark = 256;
  void mark_blocking(cudaStream_t stream) {
    std::optional<Event>& before = marks_[launches_ / kLaunchesAMark % 2];
    if (before.has_value()) note(pool_.await_blocking(*before));
    if (!ok()) return;
    if (!before.has_value()) {
      Result<Event> made = Event::create();
      if (!made.ok()) return note(Result<void>(std::move(made).error()));
      before = std::move(made).value();
    }
    note(before->record(stream));
  }

  struct StreamKeys {
    cudaStream_t stream = nullptr;
    KeyRing ring;
  };
  std::vector<Scratch> scratch_;
  std::vector<StreamKeys> keys_;
  std::optional<Error> failure_;
  std::uint64_t launches_ = 0;
  std::array<std::optional<Event>, 2> marks_;
};

/// Cuts a piece of memory into aligned parts: first all sizes, then the addresses.
class Carving {
 public:
  std::uint64_t add(std::uint64_t size_bytes) {
    const std::uint64_t at = size_;
    size_ += (size_bytes + 255) / 256 * 256;
    return at;
  }
  std::uint64_t size_bytes() const { return size_; }

 private:
  std::uint64_t size_ = 0;
};

/// Blocks of `per_block` that cover `count`.
inline unsigned blocks_for(std::uint64_t count, std::uint64_t per_block) {
  return static_cast<unsigned>((count + per_block - 1) / per_block);
}

}  // namespace beaverpond::cuda
