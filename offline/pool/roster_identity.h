// Whose pool it is, as a roster says.
#pragma once

#include "offline/plan/roster.h"
#include "offline/pool/identity.h"

namespace beaverpond {

/// `player` is a rank of the roster.
inline PoolIdentity pool_identity(const Roster& roster, int player) {
  PoolIdentity identity;
  identity.pool_id = roster.pool_id;
  identity.epoch = roster.epoch;
  identity.roster_hash = roster_hash(roster);
  identity.player = player;
  identity.players = static_cast<int>(roster.players.size());
  return identity;
}

}  // namespace beaverpond
