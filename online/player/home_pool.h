// The pool in a player's home, as its roster says.
#pragma once

#include "offline/plan/roster.h"
#include "offline/pool/pool.h"
#include "offline/pool/roster_identity.h"
#include "online/session/identity.h"

namespace beaverpond {

/// For Pool::open(); `storage` outlives what is opened.
inline PoolOptions home_pool_options(const Home& home, const Roster& roster, int rank,
                                     Storage& storage) {
  PoolOptions options;
  options.directory = home.pool_path();
  options.identity = pool_identity(roster, rank);
  options.storage = &storage;
  options.dealer_key = roster.dealer_key;
  options.pool_key = roster.players[static_cast<std::size_t>(rank)].pool_key;
  options.key_path = home.pool_key_path();
  return options;
}

}  // namespace beaverpond
