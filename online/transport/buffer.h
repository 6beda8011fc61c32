// Bytes of messages: uninitialised, move-only, used again, and wiped in the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace beaverpond {

/// Frees an array of bytes, wiped.
struct WipeBytes {
  std::size_t size = 0;
  void operator()(std::uint8_t* data) const {
    explicit_bzero(data, size);
    delete[] data;
  }
};

/// The bytes of one message. Move-only; not zeroed before, since every byte is received into, but
/// wiped when they go: it may have been a key or a share.
class MessageBuffer {
 public:
  MessageBuffer() = default;
  explicit MessageBuffer(std::size_t size)
      : data_(std::make_unique_for_overwrite<std::uint8_t[]>(size).release(), WipeBytes{size}),
        size_(size) {}

  std::span<std::uint8_t> bytes() { return {data_.get(), size_}; }
  std::span<const std::uint8_t> bytes() const { return {data_.get(), size_}; }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return data_.get_deleter().size; }
  void shrink_to(std::size_t size) { size_ = size; }

 private:
  std::unique_ptr<std::uint8_t[], WipeBytes> data_;
  std::size_t size_ = 0;
};

/// Keeps a few large buffers, because fresh megabytes cost a page fault for every 4 KiB. A run
/// whose steps are alike soon allocates no more: as many are kept as were ever on their way at
/// once, up to kKept. Thread safe.
class BufferPool {
 public:
  /// The smallest that is kept and large enough, else a new one.
  MessageBuffer take(std::size_t size) {
    {
      const std::scoped_lock lock(mutex_);
      MessageBuffer* best = nullptr;
      for (MessageBuffer& kept : kept_) {
        const bool fits = size >= kSmallest && kept.capacity() >= size;
        if (fits && (best == nullptr || kept.capacity() < best->capacity())) best = &kept;
      }
      if (best != nullptr) {
        MessageBuffer buffer = std::exchange(*best, MessageBuffer());
        buffer.shrink_to(size);
        return buffer;
      }
    }
    return MessageBuffer(size);
  }

  /// Takes the place of the smallest, if it is larger.
  void give(MessageBuffer buffer) {
    if (buffer.capacity() < kSmallest) return;
    const std::scoped_lock lock(mutex_);
    MessageBuffer* smallest = &kept_[0];
    for (MessageBuffer& kept : kept_) {
      if (kept.capacity() < smallest->capacity()) smallest = &kept;
    }
    if (smallest->capacity() < buffer.capacity()) std::swap(*smallest, buffer);
  }

 private:
  static constexpr std::size_t kSmallest = std::size_t{64} << 10;
  static constexpr std::size_t kKept = 16;

  std::mutex mutex_;
  std::vector<MessageBuffer> kept_ = std::vector<MessageBuffer>(kKept);
};

}  // namespace beaverpond
