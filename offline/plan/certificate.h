// Keys and self-signed certificates, which the roster pins by hash.
#pragma once

#include <cstdint>
#include <string>

#include "beaverpond/result.h"
#include "offline/plan/hash.h"

struct x509_st;  // OpenSSL's, named here so that its headers stay out of ours

namespace beaverpond {

/// Makes an Ed25519 key (mode 0400) and a certificate without an end in the name `name`, which has
/// characters of a host name; replaces what is there. Returns the SHA-256 of the certificate's DER.
/// Errors: kIo, kNoSpace.
Result<Hash256> make_certificate(const std::string& key_path, const std::string& certificate_path,
                                 const std::string& name);

/// SHA-256 of the DER of the first certificate in a PEM file. Errors: kConfig, naming the file;
/// kIo.
Result<Hash256> certificate_fingerprint(const std::string& certificate_path);

/// SHA-256 of the DER of a certificate in memory.
Hash256 certificate_fingerprint(const x509_st* certificate);

/// From when until when a certificate says that it is valid, in seconds since 1970 (UTC).
struct CertificateDates {
  std::int64_t from = 0;
  std::int64_t until = 0;
};
/// Of the first certificate in a PEM file. Errors: as certificate_fingerprint().
Result<CertificateDates> certificate_dates(const std::string& certificate_path);

}  // namespace beaverpond
