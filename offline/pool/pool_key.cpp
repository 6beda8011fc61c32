#include "offline/pool/pool_key.h"

#include <openssl/crypto.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "offline/plan/file.h"
#include "offline/pool/block.h"
#include "offline/pool/posix_storage.h"
#include "offline/pool/random.h"

namespace beaverpond {
namespace {

// The tables of offline/pool/README.md, "Key file" and "Seal".
constexpr char kKeyMagic[9] = "BPPKEY01";
constexpr std::size_t kSecretAt = 8;
constexpr std::size_t kKeyHashAt = kSecretAt + SecretKey::kSize;
constexpr std::size_t kKeyFileSize = kKeyHashAt + sizeof(Hash256);
static_assert(kKeyFileSize == 72);

constexpr char kSealMagic[9] = "BPSEAL01";
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kPublicAt = 16;
constexpr std::size_t kBirthAt = 48;
static_assert(kPublicAt + sizeof(PublicKey) == kBirthAt);

Error unusable(const std::string& path, const std::string& why) {
  return make_error(ErrorCode::kConfig, "the pool's key file " + path + " " + why);
}

Block encode_seal(const PublicKey& key, const FolderBirth& birth) {
  Block block{};
  store_bytes(block, 0, {reinterpret_cast<const std::uint8_t*>(kSealMagic), 8});
  store_le(block, kVersionAt, 1, 2);
  store_bytes(block, kPublicAt, key);
  store_bytes(block, kBirthAt, birth);
  seal_block(block);
  return block;
}

}  // namespace

std::string pool_key_path(const std::string& directory) {
  std::string trimmed = directory;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  return trimmed + ".key";
}

PoolKey::PoolKey(SecretKey secret)
    : secret_(std::move(secret)),
      agreement_(hkdf(secret_.bytes(), {}, "beaverpond pool agreement v1")),
      public_key_(x25519_public(agreement_)) {}

Result<PoolKey> PoolKey::read(Storage& storage, const std::string& path) {
  BP_ASSIGN(const bool present, storage.exists(path));
  if (!present) {
    return unusable(path,
                    "is missing, and no segment can be opened without it; restore it from a "
                    "backup, or make a new one with `beaverpond keygen` for a new "
                    "membership epoch");
  }
  BP_ASSIGN(const std::uint32_t mode, storage.file_mode(path));
  if ((mode & 0377) != 0) {
    return unusable(path,
                    "has a mode other than 0400: it opens every bundle of this player; run "
                    "chmod 0400 on it");
  }
  BP_ASSIGN(const auto file, storage.open(path, Storage::Mode::kRead));
  std::array<std::uint8_t, kKeyFileSize + 1> bytes{};
  BP_ASSIGN(const std::size_t size, file->read_at(0, bytes));
  const Hash256 hash = sha256(std::span(bytes).first(kKeyHashAt));
  const bool whole = size == kKeyFileSize && std::memcmp(bytes.data(), kKeyMagic, 8) == 0 &&
                     std::equal(hash.begin(), hash.end(), bytes.begin() + kKeyHashAt);
  SecretKey secret;
  load_bytes(bytes, kSecretAt, secret.mutable_bytes());
  OPENSSL_cleanse(bytes.data(), bytes.size());
  if (!whole) return unusable(path, "is damaged; restore it from a backup");
  return PoolKey(std::move(secret));
}

SecretKey PoolKey::ratchet_key(std::span<const std::uint8_t> context) const {
  return hkdf(secret_.bytes(), {}, "beaverpond ratchet wrap v1", context);
}

SecretKey PoolKey::checkpoint_key(std::span<const std::uint8_t> salt) const {
  return hkdf(secret_.bytes(), salt, "beaverpond checkpoint v1");
}

Hash256 PoolKey::checkpoint_mark(const Hash256& data) const {
  const SecretKey derived = hkdf(secret_.bytes(), {}, "beaverpond checkpoint data v1", data);
  Hash256 mark{};
  std::copy_n(derived.bytes().begin(), mark.size(), mark.begin());
  return mark;
}

std::vector<std::uint8_t> encode_pool_key(std::span<const std::uint8_t, SecretKey::kSize> secret) {
  std::vector<std::uint8_t> bytes(kKeyFileSize);
  store_bytes(bytes, 0, {reinterpret_cast<const std::uint8_t*>(kKeyMagic), 8});
  store_bytes(bytes, kSecretAt, secret);
  store_bytes(bytes, kKeyHashAt, sha256(std::span(bytes).first(kKeyHashAt)));
  return bytes;
}

PublicKey public_key_of(std::span<const std::uint8_t, SecretKey::kSize> secret) {
  return x25519_public(hkdf(secret, {}, "beaverpond pool agreement v1"));
}

Result<PublicKey> create_pool_key(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    SecretKey secret;
    BP_TRY(fill_random_blocking(secret.mutable_bytes()));
    std::vector<std::uint8_t> bytes = encode_pool_key(secret.bytes());
    const auto written =
        replace_file(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, 0400);
    OPENSSL_cleanse(bytes.data(), bytes.size());
    BP_TRY(written);
  }
  PosixStorage storage;
  BP_ASSIGN(const PoolKey key, PoolKey::read(storage, path));
  return key.public_key();
}

Result<void> check_seal(Storage& storage, const std::string& directory, const PoolKey& key) {
  const std::string path = directory + "/seal";
  BP_ASSIGN(const FolderBirth birth, storage.folder_birth(directory));
  const Block expected = encode_seal(key.public_key(), birth);
  BP_ASSIGN(const bool present, storage.exists(path));
  if (!present) BP_TRY(create_file_atomically(storage, path, path + kTemporarySuffix, expected));
  BP_ASSIGN(const auto file, storage.open(path, Storage::Mode::kRead));
  Block block{};
  BP_ASSIGN(const std::size_t size, file->read_at(0, block));
  if (size == block.size() && block == expected) return {};
  if (size != block.size() || std::memcmp(block.data(), kSealMagic, 8) != 0 || !is_sealed(block)) {
    return make_error(ErrorCode::kPoolCorrupt,
                      "the seal " + path +
                          " is damaged; restore the file, or start an empty pool "
                          "folder with a new membership epoch");
  }
  const bool same_key = std::equal(expected.begin() + kPublicAt, expected.begin() + kBirthAt,
                                   block.begin() + kPublicAt);
  return make_error(
      ErrorCode::kRosterMismatch,
      same_key ? "the pool folder " + directory +
                     " is a copy of another: two copies would spend the same bundles twice; use "
                     "the original, or start a new membership epoch with an empty folder"
               : "the pool folder " + directory +
                     " was filled under another key file; put the right key file beside it, or "
                     "start a new membership epoch with an empty folder");
}

}  // namespace beaverpond
