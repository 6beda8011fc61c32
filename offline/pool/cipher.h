// AES-256-GCM: of the chunks of a segment, and of one key under another.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "offline/plan/hash.h"
#include "offline/pool/secret_key.h"

struct evp_cipher_ctx_st;  // OpenSSL's, named here so that its headers stay out of ours

namespace beaverpond {

using CipherTag = std::array<std::uint8_t, 16>;

/// Chunks of one file under one key. The nonce is the chunk's number, so a key must never seal two
/// different contents of one chunk: a key serves one file. One thread.
class ChunkCipher {
 public:
  enum class Direction : std::uint8_t { kSeal, kOpen };
  /// `context` is the associated data of every chunk.
  ChunkCipher(Direction direction, const SecretKey& key, const Hash256& context);

  /// Seals chunk `number` piece by piece: start, any number of updates, finish.
  void start(std::uint64_t number);
  /// `out` has the size of `in`; it may be the same memory.
  void update(std::span<const std::uint8_t> in, std::uint8_t* out);
  CipherTag finish();

  /// Opens a whole chunk in place. False, and the bytes are wiped, if it is not authentic.
  [[nodiscard]] bool open(std::uint64_t number, std::span<std::uint8_t> bytes,
                          std::span<const std::uint8_t, 16> tag);

 private:
  struct Release {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  std::unique_ptr<evp_cipher_ctx_st, Release> cipher_;
  Hash256 context_;
};

struct WrappedKey {
  std::array<std::uint8_t, SecretKey::kSize> bytes{};
  CipherTag tag{};
};
using WrapNonce = std::array<std::uint8_t, 12>;

/// `wrapping` and `nonce` together must be used for one `key` only.
WrappedKey wrap_key(const SecretKey& wrapping, const WrapNonce& nonce,
                    std::span<const std::uint8_t> context, const SecretKey& key);
/// Nothing if any of the arguments differs from those of wrap_key().
std::optional<SecretKey> unwrap_key(const SecretKey& wrapping, const WrapNonce& nonce,
                                    std::span<const std::uint8_t> context,
                                    const WrappedKey& wrapped);

}  // namespace beaverpond
