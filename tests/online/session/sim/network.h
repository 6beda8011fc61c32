// Connections of one session in a simulation.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "online/transport/transport.h"
#include "tests/online/session/sim/fibers.h"

namespace beaverpond::testing {

/// Messages between the players of one session. A cut link delivers nothing, and nobody is told.
class SimNetwork {
 public:
  SimNetwork(Fibers& fibers, int size);

  /// The end of `rank`. `alive` is asked before every message: it may crash the player, and then
  /// nothing is sent any more.
  std::unique_ptr<Transport> connect(int rank, std::function<bool()> alive);

  /// From now on nothing that `from` sends reaches `to`.
  void cut(int from, int to);
  /// The process of `rank` has ended: what it sent still arrives, unless the machine lost power
  /// with it, when some of it may be lost.
  void close(int rank, bool may_lose_messages);

 private:
  friend class SimTransport;
  struct Message {
    Tag tag;
    std::vector<std::uint8_t> bytes;
  };
  struct Link {
    std::vector<Message> messages;
    bool cut = false;
    bool closed = false;
  };
  Link& link(int from, int to) { return links_[static_cast<std::size_t>(from * size_ + to)]; }

  Fibers& fibers_;
  int size_;
  std::vector<Link> links_;
};

}  // namespace beaverpond::testing
