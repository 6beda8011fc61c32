// How a player reaches the others: what roster, flags and job say, as the TLS transport takes it.
#pragma once

#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "offline/plan/roster.h"
#include "online/session/identity.h"
#include "online/session/network_config.h"
#include "online/transport/tls.h"

namespace beaverpond {

/// All but the hello and the listening descriptor. `peers`: host:port by rank, empty to use the
/// roster's. Errors: kConfig.
Result<TlsOptions> player_tls_options(const Home& home, const Roster& roster, int rank,
                                      const std::vector<std::string>& peers,
                                      const NetworkConfig& network);

}  // namespace beaverpond
