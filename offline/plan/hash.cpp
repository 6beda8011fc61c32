#include "offline/plan/hash.h"

#include <openssl/evp.h>

#include "beaverpond/check.h"

namespace beaverpond {

Hash256 sha256(std::span<const std::uint8_t> bytes) {
  Hash256 hash{};
  unsigned int size = 0;
  const int ok = EVP_Digest(bytes.data(), bytes.size(), hash.data(), &size, EVP_sha256(), nullptr);
  BP_CHECK(ok == 1 && size == hash.size(), "SHA-256 is always available");
  return hash;
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

}  // namespace beaverpond
