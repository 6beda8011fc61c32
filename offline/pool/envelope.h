// The key block of a segment: its file key, sealed for the way or for the stay.
//
// On the way the key is sealed to the player's public key, so that the factory needs no secret of
// the player's. The engine moves it under the ratchet of the lane when it first sees the file.
#pragma once

#include <optional>
#include <string>

#include "offline/pool/cipher.h"
#include "offline/pool/pool_key.h"
#include "offline/pool/random.h"
#include "offline/pool/ratchet.h"
#include "offline/pool/segment_header.h"

namespace beaverpond {

/// Disks write a sector whole or not at all; each envelope has one of its own.
inline constexpr std::size_t kSectorSize = 512;
inline constexpr std::uint64_t kTransportOffset = kBlockSize;           ///< in the file
inline constexpr std::uint64_t kRestOffset = kBlockSize + kSectorSize;  ///< in the file

using Sector = std::array<std::uint8_t, kSectorSize>;

struct TransportEnvelope {
  PublicKey ephemeral{};
  WrappedKey key;
};

struct RestEnvelope {
  std::uint64_t ratchet_number = 0;
  WrappedKey key;
};

/// At least one is there; both are while an import is under way.
struct KeyBlock {
  std::optional<TransportEnvelope> transport;
  std::optional<RestEnvelope> rest;
};

/// Errors: kPoolCorrupt for any byte that neither writer leaves.
Result<KeyBlock> decode_key_block(const Block& block, const std::string& file);

/// Public: tells whether a key is the file's. Makes up for AES-GCM, which does not commit to a key.
Hash256 key_commitment(const SecretKey& file_key, const Hash256& salt);

/// Of `header`, all but root and signature must be set. Errors: kConfig (no valid key), kIo.
Result<Block> seal_for_transport(const SecretKey& file_key, const SegmentHeader& header,
                                 const PublicKey& recipient, const EntropySource& entropy);
Sector seal_at_rest(const SecretKey& file_key, const SegmentHeader& header, std::uint64_t number,
                    const SecretKey& ratchet_key);

/// Errors: kRosterMismatch (sealed to another key), kPoolCorrupt.
Result<SecretKey> open_transport(const TransportEnvelope& envelope, const SegmentHeader& header,
                                 const PoolKey& key, const std::string& file);
/// Errors: kPoolCorrupt, also for a file that was spent before.
Result<SecretKey> open_at_rest(const RestEnvelope& envelope, const SegmentHeader& header,
                               const LaneRatchet& ratchet, const std::string& file);

}  // namespace beaverpond
