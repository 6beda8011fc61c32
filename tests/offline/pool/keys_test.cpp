// The primitives against published vectors, key files, the seal of a folder and the ratchet.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>

#include "offline/plan/file.h"
#include "offline/pool/cipher.h"
#include "offline/pool/posix_storage.h"
#include "offline/pool/ratchet.h"
#include "tests/offline/pool/memory_disk.h"
#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {
namespace {

std::vector<std::uint8_t> from_hex(const std::string& text) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

template <class Array>
Array array_from_hex(const std::string& text) {
  Array out{};
  load_bytes(from_hex(text), 0, out);
  return out;
}

SecretKey key_from_hex(const std::string& text) {
  return SecretKey(array_from_hex<std::array<std::uint8_t, 32>>(text));
}

std::vector<std::uint8_t> hmac(std::span<const std::uint8_t> key,
                               std::span<const std::uint8_t> text) {
  std::vector<std::uint8_t> out(32);
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), text.data(), text.size(), out.data(),
       &size);
  return out;
}

bool same(const SecretKey& a, const SecretKey& b) {
  return std::equal(a.bytes().begin(), a.bytes().end(), b.bytes().begin());
}

TEST(Keys, HkdfIsThatOfRfc5869) {
  const auto secret = from_hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
  const std::vector<std::uint8_t> context{1, 2};
  for (const std::string& salt_text : {std::string("000102030405"), std::string()}) {
    const auto salt = from_hex(salt_text);
    const std::vector<std::uint8_t> zeros(32);
    const auto extracted = hmac(salt.empty() ? zeros : salt, secret);
    const std::vector<std::uint8_t> info{'l', 'a', 0, 1, 2, /*block*/ 1};
    const SecretKey derived = hkdf(secret, salt, "la", context);
    EXPECT_EQ(to_hex(derived.bytes()), to_hex(hmac(extracted, info)));
  }
}

TEST(Keys, AgreementIsThatOfRfc7748) {
  const SecretKey alice =
      key_from_hex("77076d0a7318a57d3c16c17251b26645bc6f7c7b4b7f2f0c1f8d3c8f3f3b0f2a");
  const SecretKey bob =
      key_from_hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
  EXPECT_EQ(to_hex(x25519_public(bob)),
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  const auto one = x25519_agree(alice, x25519_public(bob));
  const auto two = x25519_agree(bob, x25519_public(alice));
  ASSERT_TRUE(one && two);
  EXPECT_TRUE(same(*one, *two));
  EXPECT_FALSE(x25519_agree(alice, PublicKey{}));  // a point of low order: anybody's secret
}

TEST(Keys, SignaturesAreThoseOfRfc8032) {
  const auto dealer =
      array_from_hex<PublicKey>("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  auto signature = array_from_hex<Signature>(
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9"
      "b46bd25bf5f0595bbe24655141438e7a100b");
  EXPECT_TRUE(verify_signature(dealer, {}, signature));
  signature[40] ^= 1;
  EXPECT_FALSE(verify_signature(dealer, {}, signature));
}

TEST(Keys, CipherIsAes256Gcm) {
  // NIST's case with a zero key, nonce and text.
  const WrappedKey wrapped = wrap_key(SecretKey(), WrapNonce{}, {}, SecretKey());
  EXPECT_EQ(to_hex(std::span(wrapped.bytes).first(16)), "cea7403d4d606b6e074ec5d3baf39d18");
  const std::vector<std::uint8_t> context{1};
  EXPECT_FALSE(unwrap_key(SecretKey(), WrapNonce{}, context, wrapped));
  EXPECT_TRUE(unwrap_key(SecretKey(), WrapNonce{}, {}, wrapped));
}

TEST(Keys, ChunksOpenOnlyUnderTheirNumberAndContext) {
  const SecretKey key = key_from_hex(std::string(64, '7'));
  const std::vector<std::uint8_t> text(1000, 42);
  Hash256 context{};
  ChunkCipher seal(ChunkCipher::Direction::kSeal, key, context);
  std::vector<std::uint8_t> sealed(text.size());
  seal.start(5);
  seal.update(std::span(text).first(13), sealed.data());  // pieces that fit no block
  seal.update(std::span(text).subspan(13), sealed.data() + 13);
  const CipherTag tag = seal.finish();
  EXPECT_NE(sealed, text);
  const auto open = [&](std::uint64_t number, const Hash256& with, std::vector<std::uint8_t> bytes,
                        const CipherTag& given) {
    ChunkCipher cipher(ChunkCipher::Direction::kOpen, key, with);
    const bool opened = cipher.open(number, bytes, given);
    if (opened) {
      EXPECT_EQ(bytes, text);
    } else {
      EXPECT_EQ(bytes, std::vector<std::uint8_t>(text.size()));  // nothing unverified is left
    }
    return opened;
  };
  EXPECT_TRUE(open(5, context, sealed, tag));
  EXPECT_FALSE(open(6, context, sealed, tag));
  CipherTag other_tag = tag;
  other_tag[0] ^= 1;
  EXPECT_FALSE(open(5, context, sealed, other_tag));
  context[31] ^= 1;
  EXPECT_FALSE(open(5, context, sealed, tag));
}

TEST(Keys, DealerKeyFilesAreReadBackAndGuarded) {
  std::string folder = std::filesystem::temp_directory_path() / "beaverpond-dealer-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/dealer.pem";
  const DealerKey key = DealerKey::generate().value();
  EXPECT_NE(DealerKey::read(path).error().message.find("triple-factory keygen"), std::string::npos);
  ASSERT_TRUE(key.write_new(path).ok());
  EXPECT_EQ(DealerKey::generate()->write_new(path).error().code, ErrorCode::kConfig);
  EXPECT_EQ(DealerKey::read(path)->public_key(), key.public_key());
  ASSERT_EQ(::chmod(path.c_str(), 0440), 0);
  EXPECT_NE(DealerKey::read(path).error().message.find("chmod 0400"), std::string::npos);
  ASSERT_TRUE(replace_file(path, "no key", 0400).ok());
  EXPECT_EQ(DealerKey::read(path).error().code, ErrorCode::kConfig);
  std::filesystem::remove_all(folder);
}

class PoolKeyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    site_.storage = &disk_;
    site_.make_machines();
  }
  void expect_refused(const PoolOptions& options, ErrorCode code, const std::string& words) {
    const auto pool = Pool::open(options);
    ASSERT_FALSE(pool.ok());
    EXPECT_EQ(pool.error().code, code) << pool.error().message;
    EXPECT_NE(pool.error().message.find(words), std::string::npos) << pool.error().message;
  }

  MemoryDisk disk_;
  TestSite site_;
};

TEST_F(PoolKeyTest, MissingDamagedOrReadableKeyFilesAreRefused) {
  const PoolOptions options = site_.pool_options(0);
  const std::string path = pool_key_path(options.directory);
  for (const std::uint32_t mode : {0440u, 0600u, 0404u, 0777u, 0500u}) {
    disk_.set_file_mode(mode);
    expect_refused(options, ErrorCode::kConfig, "chmod 0400");
  }
  disk_.set_file_mode(0400);
  auto& bytes = disk_.content(path);
  const auto good = bytes;
  for (std::size_t i = 0; i < good.size(); ++i) {
    bytes[i] ^= 4;
    expect_refused(options, ErrorCode::kConfig, "is damaged");
    bytes = good;
  }
  for (std::size_t size = 0; size < good.size(); ++size) {
    bytes.resize(size);
    expect_refused(options, ErrorCode::kConfig, "is damaged");
    bytes = good;
  }
  ASSERT_TRUE(disk_.unlink(path).ok());
  expect_refused(options, ErrorCode::kConfig, "is missing");
}

TEST_F(PoolKeyTest, KeyFileOfAnotherPlayerIsRefused) {
  PoolOptions options = site_.pool_options(0);
  options.key_path = pool_key_path(site_.directory(1));
  expect_refused(options, ErrorCode::kRosterMismatch, "the roster names");
  { ASSERT_TRUE(Pool::open(site_.pool_options(0)).ok()); }
  options.pool_key = test_pool_key(1);  // a roster that agrees: the folder does not
  expect_refused(options, ErrorCode::kRosterMismatch, "filled under another key file");
}

TEST_F(PoolKeyTest, CopiedPoolIsRefused) {
  { ASSERT_TRUE(Pool::open(site_.pool_options(0)).ok()); }
  PoolOptions copy = site_.pool_options(0);
  copy.directory = "/m0/copy";
  ASSERT_TRUE(disk_.make_directory(copy.directory).ok());
  for (const char* name : {"/pool", "/seal"}) {
    const auto content = disk_.content(site_.directory(0) + name);
    auto file = disk_.open(copy.directory + name, Storage::Mode::kCreateNew);
    ASSERT_TRUE(file.ok() && (*file)->write_at(0, content).ok());
  }
  copy.key_path = pool_key_path(site_.directory(0));
  expect_refused(copy, ErrorCode::kRosterMismatch, "is a copy of another");
  auto& seal = disk_.content(site_.directory(0) + "/seal");
  seal[20] ^= 1;
  expect_refused(site_.pool_options(0), ErrorCode::kPoolCorrupt, "seal");
}

TEST(FolderBirth, CopiesDifferAndRenamedFoldersDoNot) {
  std::string folder = std::filesystem::temp_directory_path() / "beaverpond-birth-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  PosixStorage storage;
  ASSERT_TRUE(storage.make_directory(folder + "/a").ok());
  const FolderBirth born = storage.folder_birth(folder + "/a").value();
  std::filesystem::copy(folder + "/a", folder + "/b", std::filesystem::copy_options::recursive);
  EXPECT_NE(storage.folder_birth(folder + "/b").value(), born);
  std::filesystem::rename(folder + "/a", folder + "/c");
  EXPECT_EQ(storage.folder_birth(folder + "/c").value(), born);
  // Deleted and restored: even where the inode is given out again, the time of birth is new.
  std::filesystem::remove_all(folder + "/c");
  ASSERT_TRUE(storage.make_directory(folder + "/c").ok());
  EXPECT_NE(storage.folder_birth(folder + "/c").value(), born);
  std::filesystem::remove_all(folder);
}

TEST(NetworkFileSystems, AreNamed) {
  EXPECT_STREQ(network_file_system(0x6969), "NFS");
  EXPECT_STREQ(network_file_system(0xff534d42), "SMB");
  EXPECT_STREQ(network_file_system(0x65735546), "FUSE");
  for (const std::uint32_t local : {0xef53u, 0x58465342u, 0x01021994u, 0x9123683eu, 0x794c7630u}) {
    EXPECT_EQ(network_file_system(local), nullptr) << local;
  }
}

struct RatchetSite {
  MemoryDisk disk;
  PoolKey key = [this] {
    EXPECT_TRUE(disk.make_directory("/m0").ok());
    EXPECT_TRUE(write_test_key(disk, "/m0/pool.key", 0).ok());
    return PoolKey::read(disk, "/m0/pool.key").value();
  }();
  PoolIdentity identity = test_identity(0, 2);

  Result<LaneRatchet> open() { return LaneRatchet::open(disk, "/m0", identity, test_key(), key); }
};

TEST(Ratchet, StepsForwardAndNeverBack) {
  RatchetSite site;
  auto ratchet = site.open();
  ASSERT_TRUE(ratchet.ok()) << ratchet.error().message;
  const SecretKey third = ratchet->key_at(3).value();
  EXPECT_FALSE(same(third, ratchet->key_at(2).value()));
  const std::vector<std::uint8_t> before = site.disk.content("/m0/keys");
  ASSERT_TRUE(ratchet->erase_below_blocking(3).ok());
  EXPECT_TRUE(same(third, ratchet->key_at(3).value()));
  EXPECT_EQ(ratchet->key_at(2).error().code, ErrorCode::kPoolCorrupt);
  EXPECT_EQ(ratchet->key_at(3 + LaneRatchet::kMaxSteps + 1).error().code, ErrorCode::kPoolCorrupt);
  // Neither slot holds what it held.
  const std::vector<std::uint8_t>& after = site.disk.content("/m0/keys");
  for (const std::size_t slot : {std::size_t{0}, kBlockSize}) {
    EXPECT_FALSE(std::equal(before.begin() + 96, before.begin() + 156,
                            after.begin() + 96 + static_cast<std::ptrdiff_t>(slot)));
  }
  auto again = site.open();
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->base(), 3u);
  EXPECT_TRUE(same(third, again->key_at(3).value()));
}

TEST(Ratchet, CrashAtAnyOperationOfAStepKeepsWhatIsNeeded) {
  for (const Loss loss : {Loss::kDropAll, Loss::kTornSectors}) {
    bool finished = false;
    for (std::uint64_t n = 0; !finished; ++n) {
      ASSERT_LT(n, 20u);
      RatchetSite site;
      SecretKey needed;
      {
        auto ratchet = site.open();
        ASSERT_TRUE(ratchet->erase_below_blocking(1).ok());
        needed = ratchet->key_at(2).value();
        site.disk.stop_after("/m0", n);
        finished = ratchet->erase_below_blocking(2).ok();
        if (!finished) {
          EXPECT_EQ(ratchet->erase_below_blocking(2).error().code, ErrorCode::kIo) << "no retry";
        }
      }
      site.disk.crash("/m0", loss, n + 1);
      auto ratchet = site.open();
      ASSERT_TRUE(ratchet.ok()) << ratchet.error().message;
      EXPECT_TRUE(ratchet->base() == 1 || ratchet->base() == 2);
      EXPECT_TRUE(same(needed, ratchet->key_at(2).value()));
      const std::vector<std::uint8_t>& bytes = site.disk.content("/m0/keys");
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.begin() + kBlockSize, bytes.begin() + kBlockSize))
          << "opening completes the step";
      if (finished) {
        EXPECT_EQ(ratchet->base(), 2u);
      }
    }
  }
}

TEST(Ratchet, OneDamagedSlotIsHealedAndTwoAreAnError) {
  RatchetSite site;
  { ASSERT_TRUE(site.open()->erase_below_blocking(1).ok()); }
  std::vector<std::uint8_t>& bytes = site.disk.content("/m0/keys");
  const auto good = bytes;
  for (const std::size_t at : {100u, 4096u + 100u}) {
    bytes[at] ^= 1;
    ASSERT_TRUE(site.open().ok());
    EXPECT_EQ(bytes, good);
  }
  bytes[100] ^= 1;
  bytes[4096 + 100] ^= 1;
  EXPECT_EQ(site.open().error().code, ErrorCode::kPoolCorrupt);
  bytes = good;
  site.identity.player = 1;
  EXPECT_EQ(site.open().error().code, ErrorCode::kRosterMismatch);
}

}  // namespace
}  // namespace beaverpond::testing
