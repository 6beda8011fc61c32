// The dealer's signature: only what it made enters a pool.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>

#include "beaverpond/result.h"
#include "offline/pool/secret_key.h"

struct evp_pkey_st;  // OpenSSL's, named here so that its headers stay out of ours

namespace beaverpond {

using Signature = std::array<std::uint8_t, 64>;

/// The private half (Ed25519). Threads: sign() may run at once.
class DealerKey {
 public:
  /// A new key that lives in memory only.
  static Result<DealerKey> generate();
  /// Reads a PEM file of mode 0400. Errors: kConfig, naming the file, for a missing or wrong file
  /// and for one that others may read.
  static Result<DealerKey> read(const std::string& path);
  /// Writes PEM with mode 0400. Never replaces a file. Errors: kConfig, kIo, kNoSpace.
  Result<void> write_new(const std::string& path) const;

  PublicKey public_key() const;
  Signature sign(std::span<const std::uint8_t> message) const;

 private:
  struct Release {
    void operator()(evp_pkey_st* key) const;
  };
  explicit DealerKey(evp_pkey_st* key) : key_(key) {}
  std::unique_ptr<evp_pkey_st, Release> key_;
};

bool verify_signature(const PublicKey& dealer, std::span<const std::uint8_t> message,
                      const Signature& signature);

}  // namespace beaverpond
