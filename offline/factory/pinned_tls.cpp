#include "offline/factory/pinned_tls.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <algorithm>

#include "offline/plan/certificate.h"
#include "offline/plan/file.h"
#include "offline/plan/openssl_free.h"

namespace beaverpond {
namespace {

using Key = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, OpensslFree<X509_free>>;
using Bio = std::unique_ptr<BIO, OpensslFree<BIO_free>>;

template <class Read>
auto read_pem(const std::string& path, const Read& read) -> Result<decltype(read(nullptr))> {
  BP_ASSIGN(std::string text, read_small_file(path));
  const Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  auto value = bio == nullptr ? nullptr : read(bio.get());
  OPENSSL_cleanse(text.data(), text.size());
  if (value == nullptr) {
    return make_error(ErrorCode::kConfig,
                      path + " is not PEM of the right kind; make it with `beaverpond keygen`");
  }
  return value;
}

}  // namespace

struct PinnedTls::State {
  Key key;
  Certificate certificate;
  Hash256 fingerprint{};
  std::vector<Hash256> accepted;

  /// Instead of OpenSSL's own check of a chain.
  static int verify(X509_STORE_CTX* store, void* state) {
    const X509* const certificate = X509_STORE_CTX_get0_cert(store);
    const auto& accepted = static_cast<const State*>(state)->accepted;
    const bool known =
        certificate != nullptr && std::find(accepted.begin(), accepted.end(),
                                            certificate_fingerprint(certificate)) != accepted.end();
    X509_STORE_CTX_set_error(store, known ? X509_V_OK : X509_V_ERR_CERT_UNTRUSTED);
    return known ? 1 : 0;
  }
};

PinnedTls::PinnedTls(std::unique_ptr<State> state) : state_(std::move(state)) {}
PinnedTls::~PinnedTls() = default;

Result<std::unique_ptr<PinnedTls>> PinnedTls::read(const std::string& home,
                                                   std::vector<Hash256> accepted) {
  auto state = std::make_unique<State>();
  struct stat mode {};
  if (::stat((home + "/key.pem").c_str(), &mode) == 0 && (mode.st_mode & 077) != 0) {
    return make_error(ErrorCode::kConfig,
                      home + "/key.pem may be read by others; run chmod 0400 " + home + "/key.pem");
  }
  BP_ASSIGN(EVP_PKEY* const key, read_pem(home + "/key.pem", [](BIO* bio) {
              return PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
            }));
  state->key.reset(key);
  BP_ASSIGN(X509* const certificate, read_pem(home + "/cert.pem", [](BIO* bio) {
              return PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
            }));
  state->certificate.reset(certificate);
  state->fingerprint = certificate_fingerprint(certificate);
  state->accepted = std::move(accepted);
  return std::unique_ptr<PinnedTls>(new PinnedTls(std::move(state)));
}

const Hash256& PinnedTls::fingerprint() const {
  return state_->fingerprint;
}

bool PinnedTls::configure(ssl_ctx_st* context) {
  SSL_CTX_set_cert_verify_callback(context, &State::verify, state_.get());
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);  // a resumed session would skip the check
  return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_use_certificate(context, state_->certificate.get()) == 1 &&
         SSL_CTX_use_PrivateKey(context, state_->key.get()) == 1 &&
         SSL_CTX_check_private_key(context) == 1;
}

std::optional<std::size_t> PinnedTls::peer_of(const ssl_st* connection) const {
  if (connection == nullptr) return std::nullopt;
  const Certificate certificate(SSL_get1_peer_certificate(connection));
  if (certificate == nullptr) return std::nullopt;
  const auto found = std::find(state_->accepted.begin(), state_->accepted.end(),
                               certificate_fingerprint(certificate.get()));
  if (found == state_->accepted.end()) return std::nullopt;
  return static_cast<std::size_t>(found - state_->accepted.begin());
}

}  // namespace beaverpond
