// Which protocol a job's players run.
#pragma once

#include <cstdint>

#include "beaverpond/bundle.h"

namespace beaverpond {

enum class Protocol : std::uint16_t {
  kAdditive = 0,        ///< all players hold shares; comparisons are dealt (online/protocol)
  kSecurenn = 1,        ///< SecureNN: players 0 and 1 hold shares, player 2 assists
  kSecurennFused = 2,   ///< the same with ReLU in three rounds (online/securenn)
};

inline const char* to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::kAdditive: return "additive";
    case Protocol::kSecurenn: return "securenn";
    case Protocol::kSecurennFused: return "securenn-fused";
  }
  return "unknown";
}

inline Scheme scheme_of(Protocol protocol) {
  return protocol == Protocol::kAdditive ? Scheme::kAllPlayers : Scheme::kFirstTwo;
}

}  // namespace beaverpond
