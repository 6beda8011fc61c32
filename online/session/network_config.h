// How long players wait for each other.
#pragma once

#include <cstdint>

namespace beaverpond {

struct NetworkConfig {
  std::uint32_t connect_timeout_ms = 30000;
  std::uint32_t peer_timeout_ms = 3500;  ///< a loss shows within 5 s, checks included
  std::uint32_t heartbeat_ms = 500;
  std::uint32_t reconnect_ms = 0;  ///< how long a broken connection may come back; 0: not at all
  std::uint32_t pool_timeout_ms = 60000;
  std::uint32_t round_timeout_ms = 30000;  ///< how long a slower player may take for one round
};

}  // namespace beaverpond
