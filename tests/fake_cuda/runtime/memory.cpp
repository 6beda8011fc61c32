// Memory, copies and fills.
#include <cstdlib>
#include <cstring>

#include "runtime/world.h"

using namespace fake_cuda;

namespace {

struct Rows {
  std::size_t width = 0;
  std::size_t height = 1;
  std::size_t to_pitch = 0;
  std::size_t from_pitch = 0;
};

std::size_t span_of(const Rows& rows, std::size_t pitch) {
  return rows.height == 0 ? 0 : (rows.height - 1) * pitch + rows.width;
}

void copy_rows(void* to, const void* from, const Rows& rows) {
  for (std::size_t i = 0; i < rows.height; ++i) {
    std::memmove(static_cast<char*>(to) + i * rows.to_pitch,
                 static_cast<const char*>(from) + i * rows.from_pitch, rows.width);
  }
}

void require_allocated(Device& device, const void* memory, std::size_t size, const char* what) {
  if (!device.arena.is_allocated(memory, size)) {
    violation("%s: %zu bytes at %p are not in one allocation", what, size, memory);
  }
}

void require_unused(World& all, const void* memory, std::size_t size) {
  const auto* const begin = static_cast<const char*>(memory);
  for (const auto& stream : all.streams) {
    if (all.device(stream->device).failed) continue;  // none of it will run
    for (const Queued& queued : stream->queue) {
      const auto* const used = static_cast<const char*>(queued.host);
      if (used != nullptr && used < begin + size && begin < used + queued.host_size) {
        violation("page-locked memory is freed while %s is queued", queued.operation.what.c_str());
      }
    }
  }
}

bool agrees(cudaMemcpyKind kind, bool to_device, bool from_device) {
  switch (kind) {
    case cudaMemcpyHostToHost: return !to_device && !from_device;
    case cudaMemcpyHostToDevice: return to_device && !from_device;
    case cudaMemcpyDeviceToHost: return !to_device && from_device;
    case cudaMemcpyDeviceToDevice: return to_device && from_device;
    case cudaMemcpyDefault: return true;
  }
  return false;
}

/// As CUDA's guide says of cudaMemcpyAsync: page-locked memory is read and written when the copy's
/// turn comes; pageable memory is read before the call returns, or written before it returns.
cudaError_t copy_async(void* to, const void* from, const Rows& rows, cudaMemcpyKind kind,
                       cudaStream_t handle) {
  World& all = world();
  World::Lock lock(all.mutex);
  CUstream_st& stream = all.stream(handle);
  const int device = stream.device;
  if (const cudaError_t status = all.enter(Call::kCopy, device)) return answer(status);
  if (rows.width == 0 || rows.height == 0) return cudaSuccess;
  Device* const to_device = all.owner(to);
  Device* const from_device = all.owner(from);
  if (!agrees(kind, to_device != nullptr, from_device != nullptr)) {
    violation("a copy in the direction %d, which its addresses do not have", kind);
  }
  const std::size_t to_size = span_of(rows, rows.to_pitch);
  const std::size_t from_size = span_of(rows, rows.from_pitch);
  if (to_device != nullptr) require_allocated(*to_device, to, to_size, "a copy's target");
  if (from_device != nullptr) require_allocated(*from_device, from, from_size, "a copy's source");
  Queued queued;
  queued.operation.what = "a copy";
  queued.operation.run = [to, from, rows] { copy_rows(to, from, rows); };
  if (to_device != nullptr && from_device == nullptr) {
    all.counts.bytes_to_device += rows.width * rows.height;
    if (all.is_pinned(from, from_size)) {
      queued.host = from;
      queued.host_size = from_size;
    } else {
      const auto staged = std::make_shared<std::vector<char>>(from_size);
      std::memcpy(staged->data(), from, from_size);
      queued.operation.run = [to, staged, rows] { copy_rows(to, staged->data(), rows); };
    }
  } else if (to_device == nullptr && from_device != nullptr) {
    all.counts.bytes_to_host += rows.width * rows.height;
    if (all.is_pinned(to, to_size)) {
      queued.host = to;
      queued.host_size = to_size;
      // Whoever looks too early shall not find what an earlier copy left.
      for (std::size_t i = 0; i < rows.height; ++i) {
        fill_garbage(static_cast<char*>(to) + i * rows.to_pitch, rows.width, kFresh);
      }
    } else {
      all.push(stream, std::move(queued));
      const std::uint64_t given = stream.given;
      all.run_until(lock, handle, [&stream, given] { return stream.done >= given; });
      return answer(all.enter_any(device));
    }
  } else if (to_device == nullptr) {
    violation("an asynchronous copy between host memories");
  }
  all.push(stream, std::move(queued));
  return cudaSuccess;
}

/// What both ways of allocating do; the memory's pages may wait for frees that are queued.
cudaError_t take(World& all, World::Lock& lock, int index, void** memory, std::size_t size) {
  if (const cudaError_t status = all.enter(Call::kAllocate, index)) return status;
  if (size == 0) {
    *memory = nullptr;
    return cudaSuccess;
  }
  Arena& arena = all.device(index).arena;
  void* taken = arena.allocate(size);
  if (taken == nullptr) {
    all.run_all(lock, index);
    taken = arena.allocate(size);
  }
  if (taken == nullptr) return cudaErrorMemoryAllocation;
  all.counts.allocations += 1;
  *memory = taken;
  return cudaSuccess;
}

cudaError_t allocate_async(void** memory, std::size_t size, cudaStream_t handle) {
  World& all = world();
  World::Lock lock(all.mutex);
  CUstream_st& stream = all.stream(handle);
  if (!all.settings.memory_pools) return answer(cudaErrorNotSupported);
  if (const cudaError_t status = take(all, lock, stream.device, memory, size)) {
    return answer(status);
  }
  if (*memory == nullptr) return cudaSuccess;
  Queued queued;
  queued.operation.what = "an allocation";
  queued.even_if_failed = true;
  queued.operation.run = [&arena = all.device(stream.device).arena, taken = *memory] {
    arena.make_live(taken);
  };
  all.push(stream, std::move(queued));
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  World& all = world();
  const World::Lock lock(all.mutex);
  const int device = properties->location.id;
  if (properties->allocType != cudaMemAllocationTypePinned ||
      properties->location.type != cudaMemLocationTypeDevice || device < 0 ||
      device >= all.settings.devices) {
    return answer(cudaErrorInvalidValue);
  }
  if (!all.settings.memory_pools) return answer(cudaErrorNotSupported);
  if (const cudaError_t status = all.enter(Call::kCreate, device)) return answer(status);
  *pool = new CUmemPoolHandle_st{device};
  all.pools.insert(*pool);
  return cudaSuccess;
}

cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (all.pools.erase(pool) == 0) violation("a call names a memory pool that is not there");
  delete pool;
  return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (!all.pools.contains(pool)) violation("a call names a memory pool that is not there");
  if (attribute != cudaMemPoolAttrReleaseThreshold || value == nullptr) {
    return answer(cudaErrorInvalidValue);
  }
  return answer(all.enter_any(pool->device));
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, std::size_t) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (!all.pools.contains(pool)) violation("a call names a memory pool that is not there");
  return answer(all.enter_any(pool->device));
}

cudaError_t cudaMallocAsync(void** memory, std::size_t size, cudaStream_t stream) {
  return allocate_async(memory, size, stream);
}

cudaError_t cudaMallocFromPoolAsync(void** memory, std::size_t size, cudaMemPool_t pool,
                                    cudaStream_t stream) {
  {
    World& all = world();
    const World::Lock lock(all.mutex);
    if (!all.pools.contains(pool)) violation("a call names a memory pool that is not there");
    if (pool->device != all.stream(stream).device) return answer(cudaErrorInvalidValue);
  }
  return allocate_async(memory, size, stream);
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (memory == nullptr) return cudaSuccess;
  CUstream_st& last = all.stream(stream);
  all.device(last.device).arena.announce_free(memory);
  Queued queued;
  queued.operation.what = "a free";
  queued.even_if_failed = true;
  queued.operation.run = [&all, &device = all.device(last.device), memory] {
    const bool wiped = device.arena.free(memory);
    const World::Lock relock(all.mutex);
    if (!wiped && !device.failed) all.counts.unwiped_frees += 1;
  };
  all.push(last, std::move(queued));
  return answer(all.enter_any(last.device));
}

cudaError_t cudaMalloc(void** memory, std::size_t size) {
  World& all = world();
  World::Lock lock(all.mutex);
  const int device = current_device();
  if (const cudaError_t status = take(all, lock, device, memory, size)) return answer(status);
  if (*memory != nullptr) all.device(device).arena.make_live(*memory);
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  World& all = world();
  World::Lock lock(all.mutex);
  if (memory == nullptr) return cudaSuccess;
  Device* const owner = all.owner(memory);
  if (owner == nullptr) violation("cudaFree of %p, which is no device memory", memory);
  for (int i = 0; i < all.settings.devices; ++i) {
    if (&all.device(i) == owner) all.run_all(lock, i);
  }
  owner->arena.announce_free(memory);
  if (!owner->arena.free(memory) && !owner->failed) all.counts.unwiped_frees += 1;
  return answer(owner->failed.value_or(cudaSuccess));
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (const cudaError_t status = all.enter_any(current_device())) return answer(status);
  *attributes = cudaPointerAttributes{};
  if (all.is_pinned(memory, 1)) attributes->type = cudaMemoryTypeHost;
  for (int i = 0; i < all.settings.devices; ++i) {
    if (&all.device(i) == all.owner(memory)) *attributes = {cudaMemoryTypeDevice, i};
  }
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** memory, std::size_t size, unsigned flags) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (flags > cudaHostAllocPortable) return answer(cudaErrorInvalidValue);
  if (const cudaError_t status = all.enter(Call::kAllocateHost, current_device())) {
    return answer(status);
  }
  if (posix_memalign(memory, 4096, size) != 0) return answer(cudaErrorMemoryAllocation);
  fill_garbage(*memory, size, kFresh);
  all.pinned[*memory] = size;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (memory == nullptr) return cudaSuccess;
  const auto found = all.pinned.find(memory);
  if (found == all.pinned.end()) violation("cudaFreeHost of %p, which is not its", memory);
  require_unused(all, memory, found->second);
  if (!is_filled(memory, found->second, 0)) all.counts.unwiped_frees += 1;
  fill_garbage(memory, found->second, kFreed);
  all.pinned.erase(found);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t size, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return copy_async(to, from, Rows{size, 1, size, size}, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width, std::size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) return answer(cudaErrorInvalidValue);
  return copy_async(to, from, Rows{width, height, to_pitch, from_pitch}, kind, stream);
}

cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, std::size_t size,
                                cudaStream_t stream) {
  return copy_async(to, from, Rows{size, 1, size, size}, cudaMemcpyDeviceToDevice, stream);
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t size, cudaMemcpyKind kind) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (const cudaError_t status = all.enter(Call::kCopy, current_device())) return answer(status);
  Device* const to_device = all.owner(to);
  Device* const from_device = all.owner(from);
  if (!agrees(kind, to_device != nullptr, from_device != nullptr)) {
    violation("a copy in the direction %d, which its addresses do not have", kind);
  }
  if (to_device != nullptr) require_allocated(*to_device, to, size, "a copy's target");
  if (from_device != nullptr) require_allocated(*from_device, from, size, "a copy's source");
  // At once: the streams of the module do not wait for the legacy stream, nor it for them.
  if (to_device != nullptr) to_device->arena.open();
  if (from_device != nullptr) from_device->arena.open();
  std::memmove(to, from, size);
  if (to_device != nullptr) to_device->arena.close();
  if (from_device != nullptr) from_device->arena.close();
  return cudaSuccess;
}

cudaError_t cudaMemset(void* memory, int value, std::size_t size) {
  World& all = world();
  const World::Lock lock(all.mutex);
  if (const cudaError_t status = all.enter(Call::kCopy, current_device())) return answer(status);
  Device* const owner = all.owner(memory);
  if (owner == nullptr) violation("a fill of %p, which is no device memory", memory);
  require_allocated(*owner, memory, size, "a fill");
  const OpenArena opened(owner->arena);
  std::memset(memory, value, size);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t size, cudaStream_t stream) {
  World& all = world();
  const World::Lock lock(all.mutex);
  CUstream_st& filled = all.stream(stream);
  if (const cudaError_t status = all.enter(Call::kCopy, filled.device)) return answer(status);
  if (size == 0) return cudaSuccess;
  Device* const owner = all.owner(memory);
  if (owner == nullptr) violation("a fill of %p, which is no device memory", memory);
  require_allocated(*owner, memory, size, "a fill");
  Queued queued;
  queued.operation.what = "a fill";
  queued.operation.run = [memory, value, size] { std::memset(memory, value, size); };
  all.push(filled, std::move(queued));
  return cudaSuccess;
}

}  // extern "C"
