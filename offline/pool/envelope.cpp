#include "offline/pool/envelope.h"

#include <algorithm>
#include <cstring>

namespace beaverpond {
namespace {

// The tables of offline/pool/README.md, "Key block".
constexpr char kTransportMagic[9] = "BPENVT01";
constexpr std::size_t kEphemeralAt = 8;
constexpr std::size_t kTransportKeyAt = 40;
constexpr char kRestMagic[9] = "BPENVR01";
constexpr std::size_t kNumberAt = 8;
constexpr std::size_t kRestKeyAt = 16;
constexpr std::size_t kSectorHashAt = kSectorSize - sizeof(Hash256);
static_assert(kEphemeralAt + sizeof(PublicKey) == kTransportKeyAt);
static_assert(kTransportKeyAt + sizeof(WrappedKey) <= kSectorHashAt);

std::span<const std::uint8_t> magic_bytes(const char* magic) {
  return {reinterpret_cast<const std::uint8_t*>(magic), 8};
}

bool all_zero(std::span<const std::uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t b) { return b == 0; });
}

void store_key(std::span<std::uint8_t> sector, std::size_t at, const WrappedKey& key) {
  store_bytes(sector, at, key.bytes);
  store_bytes(sector, at + key.bytes.size(), key.tag);
}

WrappedKey load_key(std::span<const std::uint8_t> sector, std::size_t at) {
  WrappedKey key;
  load_bytes(sector, at, key.bytes);
  load_bytes(sector, at + key.bytes.size(), key.tag);
  return key;
}

void seal_sector(std::span<std::uint8_t> sector) {
  store_bytes(sector, kSectorHashAt, sha256(sector.first(kSectorHashAt)));
}

bool is_envelope(std::span<const std::uint8_t> sector, const char* magic) {
  const Hash256 hash = sha256(sector.first(kSectorHashAt));
  return std::memcmp(sector.data(), magic, 8) == 0 &&
         std::equal(hash.begin(), hash.end(), sector.begin() + kSectorHashAt);
}

constexpr WrapNonce kOnce{};  // each wrapping key below wraps one key only

SecretKey transport_wrap(const SecretKey& shared, const SegmentHeader& header,
                         const PublicKey& ephemeral, const PublicKey& recipient) {
  std::vector<std::uint8_t> parties(ephemeral.begin(), ephemeral.end());
  parties.insert(parties.end(), recipient.begin(), recipient.end());
  return hkdf(shared.bytes(), header.salt, "beaverpond transport v1", parties);
}

SecretKey rest_wrap(const SecretKey& ratchet_key, const SegmentHeader& header) {
  return hkdf(ratchet_key.bytes(), header.salt, "beaverpond segment v1");
}

Error corrupt(const std::string& file, const std::string& what) {
  return make_error(ErrorCode::kPoolCorrupt,
                    "the key block of segment " + file + " " + what +
                        "; run `triple-factory repair`, which burns its bundles");
}

}  // namespace

Result<KeyBlock> decode_key_block(const Block& block, const std::string& file) {
  const auto transport = std::span(block).first(kSectorSize);
  const auto rest = std::span(block).subspan(kSectorSize, kSectorSize);
  KeyBlock keys;
  if (is_envelope(transport, kTransportMagic)) {
    keys.transport.emplace();
    load_bytes(transport, kEphemeralAt, keys.transport->ephemeral);
    keys.transport->key = load_key(transport, kTransportKeyAt);
  } else if (!all_zero(transport)) {
    return corrupt(file, "is damaged (sector 0)");
  }
  if (is_envelope(rest, kRestMagic)) {
    keys.rest.emplace();
    keys.rest->ratchet_number = load_le(rest, kNumberAt, 8);
    keys.rest->key = load_key(rest, kRestKeyAt);
  } else if (!all_zero(rest)) {
    return corrupt(file, "is damaged (sector 1)");
  }
  if (!all_zero(std::span(block).subspan(2 * kSectorSize))) {
    return corrupt(file, "has bytes that nobody writes");
  }
  if (!keys.transport && !keys.rest) return corrupt(file, "is empty");
  return keys;
}

Hash256 key_commitment(const SecretKey& file_key, const Hash256& salt) {
  const SecretKey bytes = hkdf(file_key.bytes(), salt, "beaverpond key commitment v1");
  Hash256 commitment{};
  load_bytes(bytes.bytes(), 0, commitment);
  return commitment;
}

Result<Block> seal_for_transport(const SecretKey& file_key, const SegmentHeader& header,
                                 const PublicKey& recipient, const EntropySource& entropy) {
  SecretKey drawn;
  BP_TRY(entropy(drawn.mutable_bytes()));
  // Mixed with the file key, so that a generator that repeats does not repeat this key.
  const SecretKey ephemeral = hkdf(drawn.bytes(), file_key.bytes(), "beaverpond ephemeral v1");
  TransportEnvelope envelope;
  envelope.ephemeral = x25519_public(ephemeral);
  const auto shared = x25519_agree(ephemeral, recipient);
  if (!shared) {
    return make_error(ErrorCode::kConfig,
                      "the pool_key of player " + std::to_string(header.pool.player) +
                          " in the roster is no X25519 key; copy it from what `beaverpond keygen` "
                          "printed");
  }
  const SecretKey wrap = transport_wrap(*shared, header, envelope.ephemeral, recipient);
  envelope.key = wrap_key(wrap, kOnce, header.context(), file_key);
  Block block{};
  const auto sector = std::span(block).first(kSectorSize);
  store_bytes(sector, 0, magic_bytes(kTransportMagic));
  store_bytes(sector, kEphemeralAt, envelope.ephemeral);
  store_key(sector, kTransportKeyAt, envelope.key);
  seal_sector(sector);
  return block;
}

Sector seal_at_rest(const SecretKey& file_key, const SegmentHeader& header, std::uint64_t number,
                    const SecretKey& ratchet_key) {
  Sector sector{};
  store_bytes(sector, 0, magic_bytes(kRestMagic));
  store_le(sector, kNumberAt, number, 8);
  store_key(sector, kRestKeyAt,
            wrap_key(rest_wrap(ratchet_key, header), kOnce, header.context(), file_key));
  seal_sector(sector);
  return sector;
}

Result<SecretKey> open_transport(const TransportEnvelope& envelope, const SegmentHeader& header,
                                 const PoolKey& key, const std::string& file) {
  const auto shared = x25519_agree(key.agreement_key(), envelope.ephemeral);
  if (shared) {
    const SecretKey wrap = transport_wrap(*shared, header, envelope.ephemeral, key.public_key());
    auto file_key = unwrap_key(wrap, kOnce, header.context(), envelope.key);
    if (file_key && key_commitment(*file_key, header.salt) == header.key_commitment) {
      return std::move(*file_key);
    }
  }
  return make_error(ErrorCode::kRosterMismatch,
                    "segment " + file +
                        " is sealed to another key file than this pool's; compare pool_key in the "
                        "roster that the factory was given with this player's key file");
}

Result<SecretKey> open_at_rest(const RestEnvelope& envelope, const SegmentHeader& header,
                               const LaneRatchet& ratchet, const std::string& file) {
  BP_ASSIGN(const SecretKey ratchet_key, ratchet.key_at(envelope.ratchet_number));
  auto file_key = unwrap_key(rest_wrap(ratchet_key, header), kOnce, header.context(), envelope.key);
  if (file_key && key_commitment(*file_key, header.salt) == header.key_commitment) {
    return std::move(*file_key);
  }
  return corrupt(file,
                 "was not made by this pool: the file was copied from another one, or its "
                 "keys were replaced");
}

}  // namespace beaverpond
