// A certificate that is over: the same key and name, signed again with another last day.
#pragma once

#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>
#include <string>

#include "beaverpond/check.h"
#include "offline/plan/certificate.h"

namespace beaverpond::testing {

/// Replaces `home`/cert.pem; returns the new fingerprint, for the rosters. `until`: as
/// "20200101000000Z".
inline Hash256 end_certificate(const std::string& home, const char* until) {
  const std::string path = home + "/cert.pem";
  std::FILE* file = std::fopen(path.c_str(), "r");
  BP_CHECK(file != nullptr, "a certificate");
  X509* certificate = PEM_read_X509(file, nullptr, nullptr, nullptr);
  std::fclose(file);
  file = std::fopen((home + "/key.pem").c_str(), "r");
  BP_CHECK(file != nullptr && certificate != nullptr, "a certificate and its key");
  EVP_PKEY* key = PEM_read_PrivateKey(file, nullptr, nullptr, nullptr);
  std::fclose(file);
  BP_CHECK(key != nullptr && ASN1_TIME_set_string(X509_getm_notAfter(certificate), until) == 1 &&
               X509_sign(certificate, key, nullptr) > 0,
           "signs again");
  file = std::fopen(path.c_str(), "w");
  BP_CHECK(file != nullptr && PEM_write_X509(file, certificate) == 1, "writes");
  std::fclose(file);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return certificate_fingerprint(path).value();
}

}  // namespace beaverpond::testing
