#include "online/session/identity.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include "offline/plan/file.h"
#include "offline/pool/dealer_key.h"
#include "offline/pool/pool_key.h"

namespace beaverpond {

namespace {

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;

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
  const std::unique_ptr<BIGNUM, Free<BN_free>> number(
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

Hash256 fingerprint_of(const X509* certificate) {
  Hash256 hash{};
  unsigned int size = 0;
  const int ok = X509_digest(certificate, EVP_sha256(), hash.data(), &size);
  BP_CHECK(ok == 1 && size == hash.size(), "SHA-256 of a certificate");
  return hash;
}

Result<void> check_no_key(const Home& home) {
  struct stat status {};
  if (::lstat(home.key_path().c_str(), &status) != 0) return {};
  return make_error(
      ErrorCode::kConfig,
      home.key_path() +
          " exists and is not replaced, since without it this player "
          "loses its place in the roster and its pool; choose another home, or move the "
          "key away if both are to be given up");
}

Result<void> make_private_folder(const std::string& path) {
  std::error_code error;
  const bool made = std::filesystem::create_directories(path, error);
  if (!error && made) {
    std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
  }
  if (!error) return {};
  return make_error(ErrorCode::kIo, "cannot make the folder " + path + ": " + error.message() +
                                        "; check its parent and the permissions");
}

}  // namespace

Result<PublicIdentity> generate_identity(const Home& home, const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
           c == '_' || c == '-';
  };
  if (name.empty() || name.size() > 64 || !std::all_of(name.begin(), name.end(), allowed)) {
    return make_error(ErrorCode::kConfig,
                      "a player's name has 1 to 64 of the characters A-Z a-z 0-9 . _ -; choose "
                      "another name");
  }
  BP_TRY(check_no_key(home));
  BP_TRY(make_private_folder(home.directory));
  BP_TRY(make_private_folder(home.pool_path()));
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
  PublicIdentity identity;
  identity.certificate = fingerprint_of(certificate.get());
  BP_ASSIGN(identity.pool_key, create_pool_key(home.pool_key_path()));
  // The key last: where it exists, so does all else.
  Result<void> written = replace_file(home.certificate_path(), certificate_pem, 0644);
  if (written.ok()) written = replace_file(home.key_path(), key_pem, 0400);
  OPENSSL_cleanse(key_pem.data(), key_pem.size());
  BP_TRY(std::move(written));
  return identity;
}

namespace {

Result<Hash256> dealer_for(const std::string& base_directory) {
  const std::string folder = base_directory + "/dealer";
  const std::string path = folder + "/dealer.pem";
  BP_TRY(make_private_folder(folder));
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    BP_ASSIGN(const DealerKey made, DealerKey::generate());
    BP_TRY(made.write_new(path));
  }
  BP_ASSIGN(const DealerKey key, DealerKey::read(path));
  return key.public_key();
}

}  // namespace

Result<Hash256> certificate_fingerprint(const std::string& certificate_path) {
  BP_ASSIGN(const std::string pem, read_small_file(certificate_path));
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  BP_CHECK(bio != nullptr, "out of memory");
  const Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) {
    ERR_clear_error();
    return make_error(ErrorCode::kConfig, certificate_path +
                                              " is not a certificate in PEM; use the cert.pem that "
                                              "`beaverpond keygen` made");
  }
  return fingerprint_of(certificate.get());
}

Result<Roster> keygen_all(const std::string& base_directory, int players,
                          std::uint16_t first_port) {
  if (players < static_cast<int>(Roster::kMinPlayers) ||
      players > static_cast<int>(Roster::kMaxPlayers) || first_port + players > 65'536) {
    return make_error(ErrorCode::kConfig, "cannot make " + std::to_string(players) +
                                              " players with ports from " +
                                              std::to_string(first_port) +
                                              "; 2 to 64 players and ports up to 65535 are "
                                              "possible");
  }
  std::vector<Home> homes;
  for (int rank = 0; rank < players; ++rank) {
    homes.push_back({base_directory + "/player" + std::to_string(rank)});
    BP_TRY(check_no_key(homes.back()));
  }
  Roster roster;
  roster.epoch = 1;
  if (RAND_bytes(roster.pool_id.data(), static_cast<int>(roster.pool_id.size())) != 1) {
    return openssl_failed("make a random pool id");
  }
  BP_ASSIGN(roster.dealer_key, dealer_for(base_directory));
  for (int rank = 0; rank < players; ++rank) {
    RosterPlayer player;
    player.name = "player" + std::to_string(rank);
    player.host = "127.0.0.1";
    player.port = first_port == 0 ? 0 : static_cast<std::uint16_t>(first_port + rank);
    BP_ASSIGN(const PublicIdentity made,
              generate_identity(homes[static_cast<std::size_t>(rank)], player.name));
    player.certificate = made.certificate;
    player.pool_key = made.pool_key;
    roster.players.push_back(std::move(player));
  }
  for (const Home& home : homes) BP_TRY(write_roster_file(home.roster_path(), roster));
  return roster;
}

}  // namespace beaverpond
