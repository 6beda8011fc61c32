#include "online/transport/aead.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

#include "beaverpond/result.h"

#ifdef BEAVERPOND_IPSEC_MB
#include <dlfcn.h>
#include <intel-ipsec-mb.h>
#endif

namespace beaverpond {

namespace {

class OpensslAead final : public RecordAead {
 public:
  explicit OpensslAead(const AeadKey& key)
      : sealing_(EVP_CIPHER_CTX_new()), opening_(EVP_CIPHER_CTX_new()) {
    const EVP_CIPHER* cipher = EVP_aes_128_gcm();
    const bool made = sealing_ != nullptr && opening_ != nullptr &&
                      EVP_EncryptInit_ex(sealing_, cipher, nullptr, key.data(), nullptr) == 1 &&
                      EVP_DecryptInit_ex(opening_, cipher, nullptr, key.data(), nullptr) == 1;
    BP_CHECK(made, "OpenSSL has AES-128-GCM");
  }
  ~OpensslAead() override {  // OpenSSL wipes the keys
    EVP_CIPHER_CTX_free(sealing_);
    EVP_CIPHER_CTX_free(opening_);
  }
  OpensslAead(const OpensslAead&) = delete;             // owns OpenSSL's contexts
  OpensslAead& operator=(const OpensslAead&) = delete;  // owns OpenSSL's contexts

  void seal(std::span<const std::uint8_t, kAeadNonceBytes> nonce,
            std::span<const std::uint8_t> header, std::span<const std::uint8_t> content,
            std::uint8_t type, std::uint8_t* out) override {
    int size = 0;
    std::uint8_t* const end = out + content.size();
    const bool sealed =
        EVP_EncryptInit_ex(sealing_, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
        EVP_EncryptUpdate(sealing_, nullptr, &size, header.data(), size_of(header)) == 1 &&
        EVP_EncryptUpdate(sealing_, out, &size, content.data(), size_of(content)) == 1 &&
        EVP_EncryptUpdate(sealing_, end, &size, &type, 1) == 1 &&
        EVP_EncryptFinal_ex(sealing_, end + 1, &size) == 1 &&
        EVP_CIPHER_CTX_ctrl(sealing_, EVP_CTRL_AEAD_GET_TAG, kAeadTagBytes, end + 1) == 1;
    BP_CHECK(sealed, "AES-128-GCM of a record");
  }

  bool open(std::span<const std::uint8_t, kAeadNonceBytes> nonce,
            std::span<const std::uint8_t> header, std::span<const std::uint8_t> sealed,
            std::span<std::uint8_t> content, std::uint8_t& type) override {
    BP_CHECK(sealed.size() == content.size() + 1 + kAeadTagBytes, "sizes of a record");
    int size = 0;
    std::array<std::uint8_t, kAeadTagBytes> tag;
    std::copy(sealed.end() - kAeadTagBytes, sealed.end(), tag.begin());
    const std::uint8_t* const end = sealed.data() + content.size();
    std::uint8_t nothing = 0;
    return EVP_DecryptInit_ex(opening_, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
           EVP_DecryptUpdate(opening_, nullptr, &size, header.data(), size_of(header)) == 1 &&
           EVP_DecryptUpdate(opening_, content.data(), &size, sealed.data(), size_of(content)) ==
               1 &&
           EVP_DecryptUpdate(opening_, &type, &size, end, 1) == 1 &&
           EVP_CIPHER_CTX_ctrl(opening_, EVP_CTRL_AEAD_SET_TAG, kAeadTagBytes, tag.data()) == 1 &&
           EVP_DecryptFinal_ex(opening_, &nothing, &size) == 1;
  }

 private:
  static int size_of(std::span<const std::uint8_t> bytes) { return static_cast<int>(bytes.size()); }

  EVP_CIPHER_CTX* sealing_;
  EVP_CIPHER_CTX* opening_;
};

#ifdef BEAVERPOND_IPSEC_MB

template <class Function>
Function* symbol(void* library, const char* name) {
  return reinterpret_cast<Function*>(::dlsym(library, name));
}

/// Loaded when the first connection asks, so that programs start without it; another version's
/// table of functions may lie otherwise.
IMB_MGR* load_manager() {
  void* const library = ::dlopen("libIPSec_MB.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  const auto version = symbol<decltype(imb_get_version)>(library, "imb_get_version");
  const auto allocate = symbol<decltype(alloc_mb_mgr)>(library, "alloc_mb_mgr");
  const auto initialise = symbol<decltype(init_mb_mgr_auto)>(library, "init_mb_mgr_auto");
  const auto error_of = symbol<decltype(imb_get_errno)>(library, "imb_get_errno");
  if (version == nullptr || allocate == nullptr || initialise == nullptr || error_of == nullptr ||
      version() != IMB_VERSION_NUM) {
    return nullptr;
  }
  IMB_MGR* const manager = allocate(0);
  if (manager == nullptr) return nullptr;
  initialise(manager, nullptr);
  constexpr std::uint64_t kWanted =
      IMB_FEATURE_AVX512_SKX | IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ;
  const bool gains = error_of(manager) == 0 && (manager->features & kWanted) == kWanted;
  return gains ? manager : nullptr;
}

/// Null where this CPU gains nothing. One for the process: only its table of functions is used.
IMB_MGR* manager() {
  static IMB_MGR* const made = load_manager();
  return made;
}

class IpsecMbAead final : public RecordAead {
 public:
  explicit IpsecMbAead(const AeadKey& key) { IMB_AES128_GCM_PRE(manager(), key.data(), &key_); }
  ~IpsecMbAead() override {
    OPENSSL_cleanse(&key_, sizeof key_);
    OPENSSL_cleanse(&state_, sizeof state_);
  }
  IpsecMbAead(const IpsecMbAead&) = delete;             // holds a key
  IpsecMbAead& operator=(const IpsecMbAead&) = delete;  // holds a key

  void seal(std::span<const std::uint8_t, kAeadNonceBytes> nonce,
            std::span<const std::uint8_t> header, std::span<const std::uint8_t> content,
            std::uint8_t type, std::uint8_t* out) override {
    std::uint8_t* const end = out + content.size();
    IMB_AES128_GCM_INIT(manager(), &key_, &state_, nonce.data(), header.data(), header.size());
    if (!content.empty()) {
      IMB_AES128_GCM_ENC_UPDATE(manager(), &key_, &state_, out, content.data(), content.size());
    }
    IMB_AES128_GCM_ENC_UPDATE(manager(), &key_, &state_, end, &type, 1);
    IMB_AES128_GCM_ENC_FINALIZE(manager(), &key_, &state_, end + 1, kAeadTagBytes);
  }

  bool open(std::span<const std::uint8_t, kAeadNonceBytes> nonce,
            std::span<const std::uint8_t> header, std::span<const std::uint8_t> sealed,
            std::span<std::uint8_t> content, std::uint8_t& type) override {
    BP_CHECK(sealed.size() == content.size() + 1 + kAeadTagBytes, "sizes of a record");
    std::array<std::uint8_t, kAeadTagBytes> tag;
    const std::uint8_t* const end = sealed.data() + content.size();
    IMB_AES128_GCM_INIT(manager(), &key_, &state_, nonce.data(), header.data(), header.size());
    if (!content.empty()) {
      IMB_AES128_GCM_DEC_UPDATE(manager(), &key_, &state_, content.data(), sealed.data(),
                                content.size());
    }
    IMB_AES128_GCM_DEC_UPDATE(manager(), &key_, &state_, &type, end, 1);
    IMB_AES128_GCM_DEC_FINALIZE(manager(), &key_, &state_, tag.data(), kAeadTagBytes);
    return CRYPTO_memcmp(tag.data(), end + 1, kAeadTagBytes) == 0;
  }

 private:
  alignas(64) gcm_key_data key_;  // Debian's header leaves the alignment out
  alignas(64) gcm_context_data state_;
};

#endif

}  // namespace

std::unique_ptr<RecordAead> make_openssl_record_aead(const AeadKey& key) {
  return std::make_unique<OpensslAead>(key);
}

std::unique_ptr<RecordAead> make_record_aead(const AeadKey& key) {
#ifdef BEAVERPOND_IPSEC_MB
  if (manager() != nullptr) return std::make_unique<IpsecMbAead>(key);
#endif
  return make_openssl_record_aead(key);
}

const char* record_aead_name() {
#ifdef BEAVERPOND_IPSEC_MB
  if (manager() != nullptr) return "libIPSec_MB";
#endif
  return "OpenSSL";
}

}  // namespace beaverpond
