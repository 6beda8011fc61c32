#include "offline/pool/cipher.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "beaverpond/check.h"

namespace beaverpond {
namespace {

constexpr int kTagSize = static_cast<int>(sizeof(CipherTag));

const EVP_CIPHER* aes_256_gcm() {
  static EVP_CIPHER* const kCipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return kCipher;
}

int length_of(std::span<const std::uint8_t> bytes) {
  BP_CHECK(bytes.size() <= (1u << 30), "one call of the cipher takes an int");
  return static_cast<int>(bytes.size());
}

}  // namespace

void ChunkCipher::Release::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);  // wipes the expanded key
}

ChunkCipher::ChunkCipher(Direction direction, const SecretKey& key, const Hash256& context)
    : cipher_(EVP_CIPHER_CTX_new()), context_(context) {
  BP_CHECK(cipher_ != nullptr &&
               EVP_CipherInit_ex(cipher_.get(), aes_256_gcm(), nullptr, key.bytes().data(), nullptr,
                                 direction == Direction::kSeal ? 1 : 0) == 1,
           "AES-256-GCM is always available");
}

void ChunkCipher::start(std::uint64_t number) {
  WrapNonce nonce{};
  for (std::size_t i = 0; i < 8; ++i) nonce[i] = static_cast<std::uint8_t>(number >> (8 * i));
  int done = 0;
  BP_CHECK(EVP_CipherInit_ex(cipher_.get(), nullptr, nullptr, nullptr, nonce.data(), -1) == 1 &&
               EVP_CipherUpdate(cipher_.get(), nullptr, &done, context_.data(), kTagSize * 2) == 1,
           "a chunk is started");
}

void ChunkCipher::update(std::span<const std::uint8_t> in, std::uint8_t* out) {
  int done = 0;
  if (in.empty()) return;
  BP_CHECK(EVP_CipherUpdate(cipher_.get(), out, &done, in.data(), length_of(in)) == 1 &&
               done == length_of(in),
           "GCM gives a byte for a byte");
}

CipherTag ChunkCipher::finish() {
  CipherTag tag{};
  std::uint8_t none[16];
  int done = 0;
  BP_CHECK(EVP_CipherFinal_ex(cipher_.get(), none, &done) == 1 && done == 0 &&
               EVP_CIPHER_CTX_ctrl(cipher_.get(), EVP_CTRL_AEAD_GET_TAG, kTagSize, tag.data()) == 1,
           "a chunk is finished");
  return tag;
}

bool ChunkCipher::open(std::uint64_t number, std::span<std::uint8_t> bytes,
                       std::span<const std::uint8_t, 16> tag) {
  start(number);
  update(bytes, bytes.data());
  CipherTag expected{};
  std::copy(tag.begin(), tag.end(), expected.begin());
  std::uint8_t none[16];
  int done = 0;
  if (EVP_CIPHER_CTX_ctrl(cipher_.get(), EVP_CTRL_AEAD_SET_TAG, kTagSize, expected.data()) == 1 &&
      EVP_CipherFinal_ex(cipher_.get(), none, &done) == 1) {
    return true;
  }
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return false;
}

WrappedKey wrap_key(const SecretKey& wrapping, const WrapNonce& nonce,
                    std::span<const std::uint8_t> context, const SecretKey& key) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> cipher(EVP_CIPHER_CTX_new(),
                                                                               EVP_CIPHER_CTX_free);
  WrappedKey wrapped;
  std::uint8_t none[16];
  int done = 0;
  BP_CHECK(cipher != nullptr &&
               EVP_EncryptInit_ex(cipher.get(), aes_256_gcm(), nullptr, wrapping.bytes().data(),
                                  nonce.data()) == 1 &&
               EVP_EncryptUpdate(cipher.get(), nullptr, &done, context.data(),
                                 length_of(context)) == 1 &&
               EVP_EncryptUpdate(cipher.get(), wrapped.bytes.data(), &done, key.bytes().data(),
                                 32) == 1 &&
               EVP_EncryptFinal_ex(cipher.get(), none, &done) == 1 &&
               EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, kTagSize,
                                   wrapped.tag.data()) == 1,
           "a key is wrapped");
  return wrapped;
}

std::optional<SecretKey> unwrap_key(const SecretKey& wrapping, const WrapNonce& nonce,
                                    std::span<const std::uint8_t> context,
                                    const WrappedKey& wrapped) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> cipher(EVP_CIPHER_CTX_new(),
                                                                               EVP_CIPHER_CTX_free);
  SecretKey key;
  CipherTag tag = wrapped.tag;
  std::uint8_t none[16];
  int done = 0;
  const bool opened =
      cipher != nullptr &&
      EVP_DecryptInit_ex(cipher.get(), aes_256_gcm(), nullptr, wrapping.bytes().data(),
                         nonce.data()) == 1 &&
      EVP_DecryptUpdate(cipher.get(), nullptr, &done, context.data(), length_of(context)) == 1 &&
      EVP_DecryptUpdate(cipher.get(), key.mutable_bytes().data(), &done, wrapped.bytes.data(),
                        32) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_SET_TAG, kTagSize, tag.data()) == 1 &&
      EVP_DecryptFinal_ex(cipher.get(), none, &done) == 1;
  if (!opened) return std::nullopt;
  return key;
}

}  // namespace beaverpond
