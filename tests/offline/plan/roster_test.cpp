#include "offline/plan/roster.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "beaverpond/check.h"
#include "offline/plan/file.h"

namespace beaverpond {
namespace {

const std::string kPoolId = "000102030405060708090a0b0c0d0e0f";
const std::string kFirst(64, 'a');
const std::string kSecond(64, 'b');
const std::string kDealer(64, 'd');

/// Another hexadecimal number for every certificate.
std::string pool_key_of(const std::string& certificate) {
  return "0" + certificate.substr(0, 63);
}

std::string player(const std::string& name, int port, const std::string& certificate) {
  return "[[player]]\nname = \"" + name +
         "\"\nhost = \"10.0.0.1\"\nport = " + std::to_string(port) + "\ncertificate = \"" +
         certificate + "\"\npool_key = \"" + pool_key_of(certificate) + "\"\n";
}

std::string roster_text() {
  return "pool_id = \"" + kPoolId + "\"\nepoch = 3\ndealer_key = \"" + kDealer +
         "\"\ntrusted_fabric = true\n" + player("first", 7470, kFirst) +
         player("second", 7471, kSecond);
}

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const std::size_t place = text.find(what);
  BP_CHECK(place != std::string::npos, "the text to replace is there");
  return text.replace(place, what.size(), with);
}

void expect_refused(const std::string& text, int line, const std::string& words) {
  const Result<Roster> roster = parse_roster(text, "x/roster.toml");
  ASSERT_FALSE(roster.ok()) << text;
  EXPECT_EQ(roster.error().code, ErrorCode::kConfig);
  const std::string& message = roster.error().message;
  EXPECT_EQ(message.rfind("x/roster.toml:" + std::to_string(line) + ": ", 0), 0u) << message;
  EXPECT_NE(message.find(words), std::string::npos) << message;
}

TEST(Roster, ReadsEveryField) {
  const Result<Roster> roster = parse_roster(roster_text(), "roster.toml");
  ASSERT_TRUE(roster.ok()) << roster.error().message;
  EXPECT_EQ(to_hex(roster->pool_id), kPoolId);
  EXPECT_EQ(roster->epoch, 3u);
  EXPECT_EQ(to_hex(roster->dealer_key), kDealer);
  EXPECT_TRUE(roster->trusted_fabric);
  ASSERT_EQ(roster->players.size(), 2u);
  EXPECT_EQ(roster->players[1].name, "second");
  EXPECT_EQ(roster->players[1].host, "10.0.0.1");
  EXPECT_EQ(roster->players[1].port, 7471);
  EXPECT_EQ(to_hex(roster->players[1].certificate), kSecond);
  EXPECT_EQ(to_hex(roster->players[1].pool_key), pool_key_of(kSecond));
}

TEST(Roster, FactoryIsOptionalAndNotInTheHash) {
  const std::string certificate(64, 'c');
  std::string section = "[factory]\nhost = \"10.0.0.9\"\nport = 9471\n";
  section.append("certificate = \"").append(certificate).append("\"\n");
  const Result<Roster> without = parse_roster(roster_text(), "roster.toml");
  EXPECT_FALSE(without->factory.has_value());
  const Result<Roster> roster = parse_roster(roster_text() + section, "roster.toml");
  ASSERT_TRUE(roster.ok()) << roster.error().message;
  ASSERT_TRUE(roster->factory.has_value());
  EXPECT_EQ(roster->factory->host, "10.0.0.9");
  EXPECT_EQ(roster->factory->port, 9471);
  EXPECT_EQ(to_hex(roster->factory->certificate), certificate);
  EXPECT_EQ(roster_hash(*roster), roster_hash(*without));
  EXPECT_EQ(parse_roster(write_roster(*roster), "roster.toml").value(), *roster);
  expect_refused(roster_text() + replaced(section, "port = 9471\n", ""), 17, "'port' is missing");
  expect_refused(roster_text() + replaced(section, "9471", "70000"), 19, "'port'");
  expect_refused(roster_text() + replaced(section, "10.0.0.9", "a b"), 18, "'host'");
  expect_refused(roster_text() + section + "name = \"f\"\n", 21, "unknown field 'name'");
}

TEST(Roster, FabricIsNotTrustedUnlessSaid) {
  const Result<Roster> roster =
      parse_roster(replaced(roster_text(), "trusted_fabric = true\n", ""), "roster.toml");
  ASSERT_TRUE(roster.ok());
  EXPECT_FALSE(roster->trusted_fabric);
}

TEST(Roster, WhatIsWrittenIsReadBack) {
  const Result<Roster> roster = parse_roster(roster_text(), "roster.toml");
  ASSERT_TRUE(roster.ok());
  const Result<Roster> back = parse_roster(write_roster(*roster), "again");
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(*back, *roster);
  EXPECT_EQ(write_roster(*back), write_roster(*roster));
}

TEST(Roster, MistakesAreNamedByFileLineAndField) {
  const std::string text = roster_text();
  expect_refused(replaced(text, "epoch = 3", "epoch = "), 2, "not TOML");
  expect_refused(replaced(text, "epoch = 3", "epoch = \"3\""), 2, "'epoch' has the wrong type");
  expect_refused(replaced(text, "epoch = 3", "epoch = -3"), 2, "'epoch' must lie between");
  expect_refused(replaced(text, "epoch = 3\n", ""), 1, "'epoch' is missing");
  expect_refused(replaced(text, "epoch", "epohc"), 2, "unknown field 'epohc'");
  expect_refused(replaced(text, "trusted_fabric = true", "trusted_fabric = 1"), 4, "wrong type");
  expect_refused(replaced(text, kPoolId, kPoolId.substr(1)), 1, "'pool_id' must have 32");
  expect_refused(replaced(text, kPoolId, replaced(kPoolId, "0", "G")), 1, "hexadecimal");
  expect_refused(replaced(text, "7471", "65536"), 14, "'port' must lie between 0 and 65535");
  expect_refused(replaced(text, '"' + kSecond, "\"bb"), 15, "'certificate' must have 64");
  expect_refused(replaced(text, pool_key_of(kSecond), "bb"), 16, "'pool_key' must have 64");
  expect_refused(replaced(text, "pool_key = \"" + pool_key_of(kSecond) + "\"\n", ""), 11,
                 "'pool_key' is missing");
  expect_refused(replaced(text, kDealer, "dd"), 3, "'dealer_key' must have 64");
  expect_refused(replaced(text, "dealer_key = \"" + kDealer + "\"\n", ""), 1,
                 "`triple-factory keygen` prints");
  expect_refused(replaced(text, "\"second\"", "\"se cond\""), 12, "'name'");
  expect_refused(replaced(text, "host = \"10.0.0.1\"", "host = \"\""), 7, "'host'");
  expect_refused(replaced(text, "host = \"10.0.0.1\"\n", ""), 5, "'host' is missing");
  expect_refused(replaced(text, "port = 7470", "port = 7470\nrank = 0"), 9, "unknown field 'rank'");
}

TEST(Roster, PlayersShareNothingThatTellsThemApart) {
  const std::string text = roster_text();
  expect_refused(replaced(text, "second", "first"), 11, "share the name 'first'");
  expect_refused(replaced(text, '"' + kSecond, '"' + kFirst), 11, "share the certificate");
  expect_refused(replaced(text, pool_key_of(kSecond), pool_key_of(kFirst)), 11,
                 "share the pool_key");
  expect_refused(replaced(text, "7471", "7470"), 11, "share host 10.0.0.1 and port 7470");
  // Port 0 says that a launcher chooses.
  EXPECT_TRUE(parse_roster(replaced(replaced(text, "7470", "0"), "7471", "0"), "x").ok());
}

TEST(Roster, TwoToSixtyFourPlayers) {
  const std::string head =
      "pool_id = \"" + kPoolId + "\"\nepoch = 1\ndealer_key = \"" + kDealer + "\"\n";
  const auto players = [&](int count) {
    std::string text = head;
    for (int i = 0; i < count; ++i) {
      std::string certificate(64, '0');
      certificate[0] = static_cast<char>('a' + i / 16);
      certificate[1] = "0123456789abcdef"[i % 16];
      text += player("p" + std::to_string(i), 100 + i, certificate);
    }
    return text;
  };
  EXPECT_TRUE(parse_roster(players(2), "x").ok());
  EXPECT_TRUE(parse_roster(players(64), "x").ok());
  expect_refused(head, 1, "there are 0 [[player]] sections");
  expect_refused(players(1), 1, "there are 1 [[player]] sections");
  expect_refused(players(65), 1, "there are 65 [[player]] sections");
  expect_refused(head + "player = [1, 2]\n", 4, "write [[player]]");
}

TEST(Roster, TheHashNamesPoolEpochAndIdentitiesButNotAddresses) {
  const Result<Roster> roster = parse_roster(roster_text(), "roster.toml");
  ASSERT_TRUE(roster.ok());
  const Hash256 hash = roster_hash(*roster);
  // Pools carry this hash for years: it must not change by accident.
  EXPECT_EQ(to_hex(hash), "10742db585cd0346e55bcdc0454036b31e84f06334c90f75ec4419e53218f5d6");
  Roster moved = *roster;
  moved.players[0].host = "elsewhere";
  moved.players[1].port = 1;
  EXPECT_EQ(roster_hash(moved), hash);

  Roster changed = *roster;
  changed.pool_id[15] ^= 1;
  EXPECT_NE(roster_hash(changed), hash);
  changed = *roster;
  ++changed.epoch;
  EXPECT_NE(roster_hash(changed), hash);
  changed = *roster;
  changed.players[1].name += "x";
  EXPECT_NE(roster_hash(changed), hash);
  changed = *roster;
  changed.players[0].certificate[31] ^= 1;
  EXPECT_NE(roster_hash(changed), hash);
  changed = *roster;
  changed.players[0].pool_key[31] ^= 1;
  EXPECT_NE(roster_hash(changed), hash);
  changed = *roster;
  changed.dealer_key[31] ^= 1;
  EXPECT_NE(roster_hash(changed), hash);
  changed = *roster;
  std::swap(changed.players[0], changed.players[1]);
  EXPECT_NE(roster_hash(changed), hash);
}

TEST(Roster, FilesAreReplacedAtOnceAndErrorsNameThem) {
  std::string folder = std::filesystem::temp_directory_path() / "beaverpond-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const Result<Roster> roster = parse_roster(roster_text(), "roster.toml");
  const std::string path = folder + "/roster.toml";
  ASSERT_TRUE(replace_file(path, "what was there before", 0600).ok());
  ASSERT_TRUE(write_roster_file(path, *roster).ok());
  const Result<Roster> back = read_roster_file(path);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(*back, *roster);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);

  const Result<Roster> missing = read_roster_file(folder + "/none.toml");
  EXPECT_EQ(missing.error().code, ErrorCode::kIo);
  EXPECT_NE(missing.error().message.find("none.toml"), std::string::npos);
  // Opening a pipe would wait for a writer for ever.
  ASSERT_EQ(::mkfifo((folder + "/pipe").c_str(), 0600), 0);
  for (const std::string& no_file : {folder + "/pipe", std::string("/dev/zero"), folder}) {
    const Result<Roster> refused = read_roster_file(no_file);
    EXPECT_EQ(refused.error().code, ErrorCode::kIo);
    EXPECT_NE(refused.error().message.find("no regular file"), std::string::npos);
  }
  ASSERT_TRUE(replace_file(path, "nothing of a roster", 0600).ok());
  EXPECT_EQ(read_roster_file(path).error().code, ErrorCode::kConfig);
  const Result<void> nowhere = write_roster_file(folder + "/no/such/folder", *roster);
  EXPECT_EQ(nowhere.error().code, ErrorCode::kIo);
  EXPECT_NE(nowhere.error().message.find("/no/such/folder"), std::string::npos);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace beaverpond
