// Collectives over point-to-point messages: every player sends to every other, so that a reduction
// costs one round; large reductions among three or more take two, and fewer bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "online/transport/inbox.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// All players, pairwise connected. What arrives is delivered to the inbox.
class Mesh {
 public:
  virtual ~Mesh() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string name() const = 0;
  virtual Inbox& inbox() = 0;
  /// Queues a message; never blocks. Wakes the inbox when the message is consumed. Thread safe.
  virtual void post(const std::shared_ptr<Outgoing>& message) = 0;
  /// Tells the other players that `error.player` is lost, unless all know. Never blocks.
  virtual void tell_lost(const Error& error) = 0;
};

/// The Transport over a Mesh. start_* posts what is to be sent at once, to all players; wait()
/// receives and computes, but for large reductions (scatter.h). When wait() fails, the buffers of a
/// reduction are as they were and those of the others unspecified. After any error but kTimeout
/// every later operation fails too. At most kMaxPayloadBytes (1 GiB) per message. Outlives its
/// Operations.
class MeshTransport final : public Transport {
 public:
  explicit MeshTransport(std::unique_ptr<Mesh> mesh) : mesh_(std::move(mesh)) {}

  int rank() const override { return mesh_->rank(); }
  int size() const override { return mesh_->size(); }
  std::string name() const override { return mesh_->name(); }
  TransportStats stats() const override { return mesh_->inbox().stats(); }
  std::optional<Error> obstacle(int peer) override { return mesh_->inbox().obstacle(peer); }
  Mesh& mesh() { return *mesh_; }

  Operation start_all_reduce(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                             StreamRef stream) override;
  Operation start_all_gather(std::span<const std::uint8_t> mine, std::span<std::uint8_t> all,
                             const Tag& tag, StreamRef stream) override;
  Operation start_broadcast(int root, std::span<std::uint8_t> bytes, const Tag& tag,
                            StreamRef stream) override;
  Operation start_send(int to, std::span<const std::uint8_t> bytes, const Tag& tag,
                       StreamRef stream) override;
  Operation start_recv(int from, std::span<std::uint8_t> bytes, const Tag& tag,
                       StreamRef stream) override;
  Result<std::vector<std::vector<std::uint8_t>>> all_gather_messages_blocking(
      std::span<const std::uint8_t> mine, const Tag& tag, Deadline deadline) override;

 private:
  class Exchange;

  std::unique_ptr<Mesh> mesh_;
};

}  // namespace beaverpond
