#include "offline/pool/dealer_key.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include "offline/plan/file.h"

namespace beaverpond {
namespace {

constexpr char kMakeOne[] = "make one with `triple-factory keygen`";

Error unusable(const std::string& path, const std::string& why) {
  return make_error(ErrorCode::kConfig, "the dealer's key " + path + " " + why);
}

}  // namespace

void DealerKey::Release::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}

Result<DealerKey> DealerKey::generate() {
  EVP_PKEY* const key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  if (key == nullptr) {
    return make_error(ErrorCode::kIo,
                      "OpenSSL cannot make an Ed25519 key; getrandom(2) and "
                      "OpenSSL 3 are required");
  }
  return DealerKey(key);
}

Result<DealerKey> DealerKey::read(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return unusable(path, std::string("is missing; name it with --dealer-key, or ") + kMakeOne);
  }
  if ((info.st_mode & 077) != 0) {
    return unusable(path,
                    "can be read by others, who could then forge bundles; run chmod 0400 "
                    "on it");
  }
  BP_ASSIGN(std::string pem, read_small_file(path, 1 << 16));
  BIO* const bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  EVP_PKEY* const key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  OPENSSL_cleanse(pem.data(), pem.size());
  DealerKey dealer(key);
  if (key == nullptr || EVP_PKEY_is_a(key, "ED25519") != 1) {
    ERR_clear_error();
    return unusable(path, std::string("is no Ed25519 key in PEM; ") + kMakeOne);
  }
  return dealer;
}

Result<void> DealerKey::write_new(const std::string& path) const {
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    return unusable(path,
                    "exists and is not replaced, since the pools of its roster take nothing "
                    "from another; choose another folder");
  }
  BIO* const bio = BIO_new(BIO_s_secmem());  // wiped when freed
  char* data = nullptr;
  const bool written =
      bio != nullptr &&
      PEM_write_bio_PKCS8PrivateKey(bio, key_.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1;
  Result<void> outcome = make_error(ErrorCode::kIo, "OpenSSL cannot write PEM");
  if (written) {
    const long size = BIO_get_mem_data(bio, &data);
    outcome = replace_file(path, {data, static_cast<std::size_t>(size)}, 0400);
  }
  BIO_free_all(bio);
  return outcome;
}

PublicKey DealerKey::public_key() const {
  PublicKey out{};
  std::size_t size = out.size();
  BP_CHECK(EVP_PKEY_get_raw_public_key(key_.get(), out.data(), &size) == 1 && size == out.size(),
           "an Ed25519 key has a public half");
  return out;
}

Signature DealerKey::sign(std::span<const std::uint8_t> message) const {
  Signature signature{};
  std::size_t size = signature.size();
  EVP_MD_CTX* const run = EVP_MD_CTX_new();
  const bool done =
      run != nullptr && EVP_DigestSignInit(run, nullptr, nullptr, nullptr, key_.get()) == 1 &&
      EVP_DigestSign(run, signature.data(), &size, message.data(), message.size()) == 1;
  EVP_MD_CTX_free(run);
  BP_CHECK(done && size == signature.size(), "Ed25519 signs");
  return signature;
}

bool verify_signature(const PublicKey& dealer, std::span<const std::uint8_t> message,
                      const Signature& signature) {
  EVP_PKEY* const key =
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, dealer.data(), dealer.size());
  EVP_MD_CTX* const run = EVP_MD_CTX_new();
  const bool valid = key != nullptr && run != nullptr &&
                     EVP_DigestVerifyInit(run, nullptr, nullptr, nullptr, key) == 1 &&
                     EVP_DigestVerify(run, signature.data(), signature.size(), message.data(),
                                      message.size()) == 1;
  EVP_MD_CTX_free(run);
  EVP_PKEY_free(key);
  if (!valid) ERR_clear_error();
  return valid;
}

}  // namespace beaverpond
