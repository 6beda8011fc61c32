// Homes with a key and a self-signed certificate, as `beaverpond keygen` makes them.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "offline/plan/hash.h"

namespace beaverpond::testing {

/// Makes `home` with key.pem and cert.pem; returns the certificate's fingerprint.
inline Hash256 make_test_home(const std::string& home, const std::string& name) {
  std::filesystem::create_directories(home);
  EVP_PKEY* const key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  X509* const certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_NAME* const subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(certificate, subject);
  X509_set_pubkey(certificate, key);
  EXPECT_GT(X509_sign(certificate, key, nullptr), 0);
  std::FILE* file = std::fopen((home + "/key.pem").c_str(), "w");
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  std::filesystem::permissions(home + "/key.pem", std::filesystem::perms::owner_read);
  file = std::fopen((home + "/cert.pem").c_str(), "w");
  PEM_write_X509(file, certificate);
  std::fclose(file);
  Hash256 hash{};
  unsigned int size = 0;
  EXPECT_EQ(X509_digest(certificate, EVP_sha256(), hash.data(), &size), 1);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return hash;
}

}  // namespace beaverpond::testing
