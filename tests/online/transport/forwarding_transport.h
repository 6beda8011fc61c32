// A transport that hands every call on: what tests that watch or alter some calls derive from.
#pragma once

#include "online/transport/transport.h"

namespace beaverpond::testing {

class ForwardingTransport : public Transport {
 public:
  explicit ForwardingTransport(Transport& inner) : inner_(inner) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::string name() const override { return inner_.name(); }
  MemoryKind memory() const override { return inner_.memory(); }
  TransportStats stats() const override { return inner_.stats(); }
  std::optional<Error> obstacle(int peer) override { return inner_.obstacle(peer); }
  Operation start_all_reduce(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                             StreamRef stream) override {
    return inner_.start_all_reduce(words, op, tag, stream);
  }
  Operation start_all_gather(std::span<const std::uint8_t> mine, std::span<std::uint8_t> all,
                             const Tag& tag, StreamRef stream) override {
    return inner_.start_all_gather(mine, all, tag, stream);
  }
  Operation start_broadcast(int root, std::span<std::uint8_t> bytes, const Tag& tag,
                            StreamRef stream) override {
    return inner_.start_broadcast(root, bytes, tag, stream);
  }
  Operation start_send(int to, std::span<const std::uint8_t> bytes, const Tag& tag,
                       StreamRef stream) override {
    return inner_.start_send(to, bytes, tag, stream);
  }
  Operation start_recv(int from, std::span<std::uint8_t> bytes, const Tag& tag,
                       StreamRef stream) override {
    return inner_.start_recv(from, bytes, tag, stream);
  }
  Result<std::vector<std::vector<std::uint8_t>>> all_gather_messages_blocking(
      std::span<const std::uint8_t> mine, const Tag& tag, Deadline deadline) override {
    return inner_.all_gather_messages_blocking(mine, tag, deadline);
  }

 private:
  Transport& inner_;
};

}  // namespace beaverpond::testing
