#include "offline/plan/certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>
#include <optional>

#include "offline/plan/file.h"
#include "offline/plan/openssl_free.h"

namespace beaverpond {
namespace {

using Key = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, OpensslFree<X509_free>>;
using Bio = std::unique_ptr<BIO, OpensslFree<BIO_free_all>>;

Error openssl_failed(const char* what) {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  return make_error(ErrorCode::kIo, std::string("OpenSSL cannot ") + what + ": " +
                                        (reason == nullptr ? "unknown reason" : reason));
}

/// Self-signed and without an end: it is trusted because it is pinned, and for as long.
Result<Certificate> sign_certificate(EVP_PKEY* key, const std::string& name) {
  Certificate certificate(X509_new());
  std::array<std::uint8_t, 16> serial{};
  BP_CHECK(certificate != nullptr && RAND_bytes(serial.data(), serial.size()) == 1,
           "OpenSSL has memory and randomness");
  serial[0] = (serial[0] & 0x7f) | 0x40;  // positive, and always as long
  const std::unique_ptr<BIGNUM, OpensslFree<BN_free>> number(
      BN_bin2bn(serial.data(), serial.size(), nullptr));
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  const bool made =
      X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate.get())) != nullptr &&
      X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                                 0) == 1 &&
      X509_set_issuer_name(certificate.get(), subject) == 1 &&
      ASN1_TIME_set_string(X509_getm_notBefore(certificate.get()), "20000101000000Z") == 1 &&
      ASN1_TIME_set_string(X509_getm_notAfter(certificate.get()), "99991231235959Z") == 1 &&
      X509_set_pubkey(certificate.get(), key) == 1 &&
      X509_sign(certificate.get(), key, nullptr) > 0;
  if (!made) return openssl_failed("make a certificate");
  return certificate;
}

template <class Write>
Result<std::string> to_pem(Write write) {
  const Bio bio(BIO_new(BIO_s_secmem()));  // wiped when freed
  if (bio == nullptr || write(bio.get()) != 1) return openssl_failed("write PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

}  // namespace

Hash256 certificate_fingerprint(const x509_st* certificate) {
  Hash256 hash{};
  unsigned int size = 0;
  const int ok = X509_digest(certificate, EVP_sha256(), hash.data(), &size);
  BP_CHECK(ok == 1 && size == hash.size(), "SHA-256 of a certificate");
  return hash;
}

Result<Hash256> make_certificate(const std::string& key_path, const std::string& certificate_path,
                                 const std::string& name) {
  ERR_clear_error();
  const Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  if (key == nullptr) return openssl_failed("make an Ed25519 key");
  BP_ASSIGN(const Certificate certificate, sign_certificate(key.get(), name));
  BP_ASSIGN(std::string key_pem, to_pem([&](BIO* bio) {
              return PEM_write_bio_PKCS8PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr,
                                                   nullptr);
            }));
  BP_ASSIGN(const std::string certificate_pem,
            to_pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate.get()); }));
  // The key last: where it exists, so does all else.
  Result<void> written = replace_file(certificate_path, certificate_pem, 0644);
  if (written.ok()) written = replace_file(key_path, key_pem, 0400);
  OPENSSL_cleanse(key_pem.data(), key_pem.size());
  BP_TRY(std::move(written));
  return certificate_fingerprint(certificate.get());
}

namespace {

Result<Certificate> read_certificate(const std::string& path) {
  BP_ASSIGN(const std::string pem, read_small_file(path));
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  BP_CHECK(bio != nullptr, "out of memory");
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (certificate != nullptr) return certificate;
  ERR_clear_error();
  return make_error(ErrorCode::kConfig,
                    path + " is not a certificate in PEM; use the cert.pem that keygen made");
}

/// Seconds since 1970, or nothing.
std::optional<std::int64_t> seconds_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return std::nullopt;
  return std::int64_t{::timegm(&parts)};
}

}  // namespace

Result<Hash256> certificate_fingerprint(const std::string& certificate_path) {
  BP_ASSIGN(const Certificate certificate, read_certificate(certificate_path));
  return certificate_fingerprint(certificate.get());
}

Result<CertificateDates> certificate_dates(const std::string& certificate_path) {
  BP_ASSIGN(const Certificate certificate, read_certificate(certificate_path));
  const auto from = seconds_of(X509_get0_notBefore(certificate.get()));
  const auto until = seconds_of(X509_get0_notAfter(certificate.get()));
  if (from.has_value() && until.has_value()) return CertificateDates{*from, *until};
  ERR_clear_error();
  return make_error(ErrorCode::kConfig, certificate_path +
                                            " has no dates that can be read; use the cert.pem "
                                            "that keygen made");
}

}  // namespace beaverpond
