// Writes to files on a thread of its own, while the caller prepares what comes next.
#pragma once

#include <cstdint>
#include <memory>

#include "offline/pool/buffer_cache.h"
#include "offline/pool/storage.h"

namespace beaverpond {

/// Writes in the order in which they were given, one at a time. Nothing is durable before the
/// file's own sync(), which comes after drain_blocking(). One thread besides its own.
class WriteBehind {
 public:
  /// Writes that wait, at most: their memory is in use.
  static constexpr std::size_t kMostWaiting = 3;

  /// Pieces have `piece_bytes`, a multiple of 4096; `keep` of them are kept while unused.
  WriteBehind(std::size_t piece_bytes, std::size_t keep);
  WriteBehind(const WriteBehind&) = delete;             // a thread refers to it
  WriteBehind& operator=(const WriteBehind&) = delete;  // likewise
  /// Waits for the write in hand and forgets those that wait.
  ~WriteBehind();

  std::size_t piece_bytes() const { return piece_bytes_; }
  /// Memory for the next piece, aligned to 4096 bytes. Errors: kOutOfMemory.
  Result<BufferCache::Buffer> take() { return memory_.take(piece_bytes_); }

  /// Orders the first `size` bytes of `piece` to be written; waits while kMostWaiting others do.
  /// The file stays open until then. Errors: of an earlier write; kIo (no thread). After an error
  /// nothing more is written, and every call gives that error.
  Result<void> write_blocking(std::shared_ptr<StorageFile> file, std::uint64_t offset,
                              BufferCache::Buffer piece, std::size_t size);
  /// Waits until all that was ordered is written. Errors: the first of any write.
  Result<void> drain_blocking();

 private:
  struct State;
  std::size_t piece_bytes_;
  BufferCache memory_;
  std::unique_ptr<State> state_;
};

}  // namespace beaverpond
