#include "online/player/connection.h"

#include <charconv>

namespace beaverpond {
namespace {

using std::chrono::milliseconds;

Result<TlsPlayer> tls_player(const RosterPlayer& player, const std::string* address) {
  TlsPlayer out{player.name, player.host, player.port, player.certificate};
  if (address == nullptr) return out;
  const std::size_t colon = address->rfind(':');
  unsigned port = 0;
  const char* end = address->data() + address->size();
  if (colon == std::string::npos ||
      std::from_chars(address->data() + colon + 1, end, port).ptr != end || port == 0 ||
      port > 65535) {
    return make_error(ErrorCode::kConfig, "--peers: '" + *address + "' is not host:port");
  }
  out.host = address->substr(0, colon);
  out.port = static_cast<std::uint16_t>(port);
  return out;
}

}  // namespace

Result<TlsOptions> player_tls_options(const Home& home, const Roster& roster, int rank,
                                      const std::vector<std::string>& peers,
                                      const NetworkConfig& network) {
  TlsOptions tls;
  tls.rank = rank;
  if (!peers.empty() && peers.size() != roster.players.size()) {
    return make_error(ErrorCode::kConfig, "--peers names " + std::to_string(peers.size()) +
                                              " addresses, the roster has " +
                                              std::to_string(roster.players.size()) +
                                              " players; give one host:port for each, by rank");
  }
  for (std::size_t i = 0; i < roster.players.size(); ++i) {
    BP_ASSIGN(TlsPlayer player, tls_player(roster.players[i], peers.empty() ? nullptr : &peers[i]));
    tls.players.push_back(std::move(player));
  }
  tls.roster_hash = roster_hash(roster);
  tls.key_path = home.key_path();
  tls.certificate_path = home.certificate_path();
  tls.connect_timeout = milliseconds(network.connect_timeout_ms);
  tls.heartbeat_interval = milliseconds(network.heartbeat_ms);
  tls.peer_timeout = milliseconds(network.peer_timeout_ms);
  tls.reconnect = milliseconds(network.reconnect_ms);
  return tls;
}

}  // namespace beaverpond
