// Secret keys in memory, and what is derived from them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace beaverpond {

/// Of a signature (Ed25519) or a key agreement (X25519).
using PublicKey = std::array<std::uint8_t, 32>;

/// 32 secret bytes in memory that is locked where the system allows it, left out of core files, and
/// wiped. Has no printer and no ==.
class SecretKey {
 public:
  static constexpr std::size_t kSize = 32;

  SecretKey();  ///< all zero
  explicit SecretKey(std::span<const std::uint8_t, kSize> bytes);
  SecretKey(SecretKey&& other) noexcept;
  SecretKey& operator=(SecretKey&& other) noexcept;
  SecretKey(const SecretKey&) = delete;             // copies are made by copy(), and seen
  SecretKey& operator=(const SecretKey&) = delete;  // copies are made by copy(), and seen
  ~SecretKey();
  bool operator==(const SecretKey&) const = delete;

  SecretKey copy() const { return SecretKey(bytes()); }
  std::span<const std::uint8_t, kSize> bytes() const;
  std::span<std::uint8_t, kSize> mutable_bytes();

 private:
  std::uint8_t* slot_;  // in the arena of locked pages; null after a move
};

/// False where the system refused to lock a page (RLIMIT_MEMLOCK): keys may then reach the swap.
/// Programs say so once.
bool key_memory_is_locked();

/// HKDF-SHA256 (RFC 5869). `label` names the purpose, `context` what else the result is bound to.
SecretKey hkdf(std::span<const std::uint8_t> secret, std::span<const std::uint8_t> salt,
               std::string_view label, std::span<const std::uint8_t> context = {});

PublicKey x25519_public(const SecretKey& key);
/// The shared secret; nothing for a public key that is no curve point of full order.
std::optional<SecretKey> x25519_agree(const SecretKey& key, const PublicKey& peer);

}  // namespace beaverpond
