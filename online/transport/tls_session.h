// TLS 1.3 without sockets: from memory to memory, so that one call can encrypt many records for one
// system call, and decrypt straight into the message they belong to. OpenSSL shakes hands, and
// hands over the secrets of what follows; the records of that are those of tls_records.h.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "online/transport/tls_records.h"

struct bio_method_st;
struct bio_st;
struct ssl_ctx_st;
struct ssl_st;

namespace beaverpond {

/// SHA-256 of a certificate's DER.
using Fingerprint = std::array<std::uint8_t, 32>;

/// First and last characters of a fingerprint, for messages.
std::string short_hex(const Fingerprint& fingerprint);

/// The key and certificate of this player, and TLS 1.3 with both sides authenticated.
class TlsContext {
 public:
  /// Errors: kConfig, naming the file: unreadable, not PEM, a key that others may read, or a key
  /// that does not belong to the certificate.
  static Result<std::shared_ptr<TlsContext>> create(const std::string& key_path,
                                                    const std::string& certificate_path);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;             // owns the OpenSSL context
  TlsContext& operator=(const TlsContext&) = delete;  // owns the OpenSSL context

  const Fingerprint& fingerprint() const { return fingerprint_; }
  ssl_ctx_st* get() const { return context_; }

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}

  ssl_ctx_st* context_;
  Fingerprint fingerprint_{};
};

enum class TlsRole : std::uint8_t { kClient, kServer };

/// One connection. Used by one thread. The other side's certificate must be one of `accepted`
/// (a pin per rank; unset where a rank is not acceptable) and not past its last day, whatever else
/// the certificate says.
class TlsSession {
 public:
  /// AES-128-GCM keys are good for about 380 GB of full records; they are changed well before.
  static constexpr std::uint64_t kRekeyBytes = std::uint64_t{1} << 36;

  TlsSession(std::shared_ptr<TlsContext> context, TlsRole role,
             std::vector<std::optional<Fingerprint>> accepted,
             std::uint64_t rekey_bytes = kRekeyBytes);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;             // OpenSSL holds pointers to this object
  TlsSession& operator=(const TlsSession&) = delete;  // OpenSSL holds pointers to this object

  /// What came from the socket; read until read() returns 0 before the bytes go away.
  void set_input(std::span<const std::uint8_t> bytes);

  /// True once the handshake is complete. Errors: kRosterMismatch when either side refused the
  /// other's certificate; kIo when what came is not TLS 1.3.
  Result<bool> handshake();
  /// Decrypted bytes into `to`, of which the rest may be overwritten; 0 when more input is needed.
  /// Errors as handshake().
  Result<std::size_t> read(std::span<std::uint8_t> to);
  /// Appends records to output(). After the handshake. Errors: that of a read() that failed: to
  /// whom an alert was sent, nothing else is.
  Result<void> write(std::span<const std::uint8_t> bytes);

  /// What is to be sent; the caller clears it.
  OutputBytes& output() { return output_; }

  /// The certificate that the other side presented, once it has.
  const std::optional<Fingerprint>& peer_fingerprint() const { return peer_fingerprint_; }
  /// The rank that this certificate is pinned to.
  std::optional<int> peer_rank() const { return peer_rank_; }

 private:
  friend struct TlsCallbacks;

  Error failure(const char* doing) const;
  std::optional<Error> refusal(int reason) const;
  Error fault() const;
  Result<void> begin_records();
  bool accept_certificate(const Fingerprint& fingerprint);

  std::shared_ptr<TlsContext> context_;
  std::vector<std::optional<Fingerprint>> accepted_;
  const TlsRole role_;
  const std::uint64_t rekey_bytes_;
  std::span<const std::uint8_t> input_;  ///< of the handshake
  OutputBytes output_;
  /// What the handshake gave, until the records begin; wiped then.
  std::optional<TrafficSecret> client_secret_;
  std::optional<TrafficSecret> server_secret_;
  std::unique_ptr<RecordReader> reader_;  ///< null during the handshake
  std::unique_ptr<RecordWriter> writer_;
  bool alerted_ = false;  ///< the other side was sent an alert
  std::optional<Fingerprint> peer_fingerprint_;
  std::optional<int> peer_rank_;
  bool expired_ = false;   ///< the pinned certificate that the other side presented
  ssl_st* ssl_ = nullptr;  ///< null behind the handshake
};

}  // namespace beaverpond
