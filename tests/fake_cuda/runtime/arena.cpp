#include "runtime/arena.h"

#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#define FAKE_CUDA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FAKE_CUDA_ASAN 1
#endif
#endif
#ifdef FAKE_CUDA_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace fake_cuda {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kAlign = 256;  // as CUDA's

// Under AddressSanitizer every access beyond an allocation, or after its end, is reported where it
// happens; without it, when the allocation ends or its place is used again.
void forbid([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t size) {
#ifdef FAKE_CUDA_ASAN
  ASAN_POISON_MEMORY_REGION(memory, size);
#endif
}
void allow([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t size) {
#ifdef FAKE_CUDA_ASAN
  ASAN_UNPOISON_MEMORY_REGION(memory, size);
#endif
}

}  // namespace

void violation(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  std::fputs("fake_cuda: ", stderr);
  std::vfprintf(stderr, format, arguments);
  std::fputs("\n", stderr);
  va_end(arguments);
  std::fflush(stderr);
  std::abort();
}

bool is_filled(const void* memory, std::size_t size, unsigned char byte) {
  const auto* const at = static_cast<const unsigned char*>(memory);
  return size == 0 || (at[0] == byte && (size == 1 || std::memcmp(at, at + 1, size - 1) == 0));
}

void fill_garbage(void* memory, std::size_t size, unsigned char byte) {
  std::memset(memory, byte, size);
}

Arena::Arena(std::uint64_t size_bytes) : size_bytes_((size_bytes + kPage - 1) / kPage * kPage) {
  void* const memory =
      mmap(nullptr, size_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) violation("no address space for a device");
  base_ = static_cast<unsigned char*>(memory);
}

Arena::~Arena() {
  allow(base_, high_);
  munmap(base_, size_bytes_);
}

void Arena::open() {
  const std::lock_guard lock(mutex_);
  if (open_count_++ == 0 && high_ != 0) mprotect(base_, high_, PROT_READ | PROT_WRITE);
}

void Arena::close() {
  const std::lock_guard lock(mutex_);
  if (--open_count_ == 0 && high_ != 0) mprotect(base_, high_, PROT_NONE);
}

void* Arena::allocate(std::size_t size) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t bytes = (size + kAlign - 1) / kAlign * kAlign;
  const std::uint64_t pages = (bytes + kPage - 1) / kPage * kPage;
  std::uint64_t begin = high_;
  auto hole = holes_.begin();
  while (hole != holes_.end() && hole->second < pages) ++hole;
  if (hole != holes_.end()) {
    begin = hole->first;
    if (hole->second > pages) holes_[begin + pages] = hole->second - pages;
    holes_.erase(begin);
  } else {
    if (pages > size_bytes_ - high_) return nullptr;
    if (open_count_ != 0) mprotect(base_ + high_, pages, PROT_READ | PROT_WRITE);
    high_ += pages;
  }
  // At the end of its pages, so that what runs over the end soon runs out of them.
  unsigned char* const memory = base_ + begin + (pages - bytes);
  blocks_[memory] = Block{begin, pages, size};
  used_bytes_ += pages;
  return memory;
}

Arena::Block& Arena::find(const void* memory, const char* what) {
  const auto found = blocks_.find(static_cast<unsigned char*>(const_cast<void*>(memory)));
  if (found == blocks_.end()) violation("%s %p, which is no allocation", what, memory);
  return found->second;
}

void Arena::make_live(void* memory) {
  const OpenArena opened(*this);
  const std::lock_guard lock(mutex_);
  const Block& block = find(memory, "allocates");
  unsigned char* const pages = base_ + block.begin;
  allow(pages, block.pages_bytes);
  auto* const begin = static_cast<unsigned char*>(memory);
  unsigned char* const end = begin + block.size;
  fill_garbage(pages, static_cast<std::size_t>(begin - pages), kBeyond);
  fill_garbage(begin, block.size, kFresh);
  fill_garbage(end, static_cast<std::size_t>(pages + block.pages_bytes - end), kBeyond);
  forbid(pages, static_cast<std::size_t>(begin - pages));
  forbid(end, static_cast<std::size_t>(pages + block.pages_bytes - end));
}

void Arena::announce_free(void* memory) {
  const std::lock_guard lock(mutex_);
  Block& block = find(memory, "frees");
  if (block.ending) violation("frees %p twice", memory);
  block.ending = true;
}

void Arena::check_edges(unsigned char* memory, const Block& block) const {
  unsigned char* const pages = base_ + block.begin;
  unsigned char* const end = memory + block.size;
  if (!is_filled(pages, static_cast<std::size_t>(memory - pages), kBeyond)) {
    violation("somebody wrote before the begin of %p", static_cast<void*>(memory));
  }
  if (!is_filled(end, static_cast<std::size_t>(pages + block.pages_bytes - end), kBeyond)) {
    violation("somebody wrote beyond the end of %p, %zu bytes", static_cast<void*>(memory),
              block.size);
  }
}

bool Arena::free(void* memory) {
  const OpenArena opened(*this);
  const std::lock_guard lock(mutex_);
  const Block block = find(memory, "frees");
  unsigned char* const pages = base_ + block.begin;
  allow(pages, block.pages_bytes);
  check_edges(static_cast<unsigned char*>(memory), block);
  const bool wiped = is_filled(memory, block.size, 0);
  fill_garbage(pages, block.pages_bytes, kFreed);
  forbid(pages, block.pages_bytes);
  used_bytes_ -= block.pages_bytes;
  blocks_.erase(static_cast<unsigned char*>(memory));
  auto hole = holes_.emplace(block.begin, block.pages_bytes).first;
  if (const auto next = std::next(hole);
      next != holes_.end() && hole->first + hole->second == next->first) {
    hole->second += next->second;
    holes_.erase(next);
  }
  if (hole != holes_.begin()) {
    const auto before = std::prev(hole);
    if (before->first + before->second == hole->first) {
      before->second += hole->second;
      holes_.erase(hole);
    }
  }
  return wiped;
}

bool Arena::contains(const void* memory) const {
  const auto* const at = static_cast<const unsigned char*>(memory);
  return at >= base_ && at < base_ + size_bytes_;
}

bool Arena::is_allocated(const void* memory, std::size_t size) {
  const std::lock_guard lock(mutex_);
  auto* const at = static_cast<unsigned char*>(const_cast<void*>(memory));
  auto found = blocks_.upper_bound(at);
  if (found == blocks_.begin()) return false;
  --found;
  const std::size_t offset = static_cast<std::size_t>(at - found->first);
  return !found->second.ending && offset <= found->second.size &&
         size <= found->second.size - offset;
}

std::size_t Arena::allocations() {
  const std::lock_guard lock(mutex_);
  return blocks_.size();
}

std::uint64_t Arena::used_bytes() {
  const std::lock_guard lock(mutex_);
  return used_bytes_;
}

}  // namespace fake_cuda
