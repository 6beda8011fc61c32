#include "online/session/identity.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>

#include "beaverpond/check.h"
#include "offline/plan/file.h"
#include "offline/pool/dealer_key.h"
#include "offline/pool/pool_key.h"
#include "offline/pool/posix_storage.h"

namespace beaverpond {
namespace {

class IdentityTest : public ::testing::Test {
 protected:
  IdentityTest() {
    folder_ = std::filesystem::temp_directory_path() / "beaverpond-XXXXXX";
    BP_CHECK(::mkdtemp(folder_.data()) != nullptr, "no temporary folder");
  }
  ~IdentityTest() override { std::filesystem::remove_all(folder_); }

  static unsigned mode(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
  }

  std::string folder_;
};

TEST_F(IdentityTest, AHomeHasAKeyThatOnlyItsOwnerReads) {
  const Home home{folder_ + "/a/home"};
  const Result<PublicIdentity> made = generate_identity(home, "hospital-a");
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(mode(home.key_path()), 0400u);
  EXPECT_EQ(mode(home.pool_path()), 0700u);
  EXPECT_EQ(mode(home.directory), 0700u);
  const Result<Hash256> fingerprint = certificate_fingerprint(home.certificate_path());
  ASSERT_TRUE(fingerprint.ok());
  EXPECT_EQ(*fingerprint, made->certificate);
  EXPECT_EQ(mode(home.pool_key_path()), 0400u);
  PosixStorage storage;
  const Result<PoolKey> pool_key = PoolKey::read(storage, home.pool_key_path());
  ASSERT_TRUE(pool_key.ok()) << pool_key.error().message;
  EXPECT_EQ(pool_key->public_key(), made->pool_key);
}

TEST_F(IdentityTest, NamesAreThoseARosterTakes) {
  for (const std::string& name : {std::string(), std::string(65, 'a'), std::string("a\"b"),
                                  std::string("a\nb"), std::string("a b")}) {
    const Result<PublicIdentity> refused = generate_identity({folder_ + "/named"}, name);
    ASSERT_FALSE(refused.ok()) << name;
    EXPECT_EQ(refused.error().code, ErrorCode::kConfig);
    EXPECT_FALSE(std::filesystem::exists(folder_ + "/named"));
  }
  EXPECT_TRUE(generate_identity({folder_ + "/named"}, std::string(61, 'a') + "._-").ok());
}

TEST_F(IdentityTest, AKeyIsNeverReplaced) {
  const Home home{folder_ + "/home"};
  ASSERT_TRUE(generate_identity(home, "a").ok());
  const std::string before = *read_small_file(home.key_path());
  const Result<PublicIdentity> again = generate_identity(home, "a");
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, ErrorCode::kConfig);
  EXPECT_NE(again.error().message.find(home.key_path()), std::string::npos);
  EXPECT_NE(again.error().message.find("choose another home"), std::string::npos);
  EXPECT_EQ(*read_small_file(home.key_path()), before);
}

TEST_F(IdentityTest, KeygenAllGivesEveryoneTheSameRoster) {
  const Result<Roster> made = keygen_all(folder_, 3);
  ASSERT_TRUE(made.ok()) << made.error().message;
  ASSERT_EQ(made->players.size(), 3u);
  for (int rank = 0; rank < 3; ++rank) {
    const Home home{folder_ + "/player" + std::to_string(rank)};
    const Result<Roster> roster = read_roster_file(home.roster_path());
    ASSERT_TRUE(roster.ok()) << roster.error().message;
    EXPECT_EQ(*roster, *made);
    const RosterPlayer& player = made->players[static_cast<std::size_t>(rank)];
    EXPECT_EQ(player.name, "player" + std::to_string(rank));
    EXPECT_EQ(player.port, 7470 + rank);
    EXPECT_EQ(player.pool_key, *create_pool_key(home.pool_key_path()));  // reads what is there
    EXPECT_EQ(player.certificate, *certificate_fingerprint(home.certificate_path()));
    EXPECT_EQ(mode(home.pool_path()), 0700u);
  }
  EXPECT_EQ(mode(folder_ + "/dealer/dealer.pem"), 0400u);
  EXPECT_EQ(DealerKey::read(folder_ + "/dealer/dealer.pem")->public_key(), made->dealer_key);
  const Result<Roster> other = keygen_all(folder_ + "/other", 3);
  ASSERT_TRUE(other.ok());
  EXPECT_NE(other->pool_id, made->pool_id);
}

TEST_F(IdentityTest, KeygenAllTouchesNothingWhenAKeyExists) {
  ASSERT_TRUE(generate_identity({folder_ + "/player2"}, "a").ok());
  const Result<Roster> made = keygen_all(folder_, 3);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, ErrorCode::kConfig);
  EXPECT_NE(made.error().message.find("player2/key.pem"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/player0"));
}

TEST_F(IdentityTest, ImpossibleRequestsAreErrors) {
  EXPECT_EQ(keygen_all(folder_, 1).error().code, ErrorCode::kConfig);
  EXPECT_EQ(keygen_all(folder_, 65).error().code, ErrorCode::kConfig);
  EXPECT_EQ(keygen_all(folder_, 3, 65'534).error().code, ErrorCode::kConfig);
  EXPECT_EQ(certificate_fingerprint(folder_ + "/none.pem").error().code, ErrorCode::kIo);
  ASSERT_TRUE(replace_file(folder_ + "/text", "not a certificate", 0600).ok());
  EXPECT_EQ(certificate_fingerprint(folder_ + "/text").error().code, ErrorCode::kConfig);
  EXPECT_EQ(generate_identity({folder_ + "/text/home"}, "a").error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace beaverpond
