#include "online/transport/local.h"

#include <algorithm>
#include <string>
#include <utility>

#include "online/transport/mesh.h"

namespace beaverpond {

namespace {

/// What all players share. Inboxes live until the last player is gone, so that a message to a
/// player that has left needs no lock against its end.
struct Hub {
  std::vector<std::unique_ptr<Inbox>> inboxes;
};

class LocalMesh final : public Mesh {
 public:
  LocalMesh(std::shared_ptr<Hub> hub, int rank) : hub_(std::move(hub)), rank_(rank) {}
  ~LocalMesh() override {
    std::string reason;
    if (const std::optional<Error> error = inbox().failure()) reason = error->message;
    for_others([&](Inbox& other) { other.close_peer(rank_, reason); });
  }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(hub_->inboxes.size()); }
  std::string name() const override { return "local"; }
  Inbox& inbox() override { return *hub_->inboxes[static_cast<std::size_t>(rank_)]; }

  void post(const std::shared_ptr<Outgoing>& message) override {
    Inbox& to = *hub_->inboxes[static_cast<std::size_t>(message->to())];
    MessageBuffer payload = to.buffers().take(message->size_bytes());
    message->read(0, message->size_bytes(), [&](std::span<const std::uint8_t> bytes) {
      std::copy(bytes.begin(), bytes.end(), payload.bytes().begin());
    });
    message->release(message->size_bytes());
    to.deliver(rank_, message->tag(), std::move(payload));
  }

  void tell_lost(const Error& error) override {
    for_others([&](Inbox& other) { other.fail(error); });
  }

  void abandon() {
    Error error = make_error(ErrorCode::kPeerLost,
                             "player " + std::to_string(rank_) + " abandoned the computation");
    error.player = rank_;
    inbox().fail(error);
    for_others([&](Inbox& other) { other.fail(error); });
  }

 private:
  template <class Function>
  void for_others(Function function) {
    for (int player = 0; player < size(); ++player) {
      if (player != rank_) function(*hub_->inboxes[static_cast<std::size_t>(player)]);
    }
  }

  std::shared_ptr<Hub> hub_;
  const int rank_;
};

}  // namespace

std::vector<std::unique_ptr<Transport>> make_local_transports(int players) {
  BP_CHECK(players >= 1, "a communicator has at least one player");
  auto hub = std::make_shared<Hub>();
  std::vector<std::unique_ptr<Transport>> transports;
  for (int player = 0; player < players; ++player) {
    hub->inboxes.push_back(std::make_unique<Inbox>(players));
  }
  for (int player = 0; player < players; ++player) {
    transports.push_back(std::make_unique<MeshTransport>(std::make_unique<LocalMesh>(hub, player)));
  }
  return transports;
}

void abandon(Transport& transport) {
  auto* mesh_transport = dynamic_cast<MeshTransport*>(&transport);
  BP_CHECK(mesh_transport != nullptr, "abandon() is for local transports");
  auto* mesh = dynamic_cast<LocalMesh*>(&mesh_transport->mesh());
  BP_CHECK(mesh != nullptr, "abandon() is for local transports");
  mesh->abandon();
}

}  // namespace beaverpond
