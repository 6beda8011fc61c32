#include "online/transport/tls_session.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace beaverpond {

/// What OpenSSL calls back.
struct TlsCallbacks {
  static TlsSession& session_of(BIO* bio) { return *static_cast<TlsSession*>(BIO_get_data(bio)); }

  static int write(BIO* bio, const char* data, int size) {
    std::vector<std::uint8_t>& output = session_of(bio).output_;
    // As bytes: from chars the vector would copy one by one.
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(data);
    output.insert(output.end(), bytes, bytes + size);
    return size;
  }

  static int read(BIO* bio, char* data, int size) {
    std::span<const std::uint8_t>& input = session_of(bio).input_;
    BIO_clear_retry_flags(bio);
    if (input.empty()) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const std::size_t n = std::min(input.size(), static_cast<std::size_t>(size));
    std::memcpy(data, input.data(), n);
    input = input.subspan(n);
    return static_cast<int>(n);
  }

  static long control(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }

  static int create(BIO* bio) {
    BIO_set_init(bio, 1);
    return 1;
  }

  static BIO_METHOD* method() {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "memory");
      BP_CHECK(made != nullptr, "out of memory");
      BIO_meth_set_write(made, &TlsCallbacks::write);
      BIO_meth_set_read(made, &TlsCallbacks::read);
      BIO_meth_set_ctrl(made, &TlsCallbacks::control);
      BIO_meth_set_create(made, &TlsCallbacks::create);
      return made;
    }();
    return method;
  }

  /// Replaces chain building: a certificate is accepted because it is pinned, and for nothing else.
  static int verify(X509_STORE_CTX* store, void* /*argument*/) {
    auto* ssl =
        static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto& session = *static_cast<TlsSession*>(SSL_get_app_data(ssl));
    Fingerprint fingerprint{};
    unsigned int size = 0;
    const X509* certificate = X509_STORE_CTX_get0_cert(store);
    if (certificate != nullptr &&
        X509_digest(certificate, EVP_sha256(), fingerprint.data(), &size) == 1 &&
        size == fingerprint.size() && session.accept_certificate(fingerprint)) {
      // A pinned certificate ends when its owner said it would, by this clock.
      session.expired_ = X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0;
      X509_STORE_CTX_set_error(store, session.expired_ ? X509_V_ERR_CERT_HAS_EXPIRED : X509_V_OK);
      return session.expired_ ? 0 : 1;
    }
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);  // the alert "bad certificate"
    return 0;
  }
};

namespace {

std::string openssl_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown reason" : reason;
}

Result<void> check_key_file(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return make_error(ErrorCode::kConfig, "cannot read the key " + path + ": " +
                                              std::strerror(errno) +
                                              "; make one with `beaverpond keygen`");
  }
  if ((status.st_mode & 077) != 0) {
    return make_error(ErrorCode::kConfig, "the key " + path +
                                              " may be read by other users; run `chmod 0400 " +
                                              path + "` and consider making a new one");
  }
  return {};
}

}  // namespace

std::string short_hex(const Fingerprint& fingerprint) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < 8; ++i) {
    text.push_back(kDigits[fingerprint[i] >> 4]);
    text.push_back(kDigits[fingerprint[i] & 15]);
  }
  return text + "...";
}

Result<std::shared_ptr<TlsContext>> TlsContext::create(const std::string& key_path,
                                                       const std::string& certificate_path) {
  BP_TRY(check_key_file(key_path));
  ERR_clear_error();
  SSL_CTX* raw = SSL_CTX_new(TLS_method());
  if (raw == nullptr) {
    return make_error(ErrorCode::kIo, "OpenSSL cannot make a TLS context: " + openssl_reason());
  }
  auto context = std::shared_ptr<TlsContext>(new TlsContext(raw));
  const bool set = SSL_CTX_set_min_proto_version(raw, TLS1_3_VERSION) == 1 &&
                   SSL_CTX_set_max_proto_version(raw, TLS1_3_VERSION) == 1 &&
                   SSL_CTX_set_ciphersuites(raw,
                                            "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                            "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
                   SSL_CTX_set_num_tickets(raw, 0) == 1;  // nobody resumes
  if (!set) return make_error(ErrorCode::kIo, "OpenSSL has no TLS 1.3: " + openssl_reason());
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(raw, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(raw, &TlsCallbacks::verify, nullptr);

  const auto unusable = [](const char* what, const std::string& path) {
    return make_error(ErrorCode::kConfig, std::string("cannot use the ") + what + " " + path +
                                              ": " + openssl_reason() +
                                              "; a PEM file made by `beaverpond keygen` is needed");
  };
  if (SSL_CTX_use_certificate_file(raw, certificate_path.c_str(), SSL_FILETYPE_PEM) != 1) {
    return unusable("certificate", certificate_path);
  }
  if (SSL_CTX_use_PrivateKey_file(raw, key_path.c_str(), SSL_FILETYPE_PEM) != 1) {
    if (ERR_GET_REASON(ERR_peek_last_error()) != X509_R_KEY_VALUES_MISMATCH) {
      return unusable("key", key_path);
    }
    return make_error(ErrorCode::kConfig,
                      "the key " + key_path + " does not belong to the certificate " +
                          certificate_path + "; both come from one run of `beaverpond keygen`");
  }
  unsigned int size = 0;
  const int digested =
      X509_digest(SSL_CTX_get0_certificate(raw), EVP_sha256(), context->fingerprint_.data(), &size);
  BP_CHECK(digested == 1 && size == context->fingerprint_.size(), "SHA-256 of a certificate");
  return context;
}

TlsContext::~TlsContext() {
  SSL_CTX_free(context_);
}

TlsSession::TlsSession(std::shared_ptr<TlsContext> context, TlsRole role,
                       std::vector<std::optional<Fingerprint>> accepted, std::uint64_t rekey_bytes)
    : context_(std::move(context)),
      accepted_(std::move(accepted)),
      rekey_bytes_(rekey_bytes),
      bytes_until_rekey_(rekey_bytes),
      ssl_(SSL_new(context_->get())) {
  BIO* bio = BIO_new(TlsCallbacks::method());
  BP_CHECK(ssl_ != nullptr && bio != nullptr, "out of memory");
  BIO_set_data(bio, this);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_app_data(ssl_, this);
  if (role == TlsRole::kClient) {
    SSL_set_connect_state(ssl_);
  } else {
    SSL_set_accept_state(ssl_);
  }
}

TlsSession::~TlsSession() {
  SSL_free(ssl_);
}

bool TlsSession::accept_certificate(const Fingerprint& fingerprint) {
  peer_fingerprint_ = fingerprint;
  for (std::size_t rank = 0; rank < accepted_.size(); ++rank) {
    if (accepted_[rank] == fingerprint) {
      peer_rank_ = static_cast<int>(rank);
      return true;
    }
  }
  return false;
}

Result<bool> TlsSession::handshake() {
  ERR_clear_error();
  const int status = SSL_do_handshake(ssl_);
  if (status == 1) return true;
  if (SSL_get_error(ssl_, status) == SSL_ERROR_WANT_READ) return false;
  return failure("TLS handshake");
}

Result<std::size_t> TlsSession::read(std::span<std::uint8_t> to) {
  ERR_clear_error();
  std::size_t size = 0;
  const int status = SSL_read_ex(ssl_, to.data(), to.size(), &size);
  if (status == 1) return size;
  if (SSL_get_error(ssl_, status) == SSL_ERROR_WANT_READ) return std::size_t{0};
  return failure("TLS read");
}

Result<void> TlsSession::write(std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) return {};
  ERR_clear_error();
  if (bytes.size() > bytes_until_rekey_) {
    if (SSL_key_update(ssl_, SSL_KEY_UPDATE_NOT_REQUESTED) != 1) return failure("TLS key update");
    bytes_until_rekey_ = rekey_bytes_;
  }
  bytes_until_rekey_ -= std::min<std::uint64_t>(bytes.size(), bytes_until_rekey_);
  std::size_t size = 0;
  if (SSL_write_ex(ssl_, bytes.data(), bytes.size(), &size) == 1 && size == bytes.size()) return {};
  return failure("TLS write");
}

Error TlsSession::failure(const char* doing) const {
  const unsigned long code = ERR_peek_error();
  if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
    switch (ERR_GET_REASON(code)) {
      case SSL_R_CERTIFICATE_VERIFY_FAILED:
        if (expired_) {
          return make_error(ErrorCode::kRosterMismatch,
                            "the other side's certificate " + short_hex(*peer_fingerprint_) +
                                " is the one in the roster, and has expired (by this host's "
                                "clock); its owner makes a new one, and all put it into the "
                                "roster");
        }
        return make_error(ErrorCode::kRosterMismatch,
                          "the other side's certificate " +
                              (peer_fingerprint_ ? short_hex(*peer_fingerprint_) : "") +
                              " is not the one in the roster");
      case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return make_error(ErrorCode::kRosterMismatch,
                          "the other side refused this player's certificate " +
                              short_hex(context_->fingerprint()) +
                              ": by its clock it has expired; make a new one, and let all put it "
                              "into the roster");
      case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
      case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
      case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return make_error(ErrorCode::kRosterMismatch,
                          "the other side refused this player's certificate " +
                              short_hex(context_->fingerprint()) +
                              ": its roster does not have it at a place that may connect there");
      default: break;
    }
  }
  return make_error(ErrorCode::kIo, std::string(doing) + " failed: " + openssl_reason());
}

}  // namespace beaverpond
