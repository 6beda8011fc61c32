#include "online/nn/session_engine.h"

#include <chrono>

#include "online/securenn/engine.h"
#include "online/session/pair_keys.h"

namespace beaverpond {

Result<std::unique_ptr<Engine>> create_session_engine(const NetworkConfig& network,
                                                      const Program& program, const Plan& plan,
                                                      Backend& backend, Transport& transport,
                                                      const Session& session, std::uint32_t lane,
                                                      std::uint64_t epoch, bool profile) {
  const Tag tag{session.id(), 0, lane, kPairKeysOperation};
  const Deadline deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(network.connect_timeout_ms);
  BP_ASSIGN(PairKeys keys, exchange_pair_keys(transport, tag, deadline));
  EngineOptions options;
  options.session = session.id();
  options.lane = lane;
  options.epoch = epoch;
  options.profile = profile;
  options.round_timeout_ms = network.round_timeout_ms;
  if (plan.protocol != Protocol::kAdditive) {
    return create_securenn_engine(program, plan, backend, transport, std::move(keys), options);
  }
  return Engine::create(program, plan, backend, transport, std::move(keys), options);
}

}  // namespace beaverpond
