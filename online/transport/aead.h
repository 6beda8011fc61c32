// AES-128-GCM as TLS 1.3 uses it for its records (RFC 8446, section 5.2).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

namespace beaverpond {

inline constexpr std::size_t kAeadKeyBytes = 16;
inline constexpr std::size_t kAeadNonceBytes = 12;
inline constexpr std::size_t kAeadTagBytes = 16;

/// One key. A record's plaintext is its content and one byte, the type, which need not lie
/// together. Used by one thread. Wipes its key.
class RecordAead {
 public:
  virtual ~RecordAead() = default;

  /// Writes content.size() + 1 + kAeadTagBytes bytes to `out`, which does not overlap `content`.
  virtual void seal(std::span<const std::uint8_t, kAeadNonceBytes> nonce,
                    std::span<const std::uint8_t> header, std::span<const std::uint8_t> content,
                    std::uint8_t type, std::uint8_t* out) = 0;
  /// The inverse: `sealed` holds content.size() + 1 + kAeadTagBytes bytes. False if it was not made
  /// by seal() with the same key, nonce and header; what is in `content` and `type` then is not to
  /// be used.
  [[nodiscard]] virtual bool open(std::span<const std::uint8_t, kAeadNonceBytes> nonce,
                                  std::span<const std::uint8_t> header,
                                  std::span<const std::uint8_t> sealed,
                                  std::span<std::uint8_t> content, std::uint8_t& type) = 0;
};

using AeadKey = std::array<std::uint8_t, kAeadKeyBytes>;

/// Intel's libIPSec_MB where the build found its header, this machine has it (libIPSec_MB.so.1, the
/// same version) and the CPU has AES and carry-less products on 512-bit registers; else OpenSSL.
/// beaverpond-open-bench prints the speed of both.
std::unique_ptr<RecordAead> make_record_aead(const AeadKey& key);

/// OpenSSL's, on any machine.
std::unique_ptr<RecordAead> make_openssl_record_aead(const AeadKey& key);

/// "libIPSec_MB" or "OpenSSL": what make_record_aead() makes here.
const char* record_aead_name();

}  // namespace beaverpond
