#include "kernels/cuda/memory_pool.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/cuda/runtime.h"

namespace beaverpond::cuda {
namespace {

struct Allocation {
  std::shared_ptr<PoolState> pool;
  std::uint64_t size_bytes = 0;
  cudaStream_t stream = nullptr;  // null: every stream of the pool
};

/// A Buffer's deleter gets an address and nothing else: here is what belongs to it.
struct AllocationTable {
  std::mutex mutex;
  std::unordered_map<void*, Allocation> live;
};

AllocationTable& table() {
  // Never destroyed, so that buffers in static storage may be freed after everything else.
  static AllocationTable* const instance = new AllocationTable;
  return *instance;
}

}  // namespace

/// What buffers, streams and the pool share; ends with the last of them.
class PoolState : public std::enable_shared_from_this<PoolState> {
 public:
  PoolState(int device, cudaStream_t home, Event joined, cudaMemPool_t pool,
            std::chrono::milliseconds patience)
      : device_(device),
        home_(home),
        joined_(std::move(joined)),
        pool_(pool),
        patience_(patience) {}
  PoolState(const PoolState&) = delete;
  PoolState& operator=(const PoolState&) = delete;
  ~PoolState() {
    (void)use_device(device_);  // a device that failed does nothing more
    cudaStreamDestroy(home_);
    if (pool_ != nullptr) cudaMemPoolDestroy(pool_);
  }

  int device() const { return device_; }
  cudaStream_t home() const { return home_; }

  Result<cudaStream_t> attach();
  void detach(cudaStream_t stream);
  Result<void*> allocate(std::uint64_t size_bytes, cudaStream_t stream);
  void free(void* memory, const Allocation& allocation);
  Result<void> trim(std::uint64_t keep_bytes);
  template <class Wait>
  Result<void> await(Wait&& wait);
  bool lost() const { return lost_; }
  MemoryPool::Usage usage() {
    const std::lock_guard lock(mutex_);
    return usage_;
  }

 private:
  Error lost_error() const;
  Result<void> wait_all_on_home() {
    for (cudaStream_t other : streams_) {
      BP_TRY(joined_.record(other));
      BP_TRY(joined_.wait_on(home_));
    }
    return {};
  }
  Result<void> wait_home_on_all() {
    if (streams_.empty()) return {};
    BP_TRY(joined_.record(home_));
    for (cudaStream_t other : streams_) BP_TRY(joined_.wait_on(other));
    return {};
  }
  bool attached(cudaStream_t stream) const {
    return std::find(streams_.begin(), streams_.end(), stream) != streams_.end();
  }

  const int device_;
  const cudaStream_t home_;
  const Event joined_;
  const cudaMemPool_t pool_;  // null: the device has none
  const std::chrono::milliseconds patience_;
  std::atomic<bool> lost_ = false;
  std::mutex mutex_;
  std::vector<cudaStream_t> streams_;  // besides home
  MemoryPool::Usage usage_;
};

/// Pools of lost devices, which therefore never end.
struct LostPools {
  std::mutex mutex;
  std::vector<std::shared_ptr<PoolState>> kept;
  std::atomic<bool> any = false;
};
LostPools& lost_pools() {
  static LostPools* const instance = new LostPools;
  return *instance;
}

Error PoolState::lost_error() const {
  return make_error(ErrorCode::kDeviceFailed,
                    "cuda:" + std::to_string(device_) + " did not end its work within " +
                        std::to_string(patience_.count()) +
                        " ms and is given up; start the program again, and if that happens again "
                        "see nvidia-smi and the kernel log, or use --device cpu");
}

template <class Wait>
Result<void> PoolState::await(Wait&& wait) {
  if (lost_) return lost_error();
  BP_TRY(use_device(device_));
  BP_ASSIGN(const bool done, wait(patience_));
  if (done) return {};
  LostPools& all = lost_pools();
  const std::lock_guard lock(all.mutex);
  if (!lost_.exchange(true)) all.kept.push_back(shared_from_this());
  all.any = true;
  return lost_error();
}

Result<cudaStream_t> PoolState::attach() {
  const std::lock_guard lock(mutex_);
  if (lost_) return lost_error();
  BP_TRY(use_device(device_));
  cudaStream_t stream = nullptr;
  BP_TRY(check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cannot make a stream"));
  streams_.push_back(stream);
  // Buffers that exist already were zeroed on home, and what a stream that had this one's address
  // left behind was tied to home too.
  if (Result<void> ordered = wait_home_on_all(); !ordered) {
    streams_.pop_back();
    cudaStreamDestroy(stream);
    return std::move(ordered).error();
  }
  return stream;
}

void PoolState::detach(cudaStream_t stream) {
  const std::lock_guard lock(mutex_);
  if (lost_) return;
  (void)use_device(device_);  // a device that failed does nothing more
  // A device that failed runs nothing that would need an order.
  if (Result<void> marked = joined_.record(stream); marked) (void)joined_.wait_on(home_);
  std::erase(streams_, stream);
  cudaStreamDestroy(stream);
}

Result<void*> PoolState::allocate(std::uint64_t size_bytes, cudaStream_t stream) {
  const std::lock_guard lock(mutex_);
  if (lost_) return lost_error();
  BP_TRY(use_device(device_));
  const cudaStream_t first = stream == nullptr ? home_ : stream;
  void* memory = nullptr;
  const cudaError_t status = pool_ != nullptr
                                 ? cudaMallocFromPoolAsync(&memory, size_bytes, pool_, first)
                                 : cudaMalloc(&memory, size_bytes);
  BP_TRY(check(status, "cannot allocate " + std::to_string(size_bytes) +
                           " bytes on cuda:" + std::to_string(device_)));
  if (stream == nullptr) {
    Result<void> ready =
        check(cudaMemsetAsync(memory, 0, size_bytes, home_), "cannot clear memory");
    if (ready) ready = wait_home_on_all();
    if (!ready) {
      pool_ != nullptr ? cudaFreeAsync(memory, home_) : cudaFree(memory);
      return std::move(ready).error();
    }
  }
  usage_.used.value += size_bytes;
  usage_.peak = std::max(usage_.peak, usage_.used);
  usage_.buffers += 1;
  return memory;
}

void PoolState::free(void* memory, const Allocation& allocation) {
  const std::lock_guard lock(mutex_);
  if (lost_) return;
  (void)use_device(device_);  // a device that failed does nothing more
  cudaStream_t last = home_;
  if (allocation.stream != nullptr && attached(allocation.stream)) {
    last = allocation.stream;
  } else if (allocation.stream == nullptr) {
    (void)wait_all_on_home();
  }
  // Buffers hold shares and masks: nothing of them stays in freed memory. Where this fails the
  // device has failed, and the memory goes with its context.
  (void)check(cudaMemsetAsync(memory, 0, allocation.size_bytes, last), "cannot clear memory");
  if (pool_ != nullptr) {
    (void)check(cudaFreeAsync(memory, last), "cannot free memory");
  } else {
    // cudaFree waits for the device. Where it failed it does nothing.
    (void)await([last](auto patience) { return done_within(last, patience); });
    if (lost_) return;
    (void)check(cudaFree(memory), "cannot free memory");
  }
  usage_.used.value -= allocation.size_bytes;
  usage_.buffers -= 1;
}

Result<void> PoolState::trim(std::uint64_t keep_bytes) {
  if (lost_) return lost_error();
  if (pool_ == nullptr) return {};
  BP_TRY(use_device(device_));
  return check(cudaMemPoolTrimTo(pool_, keep_bytes), "cannot give memory back");
}

namespace {

void release_device(void* memory) {
  Allocation allocation;
  {
    const std::lock_guard lock(table().mutex);
    const auto found = table().live.find(memory);
    BP_CHECK(found != table().live.end(), "freed memory that no pool gave");
    allocation = std::move(found->second);
    // Before CUDA can give the address to somebody else.
    table().live.erase(found);
  }
  allocation.pool->free(memory, allocation);
}

Result<Buffer> allocate_from(const std::shared_ptr<PoolState>& pool, ByteCount size,
                             cudaStream_t stream) {
  if (size.value == 0) return Buffer();
  BP_ASSIGN(void* const memory, pool->allocate(size.value, stream));
  const std::lock_guard lock(table().mutex);
  table().live[memory] = Allocation{pool, size.value, stream};
  return Buffer(memory, size.value, &release_device);
}

/// Before each piece of pinned memory: its deleter, too, gets an address and nothing else.
struct alignas(64) PinnedHeader {
  std::uint64_t size_bytes = 0;
};

/// What lies where, for is_pinned().
struct PinnedTable {
  std::mutex mutex;
  std::map<std::uintptr_t, std::uint64_t> size_at;
};
PinnedTable& pinned_table() {
  static PinnedTable* const instance = new PinnedTable;  // as table()
  return *instance;
}

void release_pinned(void* memory) {
  auto* const header = static_cast<PinnedHeader*>(memory) - 1;
  explicit_bzero(header, sizeof(PinnedHeader) + header->size_bytes);
  {
    const std::lock_guard lock(pinned_table().mutex);
    pinned_table().size_at.erase(reinterpret_cast<std::uintptr_t>(memory));
  }
  // A copy of a lost device may still write here, and to free waits for devices.
  if (lost_pools().any) return;
  (void)check(cudaFreeHost(header), "cannot free pinned memory");
}

}  // namespace

Stream::~Stream() {
  if (pool_ != nullptr) pool_->detach(stream_);
}

Result<void> Stream::synchronize_blocking() const {
  return pool_->await([this](auto patience) { return done_within(stream_, patience); });
}

Result<MemoryPool> MemoryPool::create(int device, ByteCount keep,
                                      std::chrono::milliseconds patience) {
  BP_ASSIGN(const DeviceProperties properties, device_properties(device));
  BP_TRY(use_device(device));
  BP_ASSIGN(Event joined, Event::create());
  cudaStream_t home = nullptr;
  BP_TRY(check(cudaStreamCreateWithFlags(&home, cudaStreamNonBlocking), "cannot make a stream"));
  auto state = [&](cudaMemPool_t pool) {
    return MemoryPool(std::make_shared<PoolState>(device, home, std::move(joined), pool, patience));
  };
  if (!properties.memory_pools) return state(nullptr);
  // A pool of its own: the device's default one is shared with libraries, which must not find our
  // settings in it.
  cudaMemPoolProps props{};
  props.allocType = cudaMemAllocationTypePinned;
  props.location.type = cudaMemLocationTypeDevice;
  props.location.id = device;
  cudaMemPool_t pool = nullptr;
  if (Result<void> made = check(cudaMemPoolCreate(&pool, &props), "cannot make a memory pool");
      !made) {
    cudaStreamDestroy(home);
    return std::move(made).error();
  }
  MemoryPool made = state(pool);
  std::uint64_t threshold = keep.value;
  BP_TRY(check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold),
               "cannot set up a memory pool"));
  return made;
}

int MemoryPool::device() const {
  return state_->device();
}

cudaStream_t MemoryPool::home() const {
  return state_->home();
}

Result<Stream> MemoryPool::make_stream() {
  BP_ASSIGN(const cudaStream_t stream, state_->attach());
  return Stream(state_, stream);
}

Result<Buffer> MemoryPool::allocate(ByteCount size) {
  return allocate_from(state_, size, nullptr);
}

Result<Buffer> MemoryPool::allocate_scratch(ByteCount size, cudaStream_t stream) {
  BP_CHECK(stream != nullptr, "scratch memory belongs to a stream");
  return allocate_from(state_, size, stream);
}

Result<void> MemoryPool::trim(ByteCount keep) {
  return state_->trim(keep.value);
}

Result<void> MemoryPool::await_blocking(cudaStream_t stream) {
  return state_->await([stream](auto patience) { return done_within(stream, patience); });
}

Result<void> MemoryPool::await_blocking(const Event& mark) {
  return state_->await([&mark](auto patience) { return mark.done_within(patience); });
}

bool MemoryPool::lost() const {
  return state_->lost();
}

MemoryPool::Usage MemoryPool::usage() const {
  return state_->usage();
}

Result<Buffer> allocate_pinned(ByteCount size) {
  if (size.value == 0) return Buffer();
  void* memory = nullptr;
  BP_TRY(check(cudaHostAlloc(&memory, sizeof(PinnedHeader) + size.value, cudaHostAllocPortable),
               "cannot allocate " + std::to_string(size.value) + " bytes of page-locked memory"));
  void* const content = new (memory) PinnedHeader{size.value} + 1;
  std::memset(content, 0, size.value);
  {
    const std::lock_guard lock(pinned_table().mutex);
    pinned_table().size_at[reinterpret_cast<std::uintptr_t>(content)] = size.value;
  }
  return Buffer(content, size.value, &release_pinned);
}

bool is_pinned(const void* memory, std::uint64_t size_bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  PinnedTable& all = pinned_table();
  const std::lock_guard lock(all.mutex);
  const auto after = all.size_at.upper_bound(begin);
  if (after == all.size_at.begin()) return false;
  const auto& [at, size] = *std::prev(after);
  return begin + size_bytes <= at + size;
}

}  // namespace beaverpond::cuda
