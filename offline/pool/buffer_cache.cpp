#include "offline/pool/buffer_cache.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

namespace beaverpond {
namespace {

struct Memory {
  std::uint8_t* data = nullptr;
  std::size_t size = 0;
};

void release(Memory memory) {
  OPENSSL_cleanse(memory.data, memory.size);
  std::free(memory.data);
}

}  // namespace

struct BufferCache::State {
  explicit State(std::size_t limit) : keep(limit) {}
  State(const State&) = delete;             // owns the buffers
  State& operator=(const State&) = delete;  // owns the buffers
  ~State() {
    for (const Memory memory : unused) release(memory);
  }

  Memory take(std::size_t size) {
    const std::lock_guard<std::mutex> guard(mutex);
    for (std::size_t i = 0; i < unused.size(); ++i) {
      if (unused[i].size < size) continue;
      const Memory memory = unused[i];
      unused.erase(unused.begin() + static_cast<std::ptrdiff_t>(i));
      return memory;
    }
    return {};
  }

  void give_back(Memory memory) {
    {
      const std::lock_guard<std::mutex> guard(mutex);
      if (unused.size() < keep) {
        unused.push_back(memory);
        return;
      }
    }
    release(memory);
  }

  const std::size_t keep;
  std::mutex mutex;
  std::vector<Memory> unused;
};

BufferCache::BufferCache(std::size_t keep) : state_(std::make_shared<State>(keep)) {}

Result<BufferCache::Buffer> BufferCache::take(std::size_t size) {
  Memory memory = state_->take(size);
  if (memory.data == nullptr) {
    memory.size = (std::max<std::size_t>(size, 1) + kAlignment - 1) / kAlignment * kAlignment;
    memory.data = static_cast<std::uint8_t*>(std::aligned_alloc(kAlignment, memory.size));
    if (memory.data == nullptr) {
      return make_error(
          ErrorCode::kOutOfMemory,
          "no memory for a correction of " + std::to_string(size) + " bytes; use a smaller batch");
    }
  }
  Buffer buffer;
  buffer.bytes = {memory.data, size};
  buffer.owner = std::shared_ptr<const void>(
      memory.data, [state = state_, memory](const void*) { state->give_back(memory); });
  return buffer;
}

}  // namespace beaverpond
