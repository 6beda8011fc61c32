// Players that are processes, on one host or many: TLS 1.3 between every pair, both sides
// authenticated by certificates pinned in the roster.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "online/transport/transport.h"

namespace beaverpond {

struct TlsPlayer {
  std::string name;  ///< for messages
  std::string host;
  std::uint16_t port = 0;
  std::array<std::uint8_t, 32> certificate{};  ///< SHA-256 of its DER
};

struct TlsOptions {
  int rank = 0;
  std::vector<TlsPlayer> players;  ///< by rank, this one included
  std::array<std::uint8_t, 32> roster_hash{};
  std::string key_path;
  std::string certificate_path;

  /// Where higher ranks dial in; the highest rank needs none. A descriptor that is bound and
  /// listening already (see listen_on) is taken over, whatever the result; without one, the address
  /// here and the port of players[rank] are bound.
  int listen_descriptor = -1;
  std::string listen_address = "0.0.0.0";

  std::chrono::milliseconds connect_timeout{30'000};
  std::chrono::milliseconds heartbeat_interval{500};
  /// A peer from which nothing at all has come for so long is lost. Below 5 s with its checks.
  std::chrono::milliseconds peer_timeout{3'500};
  /// How long a player waits for a new connection when one breaks without a goodbye; between two
  /// players the shorter of theirs counts. The player of the higher rank dials again, and both go
  /// on where they stopped. 0: a break is a loss, at once.
  std::chrono::milliseconds reconnect{0};
  /// A dialling connection that has not proved who it is by then is dropped.
  std::chrono::milliseconds handshake_timeout{10'000};

  /// Up to 60 KiB that every peer gets to see and check before it acknowledges this player: the
  /// hash of the plan, a nonce of the session.
  std::vector<std::uint8_t> hello;
  /// Judges the hello of a peer; its error refuses the peer and reaches both ends with code and
  /// message. Called on the I/O thread. Unset: all are accepted.
  std::function<Result<void>(int player, std::span<const std::uint8_t> hello)> check_hello;
};

struct TlsConnected {
  std::unique_ptr<Transport> transport;
  std::vector<std::vector<std::uint8_t>> hellos;  ///< by rank, this one's included
};

/// Connects to every other player: listens for higher ranks, dials lower ones, again and again
/// until the timeout. One I/O thread, which ends with the transport. Destroying the transport sends
/// what was posted and says goodbye, for at most two seconds; if a connection is broken that may
/// come back, and messages wait for it, ten seconds at most. Errors: kConfig (options, key or
/// certificate; names the file), kIo (the port; names it), kRosterMismatch or what a check_hello
/// gave (names the player, on both sides), kPeerLost, kTimeout (names a player that did not come).
Result<TlsConnected> connect_tls_blocking(const TlsOptions& options);

struct Listener {
  int descriptor = -1;  ///< close-on-exec, owned by the caller
  std::uint16_t port = 0;
};

/// Binds and listens; port 0 lets the system choose. Errors: kConfig (not an address), kIo (in
/// use).
Result<Listener> listen_on(const std::string& address, std::uint16_t port);

}  // namespace beaverpond
