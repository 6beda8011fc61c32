#include "online/transport/tls.h"

#include <unistd.h>

#include <exception>
#include <utility>

#include "online/transport/mesh.h"
#include "online/transport/tls_mesh.h"
#include "online/transport/tls_session.h"

namespace beaverpond {

namespace {

Result<void> check_options(const TlsOptions& options) {
  const auto wrong = [](const std::string& what) {
    return make_error(ErrorCode::kConfig, "TLS options: " + what);
  };
  if (options.players.empty()) return wrong("no players");
  if (options.rank < 0 || static_cast<std::size_t>(options.rank) >= options.players.size()) {
    return wrong("rank " + std::to_string(options.rank) + " is not in the roster of " +
                 std::to_string(options.players.size()) + " players");
  }
  if (options.hello.size() > 60'000) return wrong("the hello is longer than 60 KiB");
  if (options.heartbeat_interval.count() < 2 ||
      options.peer_timeout < 2 * options.heartbeat_interval) {
    return wrong("the peer timeout must be at least twice the heartbeat interval");
  }
  if (options.reconnect.count() < 0 || options.reconnect > std::chrono::hours(24)) {
    return wrong("the time to reconnect must be between 0 and a day");
  }
  return {};
}

}  // namespace

Result<TlsConnected> connect_tls_blocking(const TlsOptions& options) {
  int descriptor = options.listen_descriptor;
  const auto give_up = [&](Error error) {
    if (descriptor >= 0) ::close(descriptor);
    return error;
  };
  if (Result<void> checked = check_options(options); !checked.ok()) {
    return give_up(checked.error());
  }
  auto context = TlsContext::create(options.key_path, options.certificate_path);
  if (!context.ok()) return give_up(context.error());
  const auto rank = static_cast<std::size_t>(options.rank);
  if ((*context)->fingerprint() != options.players[rank].certificate) {
    return give_up(
        make_error(ErrorCode::kRosterMismatch, "the certificate " + options.certificate_path +
                                                   " (" + short_hex((*context)->fingerprint()) +
                                                   ") is not that of player " +
                                                   std::to_string(rank) + " in the roster (" +
                                                   short_hex(options.players[rank].certificate) +
                                                   "); start with this home's rank, or put "
                                                   "its certificate into every roster"));
  }
  const bool dialled_by_others = rank + 1 < options.players.size();
  if (descriptor < 0 && dialled_by_others) {
    BP_ASSIGN(const Listener listener,
              listen_on(options.listen_address, options.players[rank].port));
    descriptor = listener.descriptor;
  } else if (descriptor >= 0 && !dialled_by_others) {
    ::close(std::exchange(descriptor, -1));
  }
  try {
    auto mesh = make_tls_mesh(options, *std::move(context));
    TlsConnected connected;
    BP_ASSIGN(connected.hellos, mesh->connect_blocking(std::exchange(descriptor, -1)));
    connected.transport = std::make_unique<MeshTransport>(std::move(mesh));
    return connected;
  } catch (const std::exception& problem) {
    // Asio throws where the system has no more descriptors or threads.
    return give_up(make_error(ErrorCode::kIo, std::string("cannot start the network: ") +
                                                  problem.what() +
                                                  "; raise the limits of `ulimit -n` and -u"));
  }
}

}  // namespace beaverpond
