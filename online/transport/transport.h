// Communicators. The words are MPI's on purpose: rank, size, all_reduce, all_gather, broadcast,
// send, recv.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "beaverpond/stream.h"

namespace beaverpond {

using Deadline = std::chrono::steady_clock::time_point;

enum class ReduceOp : std::uint8_t {
  kSum,  ///< opens an arithmetic sharing: sum over Z mod 2^64
  kXor,  ///< opens a sharing of bits
};

/// Carried by every data frame and checked on arrival: a frame of another session, lane, bundle or
/// operation is kProtocolMismatch, never data.
struct Tag {
  std::uint64_t session = 0;
  std::uint64_t bundle = 0;
  std::uint32_t lane = 0;
  std::uint32_t operation = 0;
  std::uint32_t step = 0;  ///< of a reduction in two, 1 or 2: set by the transport; 0 in all else
  friend bool operator==(const Tag&, const Tag&) = default;
};

/// A started communication. Move-only. The buffers given to start_* stay alive and untouched until
/// wait() returns; dropping an Operation that was not waited for aborts.
class Operation {
 public:
  class Pending {
   public:
    virtual ~Pending() = default;
    virtual Result<void> wait(Deadline deadline) = 0;
  };
  explicit Operation(std::unique_ptr<Pending> pending) : pending_(std::move(pending)) {}
  Operation(Operation&&) = default;
  Operation& operator=(Operation&&) = default;
  ~Operation() { BP_CHECK(pending_ == nullptr, "an Operation was dropped before wait()"); }

  /// Errors: kPeerLost (names the player), kTimeout, kProtocolMismatch, kCancelled. Once.
  Result<void> wait(Deadline deadline) {
    BP_CHECK(pending_ != nullptr, "wait() is called once");
    const std::unique_ptr<Pending> pending = std::move(pending_);
    return pending->wait(deadline);
  }

 private:
  std::unique_ptr<Pending> pending_;
};

struct TransportStats {
  std::uint64_t sent_bytes = 0;  ///< payload and frame headers, all peers
  std::uint64_t received_bytes = 0;
};

/// One player's end of a communicator. Collectives are started in the same order by every player,
/// from one thread per lane, and waited for in any order. Views of collectives are memory of
/// memory()'s kind; those of send and recv are that or host memory; messages are host memory.
class Transport {
 public:
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string name() const = 0;
  /// Where the views of collectives lie.
  virtual MemoryKind memory() const { return MemoryKind::kHost; }
  virtual TransportStats stats() const = 0;
  /// Why nothing more can come from `peer`, where that is known: for those who wait for something
  /// else than a message of this transport. Never blocks. Any thread.
  virtual std::optional<Error> obstacle(int /*peer*/) { return std::nullopt; }

  /// words := the reduction over all players, in place.
  virtual Operation start_all_reduce(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                                     StreamRef stream) = 0;
  /// all := the concatenation of every player's `mine`, by rank; all.size() == size * mine.size().
  virtual Operation start_all_gather(std::span<const std::uint8_t> mine,
                                     std::span<std::uint8_t> all, const Tag& tag,
                                     StreamRef stream) = 0;
  /// On `root` bytes is read, elsewhere written; the same size everywhere.
  virtual Operation start_broadcast(int root, std::span<std::uint8_t> bytes, const Tag& tag,
                                    StreamRef stream) = 0;
  virtual Operation start_send(int to, std::span<const std::uint8_t> bytes, const Tag& tag,
                               StreamRef stream) = 0;
  virtual Operation start_recv(int from, std::span<std::uint8_t> bytes, const Tag& tag,
                               StreamRef stream) = 0;

  /// Messages whose length differs by player; for control, not for bulk. At most 16 MiB each.
  virtual Result<std::vector<std::vector<std::uint8_t>>> all_gather_messages_blocking(
      std::span<const std::uint8_t> mine, const Tag& tag, Deadline deadline) = 0;

  Result<void> all_reduce_blocking(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                                   Deadline deadline) {
    return start_all_reduce(words, op, tag, kHostStream).wait(deadline);
  }
  Result<void> broadcast_blocking(int root, std::span<std::uint8_t> bytes, const Tag& tag,
                                  Deadline deadline) {
    return start_broadcast(root, bytes, tag, kHostStream).wait(deadline);
  }
  Result<void> send_blocking(int to, std::span<const std::uint8_t> bytes, const Tag& tag,
                             Deadline deadline) {
    return start_send(to, bytes, tag, kHostStream).wait(deadline);
  }
  Result<void> recv_blocking(int from, std::span<std::uint8_t> bytes, const Tag& tag,
                             Deadline deadline) {
    return start_recv(from, bytes, tag, kHostStream).wait(deadline);
  }
};

}  // namespace beaverpond
