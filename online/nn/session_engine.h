// An engine for one program of a session, with the keys and limits of its players.
#pragma once

#include <cstdint>
#include <memory>

#include "online/protocol/engine.h"
#include "online/session/network_config.h"
#include "online/session/session.h"

namespace beaverpond {

/// Exchanges fresh pair keys and creates the engine of the plan's protocol. A collective. Errors: those of
/// exchange_pair_keys() and Engine::create().
Result<std::unique_ptr<Engine>> create_session_engine(const NetworkConfig& network,
                                                      const Program& program, const Plan& plan,
                                                      Backend& backend, Transport& transport,
                                                      const Session& session, std::uint32_t lane,
                                                      std::uint64_t epoch, bool profile);

}  // namespace beaverpond
