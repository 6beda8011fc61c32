// One lane's communicator and what was started on it.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/cuda/memory_pool.h"
#include "kernels/cuda/runtime.h"
#include "online/transport/nccl/abi.h"
#include "online/transport/nccl/nccl.h"
#include "online/transport/transport.h"

namespace beaverpond::nccl {

/// What the lanes of one transport share. The first failure is that of all.
class Fabric {
 public:
  Fabric(const Api& library, Transport& tls, const NcclOptions& chosen, cuda::MemoryPool memory)
      : api(library), control(tls), options(chosen), pool(std::move(memory)) {}

  const Api& api;
  Transport& control;
  const NcclOptions options;
  cuda::MemoryPool pool;

  std::optional<Error> failure() const;
  /// Keeps the first and returns it.
  Error fail(const Error& error);
  /// Whom the control connection has lost, if anybody.
  std::optional<Error> lost_player() const;
  /// An unhappy status of NCCL as an Error: who was lost, if the control connection says so in
  /// time. `comm` may be null.
  Error error_of_blocking(Status status, Comm comm, const std::string& what) const;

 private:
  mutable std::mutex mutex_;
  std::optional<Error> failure_;
};

/// One call of NCCL.
struct Call {
  enum class Kind : std::uint8_t { kSum, kXor, kGather, kBroadcast, kSend, kReceive };
  Kind kind = Kind::kSum;
  const void* in = nullptr;
  void* out = nullptr;
  std::uint64_t count = 0;  ///< words of a reduction, bytes of the others
  int peer = 0;             ///< or the root
};

/// A call under way.
struct Work {
  Call call;
  std::string what;                    ///< for messages
  std::optional<cuda::Event> before;   ///< what the caller's stream was given
  Buffer parts;                        ///< of an XOR: all players' words
  std::shared_ptr<cuda::Event> ended;  ///< unset until NCCL has put the call on the stream
};

/// A communicator with the stream it works on. Calls are made in the order of start(), each when
/// NCCL has taken the one before. Used by one thread at a time; locks against its own end only.
class Lane {
 public:
  /// All players together; `id` is rank 0's. Errors: as connect_nccl_blocking().
  static Result<std::shared_ptr<Lane>> create_blocking(Fabric& fabric, const UniqueId& id,
                                                       Deadline deadline);
  /// Ends the communicator: in good order, or by force; within the abort timeout.
  ~Lane();
  Lane(const Lane&) = delete;             // owns a communicator
  Lane& operator=(const Lane&) = delete;  // owns a communicator

  Result<std::shared_ptr<Work>> start(const Call& call, std::string what, StreamRef stream);
  /// Errors: as Transport's. After one the communicator is gone.
  Result<void> finish_blocking(const std::shared_ptr<Work>& work, Deadline deadline);

 private:
  class Patience;

  Lane(Fabric& fabric, cuda::Stream stream) : fabric_(fabric), stream_(std::move(stream)) {}

  Result<void> connect_blocking(const UniqueId& id, Deadline deadline);
  Result<void> greet_blocking(Deadline deadline);
  Result<std::shared_ptr<Work>> queue(const Call& call, std::string what, StreamRef stream);
  Result<void> advance(bool awaited);
  Result<void> settle();
  Result<Status> issue();
  Status make(const Work& work);
  bool drain_blocking();
  Error give_up(Error error);

  Fabric& fabric_;
  cuda::Stream stream_;
  Comm comm_ = nullptr;
  std::deque<std::shared_ptr<Work>> queue_;
  std::vector<std::shared_ptr<Work>> issued_;  ///< NCCL has not yet put them on the stream
};

}  // namespace beaverpond::nccl
