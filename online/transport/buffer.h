// Bytes of messages: uninitialised, move-only, and used again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace beaverpond {

/// The bytes of one message. Move-only; never zeroed, since every byte is received into.
class MessageBuffer {
 public:
  MessageBuffer() = default;
  explicit MessageBuffer(std::size_t size)
      : data_(std::make_unique_for_overwrite<std::uint8_t[]>(size)), size_(size), capacity_(size) {}

  std::span<std::uint8_t> bytes() { return {data_.get(), size_}; }
  std::span<const std::uint8_t> bytes() const { return {data_.get(), size_}; }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return capacity_; }
  void shrink_to(std::size_t size) { size_ = size; }

 private:
  std::unique_ptr<std::uint8_t[]> data_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

/// Keeps a few large buffers, because fresh megabytes cost a page fault for every 4 KiB. Thread
/// safe.
class BufferPool {
 public:
  MessageBuffer take(std::size_t size) {
    {
      const std::scoped_lock lock(mutex_);
      for (MessageBuffer& kept : kept_) {
        // A much larger one stays for the large message that it came from.
        if (kept.capacity() >= size && kept.capacity() / 2 <= size) {
          MessageBuffer buffer = std::exchange(kept, MessageBuffer());
          buffer.shrink_to(size);
          return buffer;
        }
      }
    }
    return MessageBuffer(size);
  }

  void give(MessageBuffer buffer) {
    if (buffer.capacity() < kSmallest) return;
    const std::scoped_lock lock(mutex_);
    std::swap(kept_[next_], buffer);
    next_ = (next_ + 1) % kept_.size();
  }

 private:
  static constexpr std::size_t kSmallest = std::size_t{64} << 10;
  static constexpr std::size_t kKept = 16;

  std::mutex mutex_;
  std::vector<MessageBuffer> kept_ = std::vector<MessageBuffer>(kKept);
  std::size_t next_ = 0;
};

}  // namespace beaverpond
