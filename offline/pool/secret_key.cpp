#include "offline/pool/secret_key.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "beaverpond/check.h"
#include "offline/plan/openssl_free.h"

namespace beaverpond {
namespace {

using Key = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;

/// Pages that hold nothing but keys. Never given back: they are few, and reused.
class KeyArena {
 public:
  std::uint8_t* take() {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (free_.empty()) add_page();
    std::uint8_t* const slot = free_.back();
    free_.pop_back();
    return slot;
  }

  void give_back(std::uint8_t* slot) {
    OPENSSL_cleanse(slot, SecretKey::kSize);
    const std::lock_guard<std::mutex> guard(mutex_);
    free_.push_back(slot);
  }

  bool locked() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return locked_;
  }

 private:
  static constexpr std::size_t kPageSize = 4096;

  void add_page() {
    free_.reserve(free_.capacity() + kPageSize / SecretKey::kSize);  // give_back() cannot throw
    void* const page =
        ::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) throw std::bad_alloc();
    if (::mlock(page, kPageSize) != 0) locked_ = false;
    ::madvise(page, kPageSize, MADV_DONTDUMP);
    for (std::size_t at = 0; at < kPageSize; at += SecretKey::kSize) {
      free_.push_back(static_cast<std::uint8_t*>(page) + at);
    }
  }

  std::mutex mutex_;
  std::vector<std::uint8_t*> free_;
  bool locked_ = true;
};

KeyArena& arena() {
  static KeyArena* const kArena = new KeyArena;  // outlives every static that holds a key
  return *kArena;
}

}  // namespace

SecretKey::SecretKey() : slot_(arena().take()) {
  std::fill_n(slot_, kSize, std::uint8_t{0});
}

SecretKey::SecretKey(std::span<const std::uint8_t, kSize> bytes) : slot_(arena().take()) {
  std::copy(bytes.begin(), bytes.end(), slot_);
}

SecretKey::SecretKey(SecretKey&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}

SecretKey& SecretKey::operator=(SecretKey&& other) noexcept {
  std::swap(slot_, other.slot_);
  return *this;
}

SecretKey::~SecretKey() {
  if (slot_ != nullptr) arena().give_back(slot_);
}

std::span<const std::uint8_t, SecretKey::kSize> SecretKey::bytes() const {
  BP_CHECK(slot_ != nullptr, "a key that was moved away");
  return std::span<const std::uint8_t, kSize>(slot_, kSize);
}

std::span<std::uint8_t, SecretKey::kSize> SecretKey::mutable_bytes() {
  BP_CHECK(slot_ != nullptr, "a key that was moved away");
  return std::span<std::uint8_t, kSize>(slot_, kSize);
}

bool key_memory_is_locked() {
  const SecretKey first;  // before any other, so that there is a page to ask about
  return arena().locked();
}

SecretKey hkdf(std::span<const std::uint8_t> secret, std::span<const std::uint8_t> salt,
               std::string_view label, std::span<const std::uint8_t> context) {
  static EVP_KDF* const kHkdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  const std::unique_ptr<EVP_KDF_CTX, OpensslFree<EVP_KDF_CTX_free>> run(EVP_KDF_CTX_new(kHkdf));
  std::vector<std::uint8_t> info(label.begin(), label.end());
  info.push_back(0);
  info.insert(info.end(), context.begin(), context.end());
  char digest[] = "SHA256";
  const auto octets = [](const char* name, std::span<const std::uint8_t> bytes) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<std::uint8_t*>(bytes.data()),
                                             bytes.size());
  };
  std::vector<OSSL_PARAM> parameters = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      octets(OSSL_KDF_PARAM_KEY, secret), octets(OSSL_KDF_PARAM_INFO, info)};
  // OpenSSL refuses an empty one, and takes none for zeros, as RFC 5869 wants.
  if (!salt.empty()) parameters.push_back(octets(OSSL_KDF_PARAM_SALT, salt));
  parameters.push_back(OSSL_PARAM_construct_end());
  SecretKey key;
  const std::span<std::uint8_t> out = key.mutable_bytes();
  BP_CHECK(
      run != nullptr && EVP_KDF_derive(run.get(), out.data(), out.size(), parameters.data()) == 1,
      "HKDF is always available");
  return key;
}

PublicKey x25519_public(const SecretKey& key) {
  const auto bytes = key.bytes();
  const Key pair(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, bytes.data(), 32));
  PublicKey out{};
  std::size_t size = out.size();
  BP_CHECK(pair != nullptr && EVP_PKEY_get_raw_public_key(pair.get(), out.data(), &size) == 1 &&
               size == out.size(),
           "X25519 is always available");
  return out;
}

std::optional<SecretKey> x25519_agree(const SecretKey& key, const PublicKey& peer) {
  const auto bytes = key.bytes();
  const Key mine(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, bytes.data(), 32));
  const Key theirs(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, peer.data(), 32));
  const std::unique_ptr<EVP_PKEY_CTX, OpensslFree<EVP_PKEY_CTX_free>> run(
      EVP_PKEY_CTX_new(mine.get(), nullptr));
  SecretKey shared;
  std::size_t size = SecretKey::kSize;
  const bool agreed = run != nullptr && theirs != nullptr && EVP_PKEY_derive_init(run.get()) == 1 &&
                      EVP_PKEY_derive_set_peer(run.get(), theirs.get()) == 1 &&
                      EVP_PKEY_derive(run.get(), shared.mutable_bytes().data(), &size) == 1;
  if (!agreed || size != SecretKey::kSize) return std::nullopt;
  return shared;
}

}  // namespace beaverpond
