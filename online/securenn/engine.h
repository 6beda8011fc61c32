// SecureNN as an engine: the same Programs, bundles and states as online/protocol's, among two
// players with shares and an assistant.
#pragma once

#include <memory>

#include "online/protocol/engine.h"

namespace beaverpond {

/// As Engine::create(), for a plan of Protocol::kSecurenn or kSecurennFused. Players 0 and 1 hold
/// shares; player 2 may own inputs and receive what is revealed, and its shares of states are
/// zeros. Operations run one after another, truncations that are ready together. Players may
/// compute on different devices. Errors: kConfig (not three players, or a transport between GPUs on
/// a player without one), and those of Engine::create().
Result<std::unique_ptr<Engine>> create_securenn_engine(const Program& program, const Plan& plan,
                                                       Backend& backend, Transport& transport,
                                                       PairKeys keys, const EngineOptions& options);

}  // namespace beaverpond
