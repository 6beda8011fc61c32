// The messages of one operation over a mesh: those on their way to others, and those expected.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "online/transport/mesh.h"

namespace beaverpond {

/// Numbers count from 0, those sent and those expected apart. Of an operation that fails, let_go()
/// is the end. Errors: those of Inbox::wait() and wait_sent().
class MessageSet {
 public:
  explicit MessageSet(Mesh& mesh) : mesh_(mesh) {}

  /// That `peer` is another player, and a message of so many bytes not too large.
  void check(int peer, std::uint64_t size_bytes) const;
  /// A taker gets the message under its number, and receive() gives none.
  void expect(int from, const Tag& tag, std::optional<std::uint64_t> size_bytes,
              std::shared_ptr<Inbox::Taker> taker = nullptr);
  /// At most kMaxPayloadBytes, which stay the caller's until they were waited for or let go.
  void send(int to, const Tag& tag, std::span<const std::uint8_t> payload);

  std::size_t expected() const { return expected_.size(); }
  int sender(std::size_t number) const { return expected_[number]->from; }
  Result<MessageBuffer> receive(std::size_t number, Deadline deadline) {
    return mesh_.inbox().wait(expected_[number], deadline);
  }
  Result<void> wait_all_sent(Deadline deadline);

  /// What is not out is copied, what comes is thrown away.
  void let_go();

 private:
  Mesh& mesh_;
  std::vector<Inbox::Ticket> expected_;
  std::vector<std::shared_ptr<Outgoing>> sent_;
};

}  // namespace beaverpond
