// The memory of one device: host memory that can be touched only while the device works.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

namespace fake_cuda {

/// Prints and aborts: what it says is a bug of the code under test.
[[noreturn]] void violation(const char* format, ...) __attribute__((format(printf, 1, 2)));

/// Fills with what nobody takes for data.
bool is_filled(const void* memory, std::size_t size, unsigned char byte);
void fill_garbage(void* memory, std::size_t size, unsigned char byte);
inline constexpr unsigned char kFresh = 0xc5;  // allocated, never written
inline constexpr unsigned char kFreed = 0xdb;
inline constexpr unsigned char kBeyond = 0xa7;  // after the end of an allocation

class Arena {
 public:
  explicit Arena(std::uint64_t size_bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// While anybody has it open, every thread may touch it.
  void open();
  void close();

  /// Null: full. The content is kFresh after make_live.
  void* allocate(std::size_t size);
  void make_live(void* memory);
  /// From here on only what is queued already may use it.
  void announce_free(void* memory);
  /// Looks whether somebody wrote beyond its end, and forgets the content. Returns whether that was
  /// all zeros.
  bool free(void* memory);

  bool contains(const void* memory) const;
  /// Whether the range lies in one allocation whose free was not announced.
  bool is_allocated(const void* memory, std::size_t size);
  std::size_t allocations();
  std::uint64_t used_bytes();

 private:
  struct Block {
    std::uint64_t begin = 0;  // of its pages
    std::uint64_t pages_bytes = 0;
    std::size_t size = 0;
    bool ending = false;
  };
  Block& find(const void* memory, const char* what);
  void check_edges(unsigned char* memory, const Block& block) const;

  std::mutex mutex_;
  unsigned char* base_ = nullptr;
  std::uint64_t size_bytes_ = 0;
  std::uint64_t high_ = 0;  // pages beyond were never used
  int open_count_ = 0;
  std::uint64_t used_bytes_ = 0;
  std::map<unsigned char*, Block> blocks_;        // by the address given out
  std::map<std::uint64_t, std::uint64_t> holes_;  // begin -> bytes, below high_
};

class OpenArena {
 public:
  explicit OpenArena(Arena& arena) : arena_(arena) { arena_.open(); }
  ~OpenArena() { arena_.close(); }
  OpenArena(const OpenArena&) = delete;
  OpenArena& operator=(const OpenArena&) = delete;

 private:
  Arena& arena_;
};

}  // namespace fake_cuda
