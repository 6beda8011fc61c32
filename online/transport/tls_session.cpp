#include "online/transport/tls_session.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace beaverpond {

/// What OpenSSL calls back.
struct TlsCallbacks {
  static TlsSession& session_of(BIO* bio) { return *static_cast<TlsSession*>(BIO_get_data(bio)); }

  static int write(BIO* bio, const char* data, int size) {
    session_of(bio).output_.append(
        {reinterpret_cast<const std::uint8_t*>(data), static_cast<std::size_t>(size)});
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

  /// A line of the log of secrets that OpenSSL offers; nothing of it is kept but these two.
  static void secret(const SSL* ssl, const char* line) {
    auto& session = *static_cast<TlsSession*>(SSL_get_app_data(ssl));
    const std::string_view text(line);
    if (text.starts_with("CLIENT_TRAFFIC_SECRET_0 ")) {
      parse_secret(text, session.client_secret_);
    } else if (text.starts_with("SERVER_TRAFFIC_SECRET_0 ")) {
      parse_secret(text, session.server_secret_);
    }
  }

  /// The hexadecimal digits behind the last space, with no copy of them on the stack.
  static void parse_secret(std::string_view line, std::optional<TrafficSecret>& to) {
    const std::string_view digits = line.substr(line.rfind(' ') + 1);
    TrafficSecret& secret = to.emplace();
    if (digits.size() != 2 * secret.size()) return to.reset();
    const auto value = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
    for (std::size_t i = 0; i < secret.size(); ++i) {
      secret[i] = static_cast<std::uint8_t>(value(digits[2 * i]) << 4 | value(digits[2 * i + 1]));
    }
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
                   // The one that every TLS 1.3 must have, and the one of tls_records.h.
                   SSL_CTX_set_ciphersuites(raw, "TLS_AES_128_GCM_SHA256") == 1 &&
                   SSL_CTX_set_num_tickets(raw, 0) == 1;  // nobody resumes
  if (!set) return make_error(ErrorCode::kIo, "OpenSSL has no TLS 1.3: " + openssl_reason());
  SSL_CTX_set_keylog_callback(raw, &TlsCallbacks::secret);
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
      role_(role),
      rekey_bytes_(rekey_bytes),
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
  for (auto* secret : {&client_secret_, &server_secret_}) {
    if (secret->has_value()) OPENSSL_cleanse((*secret)->data(), (*secret)->size());
  }
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

void TlsSession::set_input(std::span<const std::uint8_t> bytes) {
  if (reader_ == nullptr) {
    input_ = bytes;
  } else {
    reader_->set_input(bytes);
  }
}

Result<bool> TlsSession::handshake() {
  if (reader_ != nullptr) return true;
  ERR_clear_error();
  const int status = SSL_do_handshake(ssl_);
  if (status == 1) {
    BP_TRY(begin_records());
    return true;
  }
  if (SSL_get_error(ssl_, status) == SSL_ERROR_WANT_READ) return false;
  return failure("TLS handshake");
}

/// OpenSSL reads record by record, so that what is left of the input is the first of ours.
Result<void> TlsSession::begin_records() {
  if (!client_secret_.has_value() || !server_secret_.has_value() || SSL_has_pending(ssl_) != 0 ||
      SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl_)) !=
          (TLS1_3_CK_AES_128_GCM_SHA256 & 0xffff)) {
    return make_error(ErrorCode::kIo, "TLS handshake: this OpenSSL does not hand over its secrets");
  }
  const bool client = role_ == TlsRole::kClient;
  reader_ = std::make_unique<RecordReader>(client ? *server_secret_ : *client_secret_);
  writer_ =
      std::make_unique<RecordWriter>(client ? *client_secret_ : *server_secret_, rekey_bytes_);
  reader_->set_input(std::exchange(input_, {}));
  for (auto* secret : {&client_secret_, &server_secret_}) {
    OPENSSL_cleanse((*secret)->data(), (*secret)->size());
    secret->reset();
  }
  // It holds what all later keys could be derived from, and has done its work.
  SSL_free(std::exchange(ssl_, nullptr));
  return {};
}

Result<std::size_t> TlsSession::read(std::span<std::uint8_t> to) {
  BP_ASSIGN(const bool done, handshake());
  if (!done) return std::size_t{0};
  const std::size_t size = reader_->read(to);
  if (!reader_->fault().has_value()) return size;
  if (!reader_->fault()->received_alert && !std::exchange(alerted_, true)) {
    writer_->write_alert(reader_->fault()->description, output_);
  }
  return fault();
}

Result<void> TlsSession::write(std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) return {};
  if (writer_ == nullptr) return make_error(ErrorCode::kIo, "TLS write before the handshake");
  if (reader_->fault().has_value()) return fault();
  // Asked for a change of keys, one side owes it before its next data: one, however often asked.
  if (reader_->take_update_request()) writer_->update_keys(false, output_);
  writer_->write(bytes, output_);
  return {};
}

/// A server refuses a certificate when its client has long come up.
Error TlsSession::fault() const {
  constexpr int kReasonOfAlertZero = 1000;  // OpenSSL's SSL_AD_REASON_OFFSET
  const RecordFault& what = *reader_->fault();
  const char* const text = SSL_alert_desc_string_long(what.description);
  if (!what.received_alert) {
    return make_error(ErrorCode::kIo,
                      std::string("TLS read failed: what came is no good (") + text + ")");
  }
  if (std::optional<Error> refused = refusal(kReasonOfAlertZero + what.description)) {
    return *refused;
  }
  return make_error(ErrorCode::kIo,
                    std::string("TLS read failed: the other side sent the alert '") + text + "'");
}

/// What an alert of the other side says about this player's certificate, by OpenSSL's number.
std::optional<Error> TlsSession::refusal(int reason) const {
  switch (reason) {
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
    default: return std::nullopt;
  }
}

Error TlsSession::failure(const char* doing) const {
  const unsigned long code = ERR_peek_error();
  if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
    if (std::optional<Error> refused = refusal(ERR_GET_REASON(code))) return *refused;
  }
  if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    const std::string what = "the other side's certificate " +
                             (peer_fingerprint_ ? short_hex(*peer_fingerprint_) : std::string());
    return make_error(ErrorCode::kRosterMismatch,
                      expired_ ? what +
                                     " is the one in the roster, and has expired (by this "
                                     "host's clock); its owner makes a new one, and all put it "
                                     "into the roster"
                               : what + " is not the one in the roster");
  }
  return make_error(ErrorCode::kIo, std::string(doing) + " failed: " + openssl_reason());
}

}  // namespace beaverpond
