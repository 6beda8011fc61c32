// How every block of a lane's own files begins: whose it is.
#pragma once

#include "offline/pool/block.h"
#include "offline/pool/identity.h"
#include "offline/pool/layout.h"

namespace beaverpond {

/// Bytes 0..79 of the tables "Ledger" and "Ratchet" in README.md; what follows is the file's own.
inline constexpr std::size_t kLaneFieldsSize = 80;

/// A block of zeros behind those fields. `magic` has 8 bytes.
inline Block lane_block(const char* magic, std::uint64_t version, const PoolIdentity& pool,
                        const LaneKey& lane) {
  static_assert(24 + sizeof(PoolId) == 40 && 48 + sizeof(lane.plan) == kLaneFieldsSize);
  Block block{};
  store_bytes(block, 0, {reinterpret_cast<const std::uint8_t*>(magic), 8});
  store_le(block, 8, version, 2);
  store_le(block, 12, static_cast<std::uint64_t>(pool.player), 4);
  store_le(block, 16, static_cast<std::uint64_t>(pool.players), 4);
  store_le(block, 20, lane.lane, 4);
  store_bytes(block, 24, pool.pool_id);
  store_le(block, 40, pool.epoch, 8);
  store_bytes(block, 48, lane.plan);
  return block;
}

}  // namespace beaverpond
