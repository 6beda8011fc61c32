#include "tests/online/session/sim/network.h"

namespace beaverpond::testing {
namespace {

Error lost(int player, ErrorCode code) {
  Error error = make_error(code, "player " + std::to_string(player) + " is not heard any more");
  error.player = player;
  return error;
}

}  // namespace

class SimTransport final : public Transport {
 public:
  SimTransport(SimNetwork& network, int rank, std::function<bool()> alive)
      : network_(network), rank_(rank), alive_(std::move(alive)) {}

  int rank() const override { return rank_; }
  int size() const override { return network_.size_; }
  std::string name() const override { return "simulated"; }
  TransportStats stats() const override { return {}; }

  Operation start_all_reduce(std::span<std::uint64_t>, ReduceOp, const Tag&, StreamRef) override {
    return none();
  }
  Operation start_all_gather(std::span<const std::uint8_t>, std::span<std::uint8_t>, const Tag&,
                             StreamRef) override {
    return none();
  }
  Operation start_broadcast(int, std::span<std::uint8_t>, const Tag&, StreamRef) override {
    return none();
  }
  Operation start_send(int, std::span<const std::uint8_t>, const Tag&, StreamRef) override {
    return none();
  }
  Operation start_recv(int, std::span<std::uint8_t>, const Tag&, StreamRef) override {
    return none();
  }

  Result<std::vector<std::vector<std::uint8_t>>> all_gather_messages_blocking(
      std::span<const std::uint8_t> mine, const Tag& tag, Deadline) override {
    std::vector<std::vector<std::uint8_t>> all(static_cast<std::size_t>(size()));
    all[static_cast<std::size_t>(rank_)].assign(mine.begin(), mine.end());
    for (int peer = 0; peer < size(); ++peer) {
      if (peer == rank_) continue;
      if (!alive_()) return lost(rank_, ErrorCode::kIo);
      network_.link(rank_, peer).messages.push_back({tag, all[static_cast<std::size_t>(rank_)]});
    }
    const std::size_t round = round_++;
    for (int peer = 0; peer < size(); ++peer) {
      if (peer == rank_) continue;
      if (!alive_()) return lost(rank_, ErrorCode::kIo);
      SimNetwork::Link& link = network_.link(peer, rank_);
      const bool came = network_.fibers_.wait(
          [&link, round] { return link.closed || (!link.cut && link.messages.size() > round); });
      if (!came) return lost(peer, ErrorCode::kTimeout);
      if (link.cut || link.messages.size() <= round) return lost(peer, ErrorCode::kPeerLost);
      if (link.messages[round].tag != tag) return lost(peer, ErrorCode::kProtocolMismatch);
      all[static_cast<std::size_t>(peer)] = link.messages[round].bytes;
    }
    return all;
  }

 private:
  static Operation none() {
    BP_CHECK(false, "the simulated network carries messages only");
    return Operation(nullptr);
  }

  SimNetwork& network_;
  int rank_;
  std::function<bool()> alive_;
  std::size_t round_ = 0;
};

SimNetwork::SimNetwork(Fibers& fibers, int size)
    : fibers_(fibers), size_(size), links_(static_cast<std::size_t>(size * size)) {}

std::unique_ptr<Transport> SimNetwork::connect(int rank, std::function<bool()> alive) {
  return std::make_unique<SimTransport>(*this, rank, std::move(alive));
}

void SimNetwork::cut(int from, int to) {
  link(from, to).cut = true;
}

void SimNetwork::close(int rank, bool may_lose_messages) {
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank) continue;
    Link& out = link(rank, peer);
    out.closed = true;
    if (!may_lose_messages || out.messages.empty()) continue;
    // In order: a stream loses its end. What the peer has read already it has read.
    out.messages.resize(out.messages.size() - fibers_.random() % 2);
  }
}

}  // namespace beaverpond::testing
