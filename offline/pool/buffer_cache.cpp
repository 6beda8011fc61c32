#include "offline/pool/buffer_cache.h"

#include <openssl/crypto.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

namespace beaverpond {
namespace {

Result<BufferCache::Buffer> ordinary_memory(std::size_t size) {
  // A large one in huge pages: a fault for each small page takes longer than wiping it.
  constexpr std::size_t kHugePage = 2 << 20;
  const std::size_t alignment = size < 4 * kHugePage ? BufferCache::kAlignment : kHugePage;
  const std::size_t rounded =
      (std::max<std::size_t>(size, 1) + alignment - 1) / alignment * alignment;
  auto* data = static_cast<std::uint8_t*>(std::aligned_alloc(alignment, rounded));
  if (data == nullptr) {
    return make_error(
        ErrorCode::kOutOfMemory,
        "no memory for a correction of " + std::to_string(size) + " bytes; use a smaller batch");
  }
  if (alignment == kHugePage) (void)::madvise(data, rounded, MADV_HUGEPAGE);
  BufferCache::Buffer buffer;
  buffer.bytes = {data, rounded};
  buffer.owner = std::shared_ptr<const void>(data, [data, rounded](const void*) {
    OPENSSL_cleanse(data, rounded);
    std::free(data);
  });
  return buffer;
}

}  // namespace

/// Whole buffers, as their allocator made them; dropping the owner wipes one.
struct BufferCache::State {
  State(std::size_t limit, Allocator maker) : keep(limit), allocate(std::move(maker)) {}

  Buffer take(std::size_t size) {
    const std::lock_guard<std::mutex> guard(mutex);
    for (std::size_t i = 0; i < unused.size(); ++i) {
      if (unused[i].bytes.size() < size) continue;
      Buffer buffer = std::move(unused[i]);
      unused.erase(unused.begin() + static_cast<std::ptrdiff_t>(i));
      return buffer;
    }
    return {};
  }

  void give_back(Buffer buffer) {
    const std::lock_guard<std::mutex> guard(mutex);
    if (unused.size() < keep) unused.push_back(std::move(buffer));
  }

  const std::size_t keep;
  const Allocator allocate;
  std::mutex mutex;
  std::vector<Buffer> unused;
};

BufferCache::BufferCache(std::size_t keep, Allocator allocate)
    : state_(std::make_shared<State>(keep, allocate ? std::move(allocate) : ordinary_memory)) {}

Result<BufferCache::Buffer> BufferCache::take(std::size_t size) {
  Buffer whole = state_->take(size);
  if (whole.owner == nullptr) {
    BP_ASSIGN(whole, state_->allocate(size));
  }
  Buffer buffer;
  buffer.bytes = whole.bytes.first(size);
  const void* const data = whole.bytes.data();
  buffer.owner = std::shared_ptr<const void>(
      data, [state = state_, whole](const void*) { state->give_back(whole); });
  return buffer;
}

}  // namespace beaverpond
